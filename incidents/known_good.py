"""Which version of what was verified healthy. A fold over the ``judged`` events, so it is as old as the ledger."""

from __future__ import annotations

from incidents.events import Event, Judged
from incidents.ledger import Ledger
from incidents.models import Health


def verdicts(ledger: Ledger, subject: str) -> dict[str, Event]:
    """For each version of an asset the last event that settled its health; an inconclusive look settles nothing."""
    settled: dict[str, Event] = {}
    for event in ledger.events(subject=subject, kinds=["judged"]):
        if isinstance(event.body, Judged) and event.body.verdict.health is not Health.inconclusive:
            settled[event.body.version] = event
    return settled


def versions(ledger: Ledger, subject: str, health: Health) -> set[str]:
    """The versions of an asset whose last settled verdict is ``health``."""
    return {version for version, event in verdicts(ledger, subject).items() if _health(event) is health}


def _health(event: Event) -> Health | None:
    return event.body.verdict.health if isinstance(event.body, Judged) else None
