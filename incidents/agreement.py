"""Who has asked for something to be taken back, where that takes several people."""

from __future__ import annotations

from datetime import timedelta

from incidents import events as e
from incidents.incident import Incident
from incidents.models import now
from incidents.people import identity
from incidents.playbook import Playbook


def agreed(incident: Incident, plan: str, playbook: Playbook) -> set[str]:
    """The people who have asked lately for an applied plan to be taken back; ``Anna`` and ``anna`` are one."""
    since = now() - timedelta(seconds=playbook.approvals.expires_seconds)
    people: set[str] = set()
    for event in incident.events:
        if isinstance(event.body, e.Applied) and event.body.plan == plan:
            people = set()  # what was asked before it was applied again is about something else
        if isinstance(event.body, e.UndoAgreed) and event.body.plan == plan and event.at > since:
            people.add(identity(event.actor))
    return people
