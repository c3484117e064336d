"""What the gates look at: what is asked, and what the record says. Frozen, so that a decision can be made again."""

from __future__ import annotations

from datetime import datetime, timedelta

from pydantic import AwareDatetime

from incidents.events import Asked
from incidents.models import Category, Frozen, Health, Plan, Severity


class Request(Asked):
    """May this plan run?"""

    plan: Plan


class Deed(Frozen):
    """A plan that was begun, and how it ended."""

    incident: str
    #: The plan's hash.
    plan: str
    action: str
    #: The asset that was changed.
    asset: str
    category: Category
    severity: Severity
    #: When its intent was put on the record.
    at: AwareDatetime
    applied: bool = False
    #: What was seen afterwards; None where nothing was.
    health: Health | None = None
    undone: bool = False
    #: Whether a person has said since that it no longer counts for autonomy.
    forgotten: bool = False

    @property
    def failed(self) -> bool:
        """Whether it was seen not to help, or was taken back, by whomever."""
        return self.undone or self.health is Health.unhealthy

    @property
    def fixed(self) -> bool:
        """Whether it was seen to help and still stands."""
        return self.health is Health.healthy and not self.undone


class TakenBack(Frozen):
    """A person has put the target back to where it was before a change of ours."""

    #: When they did, or when it was seen.
    at: AwareDatetime
    #: Who; empty where the world does not say.
    by: str = ""


class Facts(Frozen):
    """What is known at one moment, as far as it matters to one request."""

    #: The moment.
    at: AwareDatetime
    #: Every plan that was begun, the oldest first, except the very one that is asked about while it is under way.
    deeds: tuple[Deed, ...] = ()
    #: Since when an alert of the incident has been firing, as we received it; None where none is.
    firing_since: AwareDatetime | None = None
    #: When an incident about the same asset was opened after one had been closed.
    reopened: tuple[AwareDatetime, ...] = ()
    #: Who else holds the lease on the target; empty where nobody does.
    holder: str = ""
    #: Who paused automation and why; empty where it is not paused.
    paused: str = ""
    #: The incident that froze the asset that would be changed, and why; empty where it is not frozen.
    frozen: str = ""
    #: When a person took back what the plan would do again, and who; None where nobody did.
    taken_back: TakenBack | None = None
    #: Incidents whose last word is an intent without its effect while nobody is at work on it.
    in_doubt: tuple[str, ...] = ()

    def deeds_since(self, window: timedelta) -> list[Deed]:
        """The deeds of the last so long."""
        return [deed for deed in self.deeds if deed.at > self.at - window]


def when(at: datetime) -> str:
    """A moment as the gates say it: ``2026-11-23 07:00:05 UTC``."""
    return f"{at:%Y-%m-%d %H:%M:%S} UTC"
