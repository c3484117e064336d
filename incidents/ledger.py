"""The ledger: an append-only, hash-chained table of events. What is not on it did not happen.

Every event's hash covers the event's own stored bytes and the hash of the event before, so a changed, removed,
inserted or reordered event breaks the chain at a place that can be named.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import cache
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, func, insert, inspect, select, text, update
from sqlalchemy.engine import make_url

from incidents import schema
from incidents.events import (
    Alerted,
    Body,
    Escalated,
    Event,
    NotConfirmed,
    Opened,
    Resolved,
    body_json,
    parse_body,
    without_secrets,
)
from incidents.models import Status, canonical, digest, now
from incidents.redaction import redact, redact_tree
from incidents.settings import settings

#: The hash before the first event.
GENESIS = "0" * 64

#: The advisory lock under which PostgreSQL writers take turns; SQLite has one writer anyway.
_WRITE_LOCK = 4_207_001

_CLOSING = {Resolved: Status.resolved, NotConfirmed: Status.not_confirmed}


def chain(before: str, row: Any) -> str:
    """The hash of a row of ``events`` that follows the hash ``before``."""
    return digest([before, row.seq, row.at, row.incident, row.subject, row.kind, row.actor, row.body])


_LAST = select(schema.events.c.seq, schema.events.c.hash).order_by(schema.events.c.seq.desc()).limit(1)
_APPEND = insert(schema.events)


class Writer:
    """One write transaction: what is appended in it is stored together or not at all."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        #: Number and hash of the last event, once it was looked up.
        self._last: tuple[int, str] | None = None

    def append(self, body: Body, *, actor: str, incident: str | None = None, subject: str | None = None) -> Event:
        """Put one event at the end of the chain."""
        if self._last is None:  # this transaction is alone in writing, so one look is enough
            last = self.connection.execute(_LAST).first()
            self._last = (last.seq, last.hash) if last else (0, GENESIS)
        seq, before = self._last[0] + 1, self._last[1]
        at, body = now(), without_secrets(body)
        columns = {
            "seq": seq,
            "at": at.isoformat(timespec="microseconds"),
            "incident": incident or "",
            "subject": subject or "",
            "kind": body.kind,
            "actor": redact(actor),
            "body": canonical(body_json(body)),
        }
        columns["hash"] = digest([before, *columns.values()])
        self.connection.execute(_APPEND, columns)
        self._last = (seq, str(columns["hash"]))
        if incident is not None:
            self._keep_found(incident, body, at)
        return Event(
            seq=seq,
            at=at,
            incident=incident,
            subject=subject,
            actor=actor,
            body=body,
            hash=str(columns["hash"]),
        )

    def open(self, body: Opened, *, actor: str) -> str:
        """Begin an incident and return its name: ``INC-7``."""
        number = (self.connection.scalar(select(func.max(schema.incidents.c.number))) or 0) + 1
        incident = f"INC-{number}"
        self.append(body, actor=actor, incident=incident, subject=body.asset)
        return incident

    def live(self, category: str, asset: str | None, alert: str = "") -> str | None:
        """The incident of that category and asset that is not closed yet; without an asset, of that alert's name."""
        key = _live_key(category, asset, alert)
        found = self.connection.scalar(select(schema.incidents.c.number).where(schema.incidents.c.live == key))
        return f"INC-{found}" if found is not None else None

    def send(self, kind: str, key: str, payload: dict[str, Any], *, incident: str | None = None) -> None:
        """Put a job into the outbox; the same key is put there once."""
        box = schema.outbox
        if self.connection.scalar(select(box.c.id).where(box.c.key == key)) is None:
            self.connection.execute(
                insert(box).values(
                    key=key,
                    incident=incident,
                    kind=kind,
                    payload=canonical(redact_tree(payload)),
                    attempts=0,
                    next_at=now().isoformat(),
                )
            )

    def _keep_found(self, incident: str, body: Body, at: datetime) -> None:
        """Keep the table that incidents are found by in step with their events."""
        table, number, moment = schema.incidents, number_of(incident), at.isoformat(timespec="microseconds")
        match body:
            case Opened():
                self.connection.execute(
                    insert(table).values(
                        number=number,
                        category=body.category,
                        asset=body.asset,
                        severity=int(body.severity),
                        status=Status.open,
                        title=body.title,
                        opened_at=moment,
                        live=_live_key(body.category, body.asset, body.alert.name if body.alert else ""),
                    )
                )
            case Alerted(alert=alert):
                worse = (table.c.number == number) & (table.c.severity > int(alert.severity))
                self.connection.execute(update(table).where(worse).values(severity=int(alert.severity)))
            case Resolved() | NotConfirmed():
                self.connection.execute(
                    update(table)
                    .where(table.c.number == number)
                    .values(status=_CLOSING[type(body)], closed_at=moment, live=None)
                )
            case Escalated():
                self.connection.execute(update(table).where(table.c.number == number).values(status=Status.escalated))


class Ledger:
    """The events of one database, and the one way to add to them."""

    def __init__(self, url: str) -> None:
        self.engine = _engine(url)
        #: Whether the end of the chain was seen to be whole. There is none to see while the tables are made.
        self._checked = True
        if not inspect(self.engine).has_table(schema.leases.name):
            with self.write() as writer:  # two processes may open a new database at once: one makes the tables
                schema.metadata.create_all(writer.connection)
        self._checked = False

    @contextmanager
    def write(self) -> Iterator[Writer]:
        """One transaction that is alone in writing; committed at the end, rolled back on an exception.

        Raises:
            incidents.tail.BrokenTail: the first time, where the chain is broken near its end.
        """
        from incidents import tail  # which computes the chain as it is computed here

        with self.engine.connect().execution_options(lastgood_write=True) as connection, connection.begin():
            if self.engine.dialect.name == "postgresql":
                connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _WRITE_LOCK})
            if not self._checked:
                tail.check(connection)
                self._checked = True
            yield Writer(connection)

    def append(self, body: Body, *, actor: str, incident: str | None = None, subject: str | None = None) -> Event:
        """Put one event on the record, in a transaction of its own."""
        with self.write() as writer:
            return writer.append(body, actor=actor, incident=incident, subject=subject)

    def events(
        self,
        *,
        incident: str | None = None,
        subject: str | None = None,
        kinds: Sequence[str] = (),
        since: datetime | None = None,
    ) -> list[Event]:
        """The events that match all that is given, in the order in which they happened."""
        table = schema.events
        query = select(table).order_by(table.c.seq)
        if incident is not None:
            query = query.where(table.c.incident == incident)
        if subject is not None:
            query = query.where(table.c.subject == subject)
        if kinds:
            query = query.where(table.c.kind.in_(kinds))
        if since is not None:
            query = query.where(table.c.at >= since.astimezone(UTC).isoformat(timespec="microseconds"))
        with self.engine.connect() as connection:
            return [_event(row) for row in connection.execute(query)]

    def incidents(self, *, limit: int = 50) -> list[Any]:
        """The newest incidents first, as rows of the table that they are found by."""
        table = schema.incidents
        with self.engine.connect() as connection:
            return list(connection.execute(select(table).order_by(table.c.number.desc()).limit(limit)))

    def rows(self) -> Iterable[Any]:
        """Every event as it is stored, in order, without holding them all in memory."""
        with self.engine.connect() as connection:
            query = select(schema.events).order_by(schema.events.c.seq)
            yield from connection.execution_options(yield_per=1000).execute(query)


def _live_key(category: str, asset: str | None, alert: str) -> str | None:
    """What there is at most one live incident of. An incident without an asset or an alert is like no other."""
    about = asset or (f"alert:{alert}" if alert else None)
    return f"{category} {about}" if about else None


def number_of(incident: str) -> int:
    """The number in an incident's name.

    Raises:
        ValueError: the name is not of the form ``INC-7``.
    """
    prefix, _, number = incident.upper().partition("-")
    if prefix != "INC" or not (number.isascii() and number.isdigit()):
        raise ValueError(f"{incident!r} is not an incident's name; it looks like INC-7")
    return int(number)


@cache
def ledger() -> Ledger:
    """The ledger of this process's settings, opened once."""
    return Ledger(settings().ledger_url())


def _event(row: Any) -> Event:
    return Event(
        seq=row.seq,
        at=datetime.fromisoformat(row.at),
        incident=row.incident or None,
        subject=row.subject or None,
        actor=row.actor,
        body=parse_body(row.body),
        hash=row.hash,
    )


def _engine(url: str) -> Engine:
    engine = create_engine(url, hide_parameters=True, pool_pre_ping=make_url(url).get_backend_name() != "sqlite")
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _set_up_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
    return engine


def _set_up_sqlite(connection: sqlite3.Connection, _record: object) -> None:
    connection.isolation_level = None  # we say BEGIN ourselves, below
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("PRAGMA busy_timeout=30000")


def _begin_sqlite(connection: Connection) -> None:
    # A writer takes the lock before it reads, so that what it read is still so when it writes.
    writes = connection.get_execution_options().get("lastgood_write", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
