"""Puts deliveries on the record: inbox, dedup, incident and outbox in one transaction. Then they may be answered."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from incidents.events import Alerted, AlertEnded, Opened, SetAside
from incidents.intake import episodes, inbox
from incidents.intake.episodes import Episode, Key
from incidents.intake.inbox import Delivery
from incidents.ledger import Ledger, Writer
from incidents.models import Alert, Category, Frozen
from incidents.playbook import Playbook, Route
from incidents.starting import section

_LONGEST_TITLE = 200


class Receipt(Frozen):
    """What became of the alerts of one delivery, in numbers."""

    #: Incidents that began.
    opened: int = 0
    #: Alerts that joined a live incident.
    joined: int = 0
    #: Alerts of an incident that are over.
    ended: int = 0
    #: Alerts that could not be read, or that no route matches; a person has to look.
    set_aside: int = 0
    #: Alerts that were known, are noise, or ended before they were seen: nothing was to be done.
    unchanged: int = 0
    #: The incidents that the alerts opened, joined, ended in or belong to, each once.
    incidents: tuple[str, ...] = ()

    @property
    def new(self) -> bool:
        """Whether the delivery put anything on the record."""
        return bool(self.opened or self.joined or self.ended or self.set_aside)


def accept(ledger: Ledger, playbook: Playbook, received: Sequence[Delivery]) -> list[Receipt]:
    """Store deliveries and everything that follows from them, together or not at all; a receipt for each.

    They are stored when this returns. The same delivery any number of times, at the same time as well, counts once.
    """
    with ledger.write() as writer:
        was_there = inbox.keep(writer.connection, received)
        keys = (episodes.key(one.sender, alert) for one in received for _, alert in one.parsed.alerts)
        known = episodes.look_up(writer.connection, keys)
        live = dict[tuple[Category, str], str]()
        receipts = []
        for delivery, repeated in zip(received, was_there, strict=True):
            taking = _Taking(writer, playbook, delivery, known, live)
            for index, alert in delivery.parsed.alerts:
                taking.take(index, alert)
            for index, why in delivery.parsed.set_aside:
                if repeated:
                    taking.unchanged()
                else:
                    taking.set_aside(index, why)
            receipts.append(taking.receipt())
        episodes.keep(writer.connection, known)
        return receipts


class _Taking:
    """One delivery on its way onto the record, inside one transaction."""

    def __init__(
        self,
        writer: Writer,
        playbook: Playbook,
        delivery: Delivery,
        known: dict[Key, Episode],
        live: dict[tuple[Category, str], str],
    ) -> None:
        self._writer, self._playbook, self._delivery = writer, playbook, delivery
        self._actor = f"intake:{delivery.sender}"
        self._episodes = known
        #: Nobody else writes now, so what was found live stays so: one look for each category and asset is enough.
        self._live = live
        self._counts: Counter[str] = Counter()
        self._incidents: dict[str, None] = {}

    def take(self, index: int, alert: Alert) -> None:
        """Do what follows from one alert."""
        key = episodes.key(self._delivery.sender, alert)
        before = self._episodes.get(key)
        if before is not None and before.incident:
            self._incidents[before.incident] = None
        if alert.firing and (before is None or before.begins_anew(alert)):
            incident = self._begin(index, alert)
            self._episodes[key] = Episode(incident, True, stored=bool(before and before.stored), changed=True)
        elif not alert.firing and before is None:
            self._episodes[key] = Episode(None, False)
            self.unchanged()
        elif not alert.firing and before is not None and before.firing:
            self._end(alert, before)
        else:
            self.unchanged()

    def set_aside(self, index: int, why: str) -> None:
        """Leave an alert for a person."""
        body = SetAside(sender=self._delivery.sender, delivery=self._delivery.sha256, index=index, why=why)
        self._writer.append(body, actor=self._actor)
        self._counts["set_aside"] += 1

    def unchanged(self) -> None:
        """Count an alert that asks for nothing."""
        self._counts["unchanged"] += 1

    def receipt(self) -> Receipt:
        """What became of it."""
        return Receipt(**self._counts, incidents=tuple(self._incidents))

    def _begin(self, index: int, alert: Alert) -> str | None:
        """Bring a new episode to its incident; returns the incident, None where there is none to have."""
        route = self._playbook.route(alert)
        if route is None:
            self.set_aside(index, "no route of the playbook matches it")
            return None
        if route.category is None:
            self.unchanged()
            return None
        if route.severity is not None:
            alert = alert.model_copy(update={"severity": route.severity})
        incident = self._open_or_join(route, route.category, alert)
        self._incidents[incident] = None
        return incident

    def _open_or_join(self, route: Route, category: Category, alert: Alert) -> str:
        asset = self._playbook.asset(route.names(alert))
        about = (category, asset or f"alert:{alert.name}")
        live = self._live.get(about) or self._writer.live(category, asset, alert.name)
        if live:
            self._writer.append(Alerted(alert=alert), actor=self._actor, incident=live, subject=asset)
            self._counts["joined"] += 1
        else:
            opened = Opened(category=category, severity=alert.severity, asset=asset, title=_title(alert), alert=alert)
            live = self._writer.open(opened, actor=self._actor)
            self._writer.send("launch", f"launch:{live}", section(live, category, alert.severity, asset), incident=live)
            self._counts["opened"] += 1
        self._live[about] = live
        return live

    def _end(self, alert: Alert, episode: Episode) -> None:
        episode.firing, episode.changed = False, True
        if episode.incident:
            self._writer.append(AlertEnded(alert=alert), actor=self._actor, incident=episode.incident)
            self._counts["ended"] += 1
        else:
            self.unchanged()


def _title(alert: Alert) -> str:
    said: Mapping[str, str] = alert.annotations
    about = next((said[key] for key in ("summary", "message", "description") if said.get(key)), "")
    line = f"{alert.name}: {' '.join(about.split())}" if about else alert.name
    return line if len(line) <= _LONGEST_TITLE else f"{line[: _LONGEST_TITLE - 1]}…"
