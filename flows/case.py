"""What every flow works with: the incident under way, one step of work, and what makes a section a Prefect flow."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar
from uuid import UUID

import httpx
from prefect import flow, task
from prefect.cache_policies import NO_CACHE
from prefect.client.orchestration import get_client
from prefect.runtime import flow_run
from prefect.states import Completed
from prefect.utilities.urls import url_for

from incidents import events as e
from incidents import incident as incidents
from incidents.events import Body, Event
from incidents.incident import Incident
from incidents.ledger import Ledger, ledger
from incidents.models import Frozen, Status
from incidents.playbook import Playbook, playbook

T = TypeVar("T")

#: For a flow whose results are on the ledger and not in Prefect's storage. Where that would be is said all the same:
#: otherwise every run asks the server for it, twice.
KEEPS_NOTHING: dict[str, Any] = {"persist_result": False, "result_storage": Path(tempfile.gettempdir())}


class Outcome(Frozen):
    """How a flow's work on an incident ended."""

    incident: str
    status: Status
    why: str


class Waiting(Exception):
    """People were asked, and the flow ends here; their answer starts it again. The message says what it waits for."""


class WrongSection(Exception):
    """A section was asked to work on an incident of another category. Nothing was done."""


class Case:
    """One incident under way: its record, the playbook, and who is at work on it."""

    def __init__(self, name: str, actor: str, person: str = "") -> None:
        self.name = name.upper()
        #: Who stands on the record as having done it: ``flow:data``.
        self.actor = actor
        #: The person who runs an action by hand; empty when a flow acts by itself.
        self.person = person
        #: The incident's events that were read so far; they never change.
        self._read: list[Event] = []

    @property
    def ledger(self) -> Ledger:
        """The ledger that the incident is on."""
        return ledger()

    @property
    def playbook(self) -> Playbook:
        """The playbook that decides."""
        return playbook()

    @property
    def incident(self) -> Incident:
        """The incident as its events tell it at this moment."""
        known = self._read
        new = self.ledger.events(incident=self.name, after=known[-1].seq if known else 0)
        self._read = [*known, *new]
        return incidents.fold(self._read)

    def record(self, *bodies: Body, subject: str | None = None) -> None:
        """Put events on the incident's record, together."""
        with self.ledger.write() as writer:
            for body in bodies:
                writer.append(body, actor=self.actor, incident=self.name, subject=subject)

    def asset(self, kind: str) -> str | None:
        """The name of the incident's asset if it is of this kind: ``asset("dataset")`` -> ``transactions``."""
        found, _, name = (self.incident.asset or "").partition(":")
        return name if found == kind else None


async def step(name: str, work: Callable[..., T], *arguments: object) -> T:
    """Run blocking work as one Prefect task run of that name, in a thread of its own."""

    @task(name=name, cache_policy=NO_CACHE, persist_result=False)
    async def run() -> T:
        return await asyncio.to_thread(work, *arguments)

    return await run()


def section(body: Callable[[Case], Awaitable[Outcome]]) -> Any:
    """Make a section of the playbook a Prefect flow that takes an incident's name.

    Whatever breaks inside goes on the record and to a person, and the run fails in Prefect as well.
    """
    from flows.steps import escalate

    name = body.__name__

    @flow(name=name, description=body.__doc__, **KEEPS_NOTHING)
    async def run(incident: str) -> Any:
        case = Case(incident, actor=f"flow:{name}")
        found = case.incident
        if found.closed_at is not None:
            return ended(Outcome(incident=case.name, status=found.status, why="it was closed before"))
        if found.category != name:  # asked for by another ledger, whose work pool this worker shares, or by mistake
            raise WrongSection(f"{case.name} is about {found.category}: run the section {found.category} for it")
        await begin(case, name, run_name=f"{case.name} {found.asset or 'no asset'}")
        try:
            return ended(await body(case))
        except Waiting as waiting:
            return ended(Outcome(incident=case.name, status=Status.waiting, why=str(waiting)))
        except Exception as error:
            case.record(e.Failed(step=name, error=f"{type(error).__name__}: {error}"[:2000]))
            await escalate(case, f"the flow broke: {type(error).__name__}{_half_taken_back(case)}")
            raise

    return run


def _half_taken_back(case: Case) -> str:
    """What a person has to look at where an undo did not come to its end."""
    left = [attempt.plan.summary for attempt in case.incident.attempts if attempt.undoing and not attempt.undone]
    return f"; taking back {', '.join(left)} did not come to its end" if left else ""


async def begin(case: Case, flow_name: str, run_name: str | None = None) -> None:
    """Put the run on the incident's record and the incident's name on the run, so that each leads to the other.

    ``run_name``: what the run is called from here on, where a person started it from the Prefect UI.
    """
    # the address that Prefect itself logs; flow_run.ui_url writes another path
    url = url_for("flow-run", obj_id=UUID(flow_run.id)) if flow_run.id else None
    case.record(e.Started(flow=flow_name, run=str(flow_run.id or ""), url=url or ""))
    if flow_run.id and case.name not in flow_run.tags:  # the intake's runs have it from the start
        with suppress(httpx.HTTPError):  # a tag is not worth a fix
            async with get_client() as client:
                await client.update_flow_run(UUID(flow_run.id), name=run_name, tags=[*flow_run.tags, case.name])


def ended(outcome: Outcome) -> Any:
    """The Prefect state that shows in the UI how it ended, and not just that it did."""
    name = outcome.status.replace("_", " ").capitalize()
    return Completed(name=name, message=f"{outcome.incident}: {outcome.why}", data=outcome)
