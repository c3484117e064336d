"""An incident is a fold over its events: nothing about it is stored twice."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime

from incidents import events as e
from incidents.events import Event
from incidents.ledger import Ledger
from incidents.models import Alert, Category, Mode, Plan, Severity, Status, Verdict


class NoSuchIncident(Exception):
    """The ledger has no incident of that name."""


@dataclass
class Attempt:
    """How far one plan has come, read from the record."""

    plan: Plan
    #: What the gates said last; None when they were not asked yet.
    gated: e.Gated | None = None
    #: True from the intent on: the target may have changed.
    applying: bool = False
    applied: bool = False
    verdict: Verdict | None = None
    conflict: str | None = None
    undoing: bool = False
    undone: bool = False

    @property
    def state(self) -> str:
        """One word for people: how this attempt stands."""
        if self.conflict:
            return "conflict"
        if self.undone:
            return "undone"
        if self.undoing:
            return "undoing"
        if self.verdict:
            return self.verdict.health.value
        if self.applied:
            return "applied"
        if self.applying:
            return "applying"
        if self.gated and self.gated.mode is not Mode.run:
            return "proposed"
        return "nothing to do" if self.plan.nothing_to_do else "planned"


@dataclass
class Incident:
    """One incident as its events tell it."""

    name: str
    category: Category
    severity: Severity
    asset: str | None
    title: str
    opened_at: datetime
    status: Status = Status.open
    closed_at: datetime | None = None
    alerts: list[Alert] = field(default_factory=list)
    attempts: list[Attempt] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)

    def attempt(self, plan: str) -> Attempt:
        """The newest attempt whose plan has this hash."""
        return next(attempt for attempt in reversed(self.attempts) if attempt.plan.hash == plan)

    def latest(self, action: str, parameters: dict[str, object]) -> Attempt | None:
        """The newest attempt of an action with these parameters, or None."""
        matching = (a for a in reversed(self.attempts) if (a.plan.action, a.plan.parameters) == (action, parameters))
        return next(matching, None)

    def last(self, kind: type[object]) -> Event | None:
        """The newest event whose body is of this kind, or None."""
        return next((event for event in reversed(self.events) if isinstance(event.body, kind)), None)


def find(ledger: Ledger, name: str) -> Incident:
    """Read an incident from the ledger.

    Raises:
        NoSuchIncident: there is none of that name.
    """
    return fold(ledger.events(incident=name.upper()))


def fold(events: Iterable[Event]) -> Incident:
    """Make the incident that these events, in order, tell of.

    Raises:
        NoSuchIncident: the first of them does not open one.
    """
    incident: Incident | None = None
    for event in events:
        if isinstance(event.body, e.Opened):
            incident = _opened(event, event.body)
        if incident is None:
            break
        incident.events.append(event)
        _add(incident, event)
    if incident is None:
        raise NoSuchIncident("the ledger has no such incident; `lastgood incidents` lists those it has")
    return incident


def _opened(event: Event, body: e.Opened) -> Incident:
    return Incident(
        name=event.incident or "",
        category=body.category,
        severity=body.severity,
        asset=body.asset,
        title=body.title,
        opened_at=event.at,
        alerts=[body.alert] if body.alert else [],
    )


def _add(incident: Incident, event: Event) -> None:  # noqa: PLR0912  # one line a kind of event, nothing nested
    """Take one event into the incident."""
    match event.body:
        case e.Alerted(alert=alert):
            incident.alerts.append(alert)
            incident.severity = min(incident.severity, alert.severity)
        case e.Planned(plan=plan):
            incident.attempts.append(Attempt(plan))
        case e.Gated() as gated:
            incident.attempt(gated.plan).gated = gated
        case e.Joined(severity=severity):
            incident.severity = min(incident.severity, severity)
        case e.AskedFor() | e.Deferred():
            incident.status = Status.waiting
        case e.Approved() | e.ApprovalVoid() | e.Released() if incident.status is Status.waiting:
            incident.status = Status.open
        case e.Applying(plan=plan_hash):
            incident.attempt(plan_hash).applying = True
        case e.Applied(plan=plan_hash):
            incident.attempt(plan_hash).applied = True
        case e.Verified(plan=plan_hash, verdict=verdict):
            incident.attempt(plan_hash).verdict = verdict
        case e.Conflicted(plan=plan_hash, why=why):
            incident.attempt(plan_hash).conflict = why
        case e.Undoing(plan=plan_hash):
            incident.attempt(plan_hash).undoing = True
        case e.Undone(plan=plan_hash):
            incident.attempt(plan_hash).undone = True
        case e.Escalated():
            incident.status = Status.escalated
        case e.Resolved():
            incident.status, incident.closed_at = Status.resolved, event.at
        case e.NotConfirmed():
            incident.status, incident.closed_at = Status.not_confirmed, event.at
        case _:
            pass
