"""Puts a delivery on the record: inbox, dedup, incident and outbox in one transaction. Then it may be acknowledged."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, bindparam, insert, select, tuple_, update

from incidents.events import Alerted, AlertEnded, Opened, SetAside
from incidents.intake import Parsed, reading
from incidents.ledger import Ledger, Writer
from incidents.models import Alert, Category, Frozen, now
from incidents.playbook import Playbook, Route
from incidents.schema import deliveries, episodes

#: Fingerprint and beginning.
_Key = tuple[str, str]

#: So many episodes are looked up at once; a statement can't carry much more than 30,000 values.
_AT_ONCE = 500

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


def accept(ledger: Ledger, playbook: Playbook, sender: str, body: bytes, parsed: Parsed) -> Receipt:
    """Store one delivery and everything that follows from it, together or not at all. It is stored when this returns.

    The same delivery any number of times, at the same time as well, counts once.
    """
    with ledger.write() as writer:
        sha256 = hashlib.sha256(body).hexdigest()
        known_body = _keep_body(writer.connection, sender, sha256, body)
        keys = list(dict.fromkeys(_key(alert) for _, alert in parsed.alerts))
        delivery = _Delivery(writer, playbook, sender, sha256, _look_up(writer.connection, sender, keys))
        for index, alert in parsed.alerts:
            delivery.take(index, alert)
        for index, why in parsed.set_aside:
            if known_body:
                delivery.unchanged()
            else:
                delivery.set_aside(index, why)
        delivery.keep_episodes()
        return delivery.receipt()


@dataclass
class _Episode:
    """One row of ``episodes``, and whether it is in the table as it stands here."""

    incident: str | None
    firing: bool
    stored: bool = False
    changed: bool = False


class _Delivery:
    """One delivery on its way onto the record, inside one transaction."""

    def __init__(
        self, writer: Writer, playbook: Playbook, sender: str, sha256: str, known: dict[_Key, _Episode]
    ) -> None:
        self._writer, self._playbook, self._sender, self._sha256 = writer, playbook, sender, sha256
        self._actor = f"intake:{sender}"
        self._episodes = known
        #: Nobody else writes now, so what was found live stays so: one look for each category and asset is enough.
        self._live: dict[tuple[Category, str], str] = {}
        self._counts: Counter[str] = Counter()
        self._incidents: dict[str, None] = {}

    def take(self, index: int, alert: Alert) -> None:
        """Do what follows from one alert."""
        before = self._episodes.get(_key(alert))
        if before is not None and before.incident:
            self._incidents[before.incident] = None
        if alert.firing and (before is None or _begins_anew(before, alert)):
            incident = self._begin(index, alert)
            self._episodes[_key(alert)] = _Episode(incident, True, stored=bool(before and before.stored), changed=True)
        elif not alert.firing and before is None:
            self._episodes[_key(alert)] = _Episode(None, False)
            self.unchanged()
        elif not alert.firing and before is not None and before.firing:
            self._end(alert, before)
        else:
            self.unchanged()

    def set_aside(self, index: int, why: str) -> None:
        """Leave an alert for a person."""
        body = SetAside(sender=self._sender, delivery=self._sha256, index=index, why=why)
        self._writer.append(body, actor=self._actor)
        self._counts["set_aside"] += 1

    def unchanged(self) -> None:
        """Count an alert that asks for nothing."""
        self._counts["unchanged"] += 1

    def keep_episodes(self) -> None:
        """Store the episodes that are new, and those that began anew or ended."""
        new = [self._row(key, it) for key, it in self._episodes.items() if not it.stored]
        changed = [self._row(key, it) for key, it in self._episodes.items() if it.stored and it.changed]
        table, connection = episodes.c, self._writer.connection
        if new:
            connection.execute(insert(episodes), new)
        if changed:
            same = [table[name] == bindparam(f"_{name}") for name in ("sender", "fingerprint", "episode")]
            values: dict[str, object] = {"incident": bindparam("_incident"), "firing": bindparam("_firing")}
            rows = [{f"_{name}": value for name, value in row.items()} for row in changed]
            connection.execute(update(episodes).where(*same).values(values), rows)

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
        alert = alert.model_copy(update={"severity": route.severity or alert.severity})
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
            launch = {
                "deployment": f"{category}/{category}",
                "parameters": {"incident": live},
                "name": f"{live} {asset or 'no asset'}",
                "queue": f"severity-{int(alert.severity)}",
            }
            self._writer.send("launch", f"launch:{live}", launch, incident=live)
            self._counts["opened"] += 1
        self._live[about] = live
        return live

    def _end(self, alert: Alert, episode: _Episode) -> None:
        episode.firing, episode.changed = False, True
        if episode.incident:
            self._writer.append(AlertEnded(alert=alert), actor=self._actor, incident=episode.incident)
            self._counts["ended"] += 1
        else:
            self.unchanged()

    def _row(self, key: _Key, episode: _Episode) -> dict[str, object]:
        names = {"sender": self._sender, "fingerprint": key[0], "episode": key[1]}
        return {**names, "incident": episode.incident, "firing": episode.firing}


def _key(alert: Alert) -> _Key:
    return alert.fingerprint, alert.episode


def _begins_anew(before: _Episode, alert: Alert) -> bool:
    """Whether a firing of a known episode is a new one: it is where no time tells it from the one that ended."""
    return not before.firing and reading.moment(alert.episode) is None


def _keep_body(connection: Connection, sender: str, sha256: str, body: bytes) -> bool:
    """Store the bytes once; returns whether they were there."""
    same = (deliveries.c.sender == sender, deliveries.c.sha256 == sha256)
    if connection.execute(update(deliveries).where(*same).values(seen=deliveries.c.seen + 1)).rowcount:
        return True
    row = {"sender": sender, "sha256": sha256, "received_at": now().isoformat(), "seen": 1, "body": body}
    connection.execute(insert(deliveries).values(row))
    return False


def _look_up(connection: Connection, sender: str, keys: Sequence[_Key]) -> dict[_Key, _Episode]:
    """Those of the episodes that are in the table."""
    table, found = episodes.c, dict[_Key, _Episode]()
    for start in range(0, len(keys), _AT_ONCE):
        some = tuple_(table.fingerprint, table.episode).in_(keys[start : start + _AT_ONCE])
        for row in connection.execute(select(episodes).where(table.sender == sender, some)):
            found[row.fingerprint, row.episode] = _Episode(row.incident, row.firing, stored=True)
    return found


def _title(alert: Alert) -> str:
    said: Mapping[str, str] = alert.annotations
    about = next((said[key] for key in ("summary", "message", "description") if said.get(key)), "")
    line = f"{alert.name}: {' '.join(about.split())}" if about else alert.name
    return line if len(line) <= _LONGEST_TITLE else f"{line[: _LONGEST_TITLE - 1]}…"
