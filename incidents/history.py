"""What the record says that matters to the gates: a fold over events, as of any moment.

The gates and the backtest use this same fold, so a decision is made again from what was known when it was made.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from datetime import datetime, timedelta

from incidents import events as e
from incidents import moves
from incidents.events import Event
from incidents.facts import Deed, Facts, Request
from incidents.leases import LIFETIME
from incidents.models import Alert

#: The subject of events that speak of automation as a whole.
AUTOMATION = "automation"

#: What tells of an incident's alerts, and of an asset's incidents.
ALERTS = ("opened", "alerted", "alert_ended")
EPISODES = ("opened", "resolved", "not_confirmed")

#: What ends the doubt that an intent leaves.
_SETTLES = (e.Applied, e.Undone, e.Conflicted, e.Failed, e.Escalated, e.Resolved, e.NotConfirmed)

#: An incident and a plan's hash.
_Key = tuple[str, str]


class History:
    """Takes events in, one after the other, and says what they amount to."""

    def __init__(self) -> None:
        self.deeds: list[Deed] = []
        #: The last event that was taken in.
        self.seq = 0
        self._newest: dict[_Key, int] = {}
        #: Incident -> the target of the intent that is its last word, and when it was put on the record.
        self._intents: dict[str, tuple[str, datetime]] = {}
        self._firing: defaultdict[str, dict[tuple[str, str, str], datetime]] = defaultdict(dict)
        self._closed: set[str] = set()
        self._reopened: defaultdict[str, list[datetime]] = defaultdict(list)
        self._paused = ""
        self._frozen: dict[str, str] = {}
        #: Target -> what tells of where its pointer was.
        self._told: defaultdict[str, list[Event]] = defaultdict(list)

    def add(self, event: Event) -> None:  # noqa: PLR0912  # one line a kind of event, nothing nested
        """Take the next event in."""
        self.seq = event.seq
        incident, asset = event.incident or "", event.subject or ""
        if event.body.kind in moves.KINDS:
            self._told[asset].append(event)
        match event.body:
            case e.Opened(alert=alert):
                self._opened(event, asset)
                if alert:
                    self._firing[incident].setdefault(_episode(alert), event.at)
            case e.Alerted(alert=alert):
                self._firing[incident].setdefault(_episode(alert), event.at)
            case e.AlertEnded(alert=alert):
                self._firing[incident].pop(_episode(alert), None)
            case e.Applying() as intent:
                self._begun(event, intent)
            case e.Undoing():
                self._intents[incident] = asset, event.at
            case e.Applied(plan=plan):
                self._change(incident, plan, applied=True)
            case e.Verified(plan=plan, verdict=verdict):
                self._change(incident, plan, health=verdict.health)
            case e.Undone(plan=plan):
                self._change(incident, plan, undone=True)
            case e.Resolved() | e.NotConfirmed():
                self._closed.add(asset)
            case e.AutonomyReset() as reset:
                self._forget(reset)
            case e.Paused(why=why):
                self._paused = f"{event.actor.removeprefix('person:')}: {why}"
            case e.Unpaused():
                self._paused = ""
                self._intents.clear()
            case e.Froze(asset=frozen, why=why):
                self._frozen[frozen] = f"{incident}: {why}"
            case e.Thawed(asset=frozen):
                self._frozen.pop(frozen, None)
            case _:
                pass
        if isinstance(event.body, _SETTLES):
            self._intents.pop(incident, None)

    def facts(self, request: Request, at: datetime, back: timedelta, holders: Mapping[str, str]) -> Facts:
        """What is known at ``at`` as far as it matters to the request, looking ``back`` so far."""
        return Facts(
            at=at,
            deeds=tuple(deed for deed in self.deeds if deed.at > at - back and not _is_the_one(deed, request)),
            firing_since=min(self._firing.get(request.incident, {}).values(), default=None),
            reopened=tuple(self._reopened.get(request.asset or "", ())),
            holder=_other(holders.get(request.plan.target, ""), request.incident),
            paused=self._paused,
            frozen=self._frozen.get(request.changes, ""),
            taken_back=moves.taken_back(moves.fold(self._told.get(request.plan.target, ())), request.plan),
            in_doubt=tuple(
                incident
                for incident, (target, _) in self._intents.items()
                if incident != request.incident and holders.get(target) != incident
            ),
        )

    def at_work(self, at: datetime) -> dict[str, str]:
        """Target -> the incident that held its lease at a moment in the past, when leases themselves are long gone."""
        return {target: incident for incident, (target, begun) in self._intents.items() if begun > at - LIFETIME}

    def _opened(self, event: Event, asset: str) -> None:
        if asset and asset in self._closed:
            self._closed.discard(asset)
            self._reopened[asset].append(event.at)

    def _begun(self, event: Event, intent: e.Applying) -> None:
        incident, asked = event.incident or "", intent.asked
        self._intents[incident] = event.subject or "", event.at
        newest = self._newest.get((incident, intent.plan))
        if asked is None or (newest is not None and not self.deeds[newest].applied):
            return  # entered again after a crash: it is the same deed
        self._newest[incident, intent.plan] = len(self.deeds)
        self.deeds.append(
            Deed(
                incident=incident,
                plan=intent.plan,
                action=intent.action,
                asset=asked.changes,
                category=asked.category,
                severity=asked.severity,
                at=event.at,
            )
        )

    def _change(self, incident: str, plan: str, **changed: object) -> None:
        place = self._newest.get((incident, plan))
        if place is not None:
            self.deeds[place] = self.deeds[place].model_copy(update=changed)

    def _forget(self, reset: e.AutonomyReset) -> None:
        for place, deed in enumerate(self.deeds):
            same = deed.action == reset.action
            same &= reset.category in (None, deed.category) and reset.severity in (None, deed.severity)
            if same:
                self.deeds[place] = deed.model_copy(update={"forgotten": True})


def _episode(alert: Alert) -> tuple[str, str, str]:
    return alert.source, alert.fingerprint, alert.episode


def _is_the_one(deed: Deed, request: Request) -> bool:
    """Whether the deed is the very one that is asked about: begun, and cut off by a crash."""
    return not deed.applied and (deed.incident, deed.plan) == (request.incident, request.plan.hash)


def _other(holder: str, incident: str) -> str:
    return "" if holder == incident else holder
