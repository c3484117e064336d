"""Where production's pointers were moved: by us, as the plans on the record say, and by others, as it was seen.

MLflow keeps no history of an alias (mlflow#2169), and a dataset's pointer none either. The record does: our own moves
are ``Applied`` and ``Undone``; what somebody else did is found by comparing the world with it, and is ``Moved``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Literal

from pydantic import AwareDatetime
from sqlalchemy import func, select

from incidents import events as e
from incidents.events import Event
from incidents.facts import TakenBack
from incidents.ledger import Ledger
from incidents.models import Frozen, Plan, now
from incidents.schema import events, leases

#: The kinds of events that tell where a pointer is.
KINDS = ("planned", "applying", "applied", "undoing", "undone", "moved")


#: We made the move, or took it back; or somebody else had made it when it was seen.
How = Literal["applied", "undone", "seen"]


class Sight(Frozen):
    """Where a pointer is, and who moved it there, where the world says so."""

    #: The pointer's name, as plans write it: ``models:/fraud@champion``, ``dataset:transactions``.
    target: str
    #: None: there is no such pointer.
    version: str | None
    by: str = ""


class Move(Frozen):
    """One move of one pointer."""

    #: When it was moved where we moved it; when it was seen where somebody else did.
    at: AwareDatetime
    how: How
    before: str | None
    after: str | None
    #: Who moved it; empty where it is not known.
    by: str
    #: Who put it on the record.
    told_by: str
    incident: str | None
    why: str
    #: The event that says so.
    seq: int


def moves(ledger: Ledger, target: str) -> list[Move]:
    """Every move of the pointer that the record knows, the oldest first."""
    return fold(ledger.events(subject=target, kinds=KINDS))


def fold(told: Iterable[Event]) -> list[Move]:
    """The moves that these events of one pointer tell of. What changes no version is none."""
    found: list[Move] = []
    for sighting in sightings(told):
        last = found[-1].after if found else None
        if sighting.after != last:
            found.append(sighting.model_copy(update={"before": last}) if sighting.how == "seen" else sighting)
    return found


def sightings(told: Iterable[Event]) -> list[Move]:
    """Every event that says where the pointer was, as the move that may have brought it there."""
    plans: dict[str, Plan] = {}
    return [move for event in told if (move := _move(event, plans)) is not None]


def taken_back(found: Sequence[Move], plan: Plan) -> TakenBack | None:
    """Who took back our last move of a pointer, where the plan would make that very move again; None: nobody did.

    ``found`` are the moves that the record knows. A plan that would move it otherwise than we did, and one against what
    somebody did by themselves, are other matters.
    """
    if len(found) < 2:
        return None
    ours, theirs = found[-2:]
    again = _version(plan.before), _version(plan.after)
    same = ours.how == "applied" and (ours.before, ours.after) == again == (theirs.after, theirs.before)
    if not same or theirs.by.startswith("flow:"):
        return None
    return TakenBack(at=theirs.at, by=theirs.by.removeprefix("person:"))


def see(
    ledger: Ledger, look: Callable[[], Sight], *, actor: str, incident: str | None = None
) -> tuple[Sight, Event | None]:
    """Look where a pointer is, and put it on the record where the record has it elsewhere.

    What is being moved by us at this moment, or was while we looked, is left to whoever moves it.
    """
    with ledger.engine.connect() as connection:
        head = connection.scalar(select(func.max(events.c.seq))) or 0
    sight = look()
    with ledger.write() as writer:
        held = select(leases.c.expires_at).where(leases.c.target == sight.target)
        expires_at = writer.connection.scalar(held)
        known = ledger.events(subject=sight.target, kinds=KINDS)
        under_way = expires_at is not None and datetime.fromisoformat(expires_at) > now()
        if under_way or (known and known[-1].seq > head):
            return sight, None
        found = fold(known)
        before = found[-1].after if found else None
        if sight.version == before:
            return sight, None
        by, why = _intent(known, sight)
        body = e.Moved(before=before, after=sight.version, by=by, why=why)
        return sight, writer.append(body, actor=actor, incident=incident, subject=sight.target)


def _move(event: Event, plans: dict[str, Plan]) -> Move | None:
    """The move that an event tells of; ``plans`` gathers the plans that the later events speak of."""
    match event.body:
        case e.Planned(plan=plan) if "version" in plan.before:  # whoever plans has looked where the pointer is
            plans[plan.hash] = plan
            by = str(plan.before.get("moved_by", ""))
            return _told(event, "seen", None, _version(plan.before), by, "")
        case e.Applied(plan=name) if name in plans:
            plan = plans[name]
            return _told(event, "applied", _version(plan.before), _version(plan.after), event.actor, _why(plan))
        case e.Undone(plan=name) if name in plans:
            plan = plans[name]
            return _told(event, "undone", _version(plan.after), _version(plan.before), event.actor, _why(plan))
        case e.Moved() as body:
            return _told(event, "seen", body.before, body.after, body.by, body.why)
        case _:
            return None


def _told(event: Event, how: How, before: str | None, after: str | None, by: str, why: str) -> Move:  # noqa: PLR0917  # one line of the record
    return Move(
        at=event.at,
        how=how,
        before=before,
        after=after,
        by=by,
        told_by=event.actor,
        incident=event.incident,
        why=why,
        seq=event.seq,
    )


def _why(plan: Plan) -> str:
    return f"{plan.action}: {plan.summary}"


def _intent(known: list[Event], sight: Sight) -> tuple[str, str]:
    """Who moved it and why: an intent of ours whose end is not on the record explains it, else what the world says."""
    plans = {event.body.plan.hash: event.body.plan for event in known if isinstance(event.body, e.Planned)}
    last = known[-1] if known else None
    if last is not None and isinstance(last.body, e.Applying | e.Undoing) and last.body.plan in plans:
        plan = plans[last.body.plan]
        wanted = plan.after if isinstance(last.body, e.Applying) else plan.before
        if _version(wanted) == sight.version:
            return last.actor, f"{last.incident} was about to: {plan.summary}, and its end is not on the record"
    return sight.by, ""


def _version(state: Mapping[str, object]) -> str | None:
    version = state.get("version")
    return None if version is None else str(version)
