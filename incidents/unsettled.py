"""Which incidents lie still although nobody has settled them, and what is done about it. Two who look do it once."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from typing import Any

from pydantic import AwareDatetime
from sqlalchemy import select

from incidents import approvals, questions, starting
from incidents import events as e
from incidents.incident import Incident, find
from incidents.ledger import Ledger, Writer
from incidents.models import Frozen, Status, now
from incidents.playbook import Playbook
from incidents.schema import incidents, leases, outbox
from incidents.sentences import plans, sentence

#: How often a section is started again whose run has died; then a person takes over.
MOST = 3

#: How long an incident lies still before it is looked at: longer than a lease lives.
GRACE = timedelta(minutes=3)

#: Prefect leaves a run Running whose worker died with it. This long after the longest wait that the playbook allows it
#: counts as dead, whatever Prefect says.
SILENCE = timedelta(minutes=10)

#: What others put on the record of an incident that nobody is at work on.
_NOT_WORK = (e.Alerted, e.AlertEnded, e.Joined, e.Told)


class Still(Frozen):
    """An open incident on which nothing has happened for a while."""

    incident: str
    #: The last event, and when somebody last worked on it.
    seq: int
    since: AwareDatetime
    #: The run that took it up last; empty where none has.
    run: str
    #: The newest job that starts its section, as ``launch`` is given it; None where there is none.
    job: dict[str, Any] | None
    #: Whether the time of any run is over.
    silent: bool


def still(ledger: Ledger, playbook: Playbook, grace: timedelta = GRACE) -> list[Still]:
    """The open incidents on which nothing has happened for so long, nobody holds a lease for, and no job waits."""
    found = [_still(ledger, playbook, name, grace) for name in _in_status(ledger, Status.open)]
    return [one for one in found if one is not None]


def start_again(ledger: Ledger, playbook: Playbook, lying: Still, actor: str) -> str | None:
    """Start the section of an incident whose run is dead, or hand it over after too many times; says which.

    None: in between somebody has done something about it.
    """
    with ledger.write() as writer:
        incident = find(ledger, lying.incident)
        job, waits = _newest_job(writer, lying.incident)
        if incident.events[-1].seq != lying.seq or incident.status is not Status.open or waits or job != lying.job:
            return None
        prefix = f"launch:{lying.incident}:again:"
        number = _again(writer, prefix) + 1
        if number > MOST:
            why = f"its run died, and so did {MOST} more; the record ends with: {_last_word(incident)}"
            approvals.hand_over(writer, playbook, incident, why, actor)
            return why
        starting.start(writer, incident, f"{prefix}{number}")
        return f"started again, {number} of {MOST} times"


def end_waiting(ledger: Ledger, playbook: Playbook, actor: str) -> list[tuple[str, str]]:
    """Hand over what nobody has answered in time, and what got worse while it waited; says which and why."""
    done: list[tuple[str, str]] = []
    for name in _in_status(ledger, Status.waiting):
        with ledger.write() as writer:  # looked at and handed over in one transaction
            incident = find(ledger, name)
            question = questions.standing(incident)
            why = _over(incident, question) if question else None
            if question and why:
                void = e.ApprovalVoid(plan=question.asked.plan, why=why)
                writer.append(void, actor=actor, incident=name, subject=question.plan.target)
                approvals.hand_over(writer, playbook, incident, f"{question.plan.summary}: {why}", actor)
                done.append((name, why))
    return done


def _over(incident: Incident, question: questions.Question) -> str | None:
    if question.expired:
        return f"{len(question.yes)} of {question.asked.needed} said yes before the time was over"
    if incident.severity < question.asked.severity:
        return f"it got worse while it waited, and is of severity {int(incident.severity)} now"
    return None


def _still(ledger: Ledger, playbook: Playbook, name: str, grace: timedelta) -> Still | None:
    incident = find(ledger, name)
    since = max(event.at for event in incident.events if not isinstance(event.body, _NOT_WORK))
    if since > now() - grace or _holds_a_lease(ledger, name):
        return None
    with ledger.write() as writer:
        job, waits = _newest_job(writer, name)
    if waits:
        return None
    started = incident.last(e.Started)
    return Still(
        incident=name,
        seq=incident.events[-1].seq,
        since=since,
        run=started.body.run if started and isinstance(started.body, e.Started) else "",
        job=job,
        silent=since < now() - _longest(playbook) - SILENCE,
    )


def _longest(playbook: Playbook) -> timedelta:
    """The longest time in which a run that is well may put nothing on the record."""
    watched = max(watch.within_seconds for watch in playbook.watch.values())
    back = [service.bounds.back_after_seconds for service in playbook.services.values() if service.bounds]
    return timedelta(seconds=max(watched, *playbook.limits.hold_down_seconds.values(), *back, 0))


def _in_status(ledger: Ledger, status: Status) -> list[str]:
    with ledger.engine.connect() as connection:
        query = select(incidents.c.number).where(incidents.c.status == status).order_by(incidents.c.number)
        numbers = connection.scalars(query)
        return [f"INC-{number}" for number in numbers]


def _holds_a_lease(ledger: Ledger, holder: str) -> bool:
    with ledger.engine.connect() as connection:
        ends = connection.scalars(select(leases.c.expires_at).where(leases.c.holder == holder))
        return any(datetime.fromisoformat(end) > now() for end in ends)


def _newest_job(writer: Writer, incident: str) -> tuple[dict[str, Any] | None, bool]:
    """The newest job that starts the incident's section, and whether it still waits to be done."""
    mine = select(outbox).where(outbox.c.incident == incident, outbox.c.kind == "launch")
    row = writer.connection.execute(mine.order_by(outbox.c.id.desc()).limit(1)).first()
    if row is None:
        return None, False
    return {**json.loads(row.payload), "key": row.key}, row.done_at is None


def _again(writer: Writer, prefix: str) -> int:
    """How often it was started again."""
    keys = [f"{prefix}{number}" for number in range(1, MOST + 1)]
    return len(writer.connection.execute(select(outbox.c.id).where(outbox.c.key.in_(keys))).all())


def _last_word(incident: Incident) -> str:
    last = next(event for event in reversed(incident.events) if not isinstance(event.body, _NOT_WORK))
    return sentence(last.body, plans(incident.events))
