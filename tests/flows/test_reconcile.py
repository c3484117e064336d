"""What is left lying is settled from the record and the world: killed at any write, it is applied exactly once."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from prefect.client.orchestration import get_client
from prefect.states import Crashed
from sqlalchemy import select

from flows.data import data
from flows.model import model
from flows.reconcile import reconcile
from incidents import launch, unsettled
from incidents.events import Started
from incidents.incident import find
from incidents.leases import lease
from incidents.ledger import Ledger
from incidents.models import Category, Severity, Status
from incidents.outbox import deliver_due
from incidents.playbook import playbook
from incidents.schema import leases, outbox
from remediations import RevertModel
from tests.flows.kit import ROOT, ChangePlaybook, System, kinds, opened, run

SECTIONS = {"data/data": data, "model/model": model}
NO_GRACE = timedelta(0)
#: Every so-many-th write is one to die after; STRIDE=1 takes two minutes.
STRIDE = int(os.environ.get("STRIDE", "7"))


class Dying:
    """A process whose children run a section and are killed at a given write."""

    def __init__(self) -> None:
        argv = [sys.executable, "-m", "tests.flows.dying"]
        log = subprocess.DEVNULL
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": log}
        self.process: subprocess.Popen[str] = subprocess.Popen(argv, cwd=ROOT, text=True, **pipes)  # type: ignore[call-overload]  # three pipes
        assert self.say("").strip() == "ready"

    def say(self, line: str) -> str:
        """Ask for something, and wait for the answer."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        if line:
            self.process.stdin.write(f"{line}\n")
            self.process.stdin.flush()
        return self.process.stdout.readline()

    def run(self, section: str, incident: str, writes: int) -> bool:
        """Run it; whether it died before it was through."""
        return int(self.say(f"{section} {incident} {writes}")) == -signal.SIGKILL


@pytest.fixture
def dying(broken_system: System, change_playbook: ChangePlaybook) -> Iterator[Dying]:
    """With the environment of this test, as its children inherit it, and a playbook that lets it act so often."""
    often = [
        ("at_most: 10, ", "at_most: 999, "),
        ("at_most: 5, ", "at_most: 999, "),
        ("at_most: 20, ", "at_most: 999, "),
        ("cool_down_seconds: 5", "cool_down_seconds: 0"),
        ("taken_back_minutes: 1440", "taken_back_minutes: 0"),
    ]
    change_playbook(*(text for pair in often for text in pair))
    made = Dying()
    yield made
    made.process.kill()
    made.process.communicate()


@pytest.fixture(autouse=True)
def without_deployments(prefect_server: object, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is deployed here: the run that a job asked for is one that Prefect does not have."""

    async def none(*_: object, **__: object) -> str:
        return str(UUID(int=0))

    monkeypatch.setattr(launch, "launch", none)


def crash(ledger: Ledger, incident: str) -> None:
    """Do what the worker does when a run's process is gone, and let time pass until the lease of the dead is over."""
    started = find(ledger, incident).last(Started)
    assert started is not None
    assert isinstance(started.body, Started)
    run_id = UUID(started.body.run)

    async def set_crashed() -> None:
        async with get_client() as client:
            await client.set_flow_run_state(run_id, Crashed(), force=True)

    asyncio.run(set_crashed())
    with ledger.write() as writer:
        writer.connection.execute(leases.update().values(expires_at="2000-01-01T00:00:00+00:00"))


def settle() -> list[str]:
    """Reconcile once, as the schedule does, and say what was settled."""
    return [one.incident for one in asyncio.run(reconcile(grace_seconds=0))]


def work_off(ledger: Ledger) -> int:
    """Start what the outbox wants to be started."""

    async def start(job: dict[str, Any]) -> None:
        await SECTIONS[job["deployment"]](**job["parameters"])

    return asyncio.run(deliver_due(ledger, {"launch": start}))


def test_killed_at_any_write_it_is_settled_and_applied_once(
    dying: Dying, broken_system: System, ledger: Ledger
) -> None:
    """Law 2: a process is killed right after one write, after another, and so on; every incident is ended well."""
    for writes in range(1, 60, STRIDE):
        broken_system.break_it()
        incident = opened(ledger, "dataset:transactions", Category.data)
        if not dying.run("data", incident, writes):
            break
        if find(ledger, incident).status is Status.open:
            crash(ledger, incident)
            at_death = kinds(ledger, incident)[-1]
            assert settle() == [incident], f"killed after {at_death}"
            assert settle() == [], "a second look while the job waits starts nothing"
            assert work_off(ledger) == 1
        found = find(ledger, incident)
        assert found.status is Status.resolved, f"killed after write {writes}: {[ev.body for ev in found.events][-3:]}"
        assert kinds(ledger, incident).count("applied") == 2, f"killed after write {writes}"
        applied = [attempt for attempt in found.attempts if attempt.applied]
        assert [attempt.state for attempt in applied] == ["healthy", "healthy"]
        assert broken_system.store.current().model_dump(mode="json") == applied[0].plan.after, "moved more than once"
        assert broken_system.alias == broken_system.model_good
    assert writes > 10
    assert settle() == []


def test_a_model_that_was_brought_back_is_still_verified(broken_system: System, ledger: Ledger) -> None:
    """Dead between the alias and the look: entered again no tainted model is in production; it is verified."""
    incident = opened(ledger, "dataset:transactions", Category.data)

    def die(*_: object) -> None:
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(RevertModel, "verify", die)
        with pytest.raises(KeyboardInterrupt):
            run(data, incident)
    assert broken_system.alias == broken_system.model_good
    assert run(data, incident).status is Status.resolved
    assert [attempt.state for attempt in find(ledger, incident).attempts] == ["healthy", "healthy"]


def test_a_run_that_is_under_way_is_left_alone(broken_system: System, ledger: Ledger) -> None:
    """Running in Prefect, holding a lease, or with a job that waits: none of them is started a second time."""
    incident = opened(ledger, "dataset:transactions", Category.data)

    async def still_running() -> str:
        async with get_client() as client:
            made = await client.create_flow_run(reconcile)
        return str(made.id)

    ledger.append(Started(flow="data", run=asyncio.run(still_running())), actor="flow:data", incident=incident)
    assert settle() == []
    crash(ledger, incident)
    with lease(ledger, "dataset:transactions", incident):
        assert settle() == []
    assert settle() == [incident]
    assert settle() == []


def test_a_run_that_never_began_is_started(ledger: Ledger, prefect_server: object) -> None:
    """The job was done and nothing came of it: no event tells of a run."""
    incident = opened(ledger, "model:fraud", Category.model)
    assert unsettled.still(ledger, playbook()) == [], "not before its time"
    assert settle() == [incident]


def test_what_dies_again_and_again_goes_to_a_person(ledger: Ledger, prefect_server: object) -> None:
    """After three times a person takes over, and reads where the record ends."""
    incident = opened(ledger, "model:fraud", Category.model)
    for _ in range(unsettled.MOST):
        assert settle() == [incident]
        with ledger.write() as writer:
            writer.connection.execute(outbox.update().values(done_at="2026-11-23T07:00:00+00:00", next_at=None))
    assert settle() == [incident]
    found = find(ledger, incident)
    assert found.status is Status.escalated
    assert f"so did {unsettled.MOST} more" in str(found.events[-1].body)
    assert settle() == []


def test_two_reconcilers_at_once_start_it_once(ledger: Ledger, prefect_server: object) -> None:
    """Both have seen it lie still; the second finds the job of the first."""
    incident = opened(ledger, "model:fraud", Category.model)
    [seen] = unsettled.still(ledger, playbook(), NO_GRACE)
    assert unsettled.start_again(ledger, playbook(), seen, "flow:reconcile") is not None
    assert unsettled.start_again(ledger, playbook(), seen, "flow:reconcile") is None
    with ledger.engine.connect() as connection:
        jobs = connection.execute(select(outbox.c.key).where(outbox.c.incident == incident)).all()
    assert len(jobs) == 1


def test_what_waits_for_a_person_is_not_dead(broken_system: System, ledger: Ledger) -> None:
    """A question that stands is left to people, however long its run has been over."""
    incident = opened(ledger, "model:fraud", Category.model, Severity.low)
    assert run(model, incident).status is Status.waiting
    assert settle() == []
    assert find(ledger, incident).status is Status.waiting
