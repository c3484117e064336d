"""What happened when: an incident's events as lines, and how long detecting, confirming, deciding and the rest took."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Literal

from incidents import events as e
from incidents.events import Event
from incidents.incident import Incident
from incidents.models import Frozen
from incidents.sentences import plans, sentence

PhaseName = Literal["detect", "confirm", "decide", "act", "verify"]

#: Which phase a kind of event belongs to. A kind that is not here can happen in any, and takes that of the line before.
_PHASE: dict[str, PhaseName] = {
    "opened": "detect",
    "alerted": "detect",
    "alert_ended": "detect",
    "set_aside": "detect",
    "moved": "confirm",
    "checked": "confirm",
    "not_confirmed": "confirm",
    "contested": "decide",
    "deferred": "decide",
    "traced": "decide",
    "planned": "decide",
    "not_planned": "decide",
    "gated": "decide",
    "asked_for": "decide",
    "answered": "decide",
    "approved": "decide",
    "approval_void": "decide",
    "applying": "act",
    "applied": "act",
    "conflicted": "act",
    "reloading": "verify",
    "verified": "verify",
    "undoing": "verify",
    "undone": "verify",
    "resolved": "verify",
}

#: The events that say whether it helped.
_LOOKS = (e.Verified, e.Checked)


class Line(Frozen):
    """One line of the timeline."""

    at: datetime
    phase: PhaseName
    actor: str
    text: str
    #: Since the line before; zero for the first.
    after: timedelta


class Phase(Frozen):
    """How long one phase took; None where it did not happen."""

    name: PhaseName
    took: timedelta | None


def timeline(incident: Incident) -> list[Line]:
    """Every event of the incident as a sentence, in the order of the record."""
    known = plans(incident.events)
    lines: list[Line] = []
    phase: PhaseName = "detect"
    for event in incident.events:
        phase = _phase(event, phase)
        after = event.at - lines[-1].at if lines else timedelta(0)
        text = sentence(event.body, known)
        lines.append(Line(at=event.at, phase=phase, actor=event.actor, text=text, after=after))
    return lines


def phases(incident: Incident) -> list[Phase]:
    """Detect, confirm, decide, act, verify: each begins where the one before it ended.

    detect: the first alert's beginning until the incident was opened. confirm: until the first check. decide: until
    the last gate before the first change; where nothing was changed, until the last decision. act: until the last
    change was made. verify: until it was resolved or handed over, or else the last verdict.
    """
    first_alert = incident.alerts[0].starts_at if incident.alerts else None
    marks: list[tuple[PhaseName, datetime | None]] = [
        ("detect", incident.opened_at if first_alert else None),
        ("confirm", _confirmed(incident)),
        ("decide", _decided(incident)),
        ("act", _last(incident, e.Applied)),
        ("verify", _verified(incident)),
    ]
    found: list[Phase] = []
    began = first_alert or incident.opened_at
    for name, end in marks:
        found.append(Phase(name=name, took=None if end is None else max(end - began, timedelta(0))))
        began = end or began
    return found


def time_to_mitigate(incident: Incident) -> timedelta | None:
    """From opened until resolved; None where it is not resolved."""
    end = incident.last(e.Resolved)
    return end.at - incident.opened_at if end else None


def clock(took: timedelta | None) -> str:
    """A duration for people: ``0.42 s``, ``12.3 s``, ``4 min 5 s``, ``3 h 2 min``; a dash for None."""
    if took is None:
        return "–"
    seconds = took.total_seconds()
    if seconds < 10:
        return f"{seconds:.2f} s"
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours < 48 else f"{hours // 24} d {hours % 24} h"


def _phase(event: Event, before: PhaseName) -> PhaseName:
    if isinstance(event.body, e.Checked) and event.body.phase == "watch":
        return "verify"
    return _PHASE.get(event.body.kind, before)


def _confirmed(incident: Incident) -> datetime | None:
    looks = (ev.at for ev in incident.events if isinstance(ev.body, e.Checked) and ev.body.phase == "confirm")
    return next(looks, None)


def _decided(incident: Incident) -> datetime | None:
    made = next((event for event in incident.events if isinstance(event.body, e.Applied)), None)
    if made is None or not isinstance(made.body, e.Applied):
        return _last(incident, e.Gated, e.NotPlanned)
    asked = (ev.at for ev in incident.events if isinstance(ev.body, e.Gated) and ev.body.plan == made.body.plan)
    return max(asked, default=made.at)


def _verified(incident: Incident) -> datetime | None:
    made = incident.last(e.Applied)
    since = made.seq if made else 0
    later = [event for event in incident.events if event.seq > since]
    looks = [event for event in later if _phase(event, "act") == "verify" and isinstance(event.body, _LOOKS)]
    if made is None and not looks:
        return None
    ends = (event for event in later if isinstance(event.body, e.Resolved | e.Escalated))
    end = next(ends, looks[-1] if looks else None)
    return end.at if end else None


def _last(incident: Incident, *kinds: type[object]) -> datetime | None:
    return next((event.at for event in reversed(incident.events) if isinstance(event.body, kinds)), None)
