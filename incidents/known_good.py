"""Which version of what was verified healthy. A fold over the ``judged`` events, so it is as old as the ledger."""

from __future__ import annotations

from datetime import datetime

from incidents.events import Event, Judged
from incidents.ledger import Ledger
from incidents.models import Health
from incidents.quarantine import quarantined


def verdicts(ledger: Ledger, subject: str) -> dict[str, Event]:
    """For each version of an asset the last event that settled its health; an inconclusive look settles nothing."""
    settled: dict[str, Event] = {}
    for event in ledger.events(subject=subject, kinds=["judged"]):
        if isinstance(event.body, Judged) and event.body.verdict.health is not Health.inconclusive:
            settled[event.body.version] = event
    return settled


def versions(ledger: Ledger, subject: str, health: Health) -> set[str]:
    """The versions of an asset whose last settled verdict is ``health``. What is quarantined is unhealthy."""
    found = {version for version, event in verdicts(ledger, subject).items() if _health(event) is health}
    shut = set(quarantined(ledger, subject))
    return found | shut if health is Health.unhealthy else found - shut


def good_before(ledger: Ledger, subject: str, moment: datetime) -> set[str]:
    """The versions that were verified healthy before a moment, and that nothing has been found against since."""
    settled: dict[str, Event] = {}
    for event in ledger.events(subject=subject, kinds=["judged"]):
        if (
            event.at < moment
            and isinstance(event.body, Judged)
            and event.body.verdict.health is not Health.inconclusive
        ):
            settled[event.body.version] = event
    good = {version for version, event in settled.items() if _health(event) is Health.healthy}
    return good - versions(ledger, subject, Health.unhealthy)


def _health(event: Event) -> Health | None:
    return event.body.verdict.health if isinstance(event.body, Judged) else None
