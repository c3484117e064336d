"""The dedup: which firings of which alerts are known. An episode is one sender's fingerprint and one beginning."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from sqlalchemy import Connection, bindparam, insert, select, tuple_, update

from incidents.intake import reading
from incidents.intake.inbox import AT_ONCE
from incidents.models import Alert
from incidents.schema import episodes

#: Sender, fingerprint and beginning.
Key = tuple[str, str, str]

_columns = episodes.c
_KEY = (_columns.sender, _columns.fingerprint, _columns.episode)
#: SQLite finds nothing by a tuple and would read the whole table; it finds by the first two, and then compares.
_KNOWN = select(episodes).where(
    _columns.sender.in_(bindparam("senders", expanding=True)),
    _columns.fingerprint.in_(bindparam("fingerprints", expanding=True)),
    tuple_(*_KEY).in_(bindparam("keys", expanding=True)),
)
_NEW = insert(episodes)
_CHANGED = (
    update(episodes)
    .where(*(column == bindparam(f"_{column.name}") for column in _KEY))
    .values(incident=bindparam("_incident"), firing=bindparam("_firing"))
)


@dataclass
class Episode:
    """One row of the table, and whether it is in the table as it stands here."""

    incident: str | None
    firing: bool
    stored: bool = False
    changed: bool = False

    def begins_anew(self, alert: Alert) -> bool:
        """Whether a firing of it is a new one: it is where no time tells it from the one that ended."""
        return not self.firing and reading.moment(alert.episode) is None


def key(sender: str, alert: Alert) -> Key:
    """What the episode of a sender's alert is known by."""
    return sender, alert.fingerprint, alert.episode


def look_up(connection: Connection, wanted: Iterable[Key]) -> dict[Key, Episode]:
    """Those of the episodes that are in the table."""
    keys, found = list(dict.fromkeys(wanted)), dict[Key, Episode]()
    for start in range(0, len(keys), AT_ONCE):
        some = keys[start : start + AT_ONCE]
        senders, fingerprints = {key[0] for key in some}, {key[1] for key in some}
        asked = {"senders": list(senders), "fingerprints": list(fingerprints), "keys": some}
        for row in connection.execute(_KNOWN, asked):
            found[row.sender, row.fingerprint, row.episode] = Episode(row.incident, row.firing, stored=True)
    return found


def keep(connection: Connection, known: dict[Key, Episode]) -> None:
    """Store the episodes that are new, and those that began anew or ended."""
    new = [_row("", at, it) for at, it in known.items() if not it.stored]
    changed = [_row("_", at, it) for at, it in known.items() if it.stored and it.changed]
    if new:
        connection.execute(_NEW, new)
    if changed:
        connection.execute(_CHANGED, changed)


def _row(prefix: str, at: Key, episode: Episode) -> dict[str, object]:
    values = (*at, episode.incident, episode.firing)
    return {f"{prefix}{column.name}": value for column, value in zip(_columns, values, strict=True)}
