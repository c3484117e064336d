"""The ledger: an append-only, hash-chained table of events. What is not on it did not happen.

Every event's hash covers the event's own stored bytes and the hash of the event before, so a changed, removed,
inserted or reordered event breaks the chain at a place that can be named.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import cache
from typing import Any

import stamina
from sqlalchemy import Connection, Engine, create_engine, event, func, inspect, select, text
from sqlalchemy.engine import make_url

from incidents import schema, tail
from incidents.chain import GENESIS, chain
from incidents.events import Body, Event, parse_body
from incidents.settings import settings
from incidents.writer import Writer, number_of

__all__ = ["GENESIS", "Ledger", "Writer", "chain", "ledger", "number_of"]

#: The advisory lock under which PostgreSQL writers take turns; SQLite has one writer anyway.
_WRITE_LOCK = 4_207_001
_TAKE_TURN = text("SELECT pg_advisory_xact_lock(:key)")


class Ledger:
    """The events of one database, and the one way to add to them."""

    def __init__(self, url: str) -> None:
        self.engine = _engine(url)
        #: Threads of one process take turns here; SQLite would let them sleep and try again.
        self._turn = threading.RLock()
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
        with self._turn, self.engine.connect().execution_options(lastgood_write=True) as connection, connection.begin():
            if self.engine.dialect.name == "postgresql":
                connection.execute(_TAKE_TURN, {"key": _WRITE_LOCK})
            if not self._checked:
                tail.check(connection)
                self._checked = True
            writer = Writer(connection)
            yield writer
            writer.flush()

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
        after: int = 0,
    ) -> list[Event]:
        """The events that match all that is given, in the order in which they happened; ``after`` that number."""
        table = schema.events
        query = select(table).order_by(table.c.seq)
        if after:
            query = query.where(table.c.seq > after)
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

    def length(self) -> int:
        """The number of the last event."""
        with self.engine.connect() as connection:
            return connection.scalar(select(func.max(schema.events.c.seq))) or 0

    def key(self, key: str) -> str:
        """A key as no other ledger has it, for a server that several ledgers ask: each of them has an INC-1."""
        with self.engine.connect() as connection:
            first = connection.scalar(select(schema.events.c.hash).order_by(schema.events.c.seq).limit(1))
        return f"{(first or GENESIS)[:16]}:{key}"

    def rows(self, *, first: int | None = None, last: int | None = None) -> Iterable[Any]:
        """Every event as it is stored, in order, without holding them all in memory."""
        table = schema.events
        query = select(table).order_by(table.c.seq)
        if first is not None:
            query = query.where(table.c.seq >= first)
        if last is not None:
            query = query.where(table.c.seq <= last)
        with self.engine.connect() as connection:
            yield from connection.execution_options(yield_per=1000).execute(query)


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
    connection.execute("PRAGMA busy_timeout=30000")
    _use_wal(connection)
    connection.execute("PRAGMA synchronous=FULL")


def _busy(error: Exception) -> bool:
    return isinstance(error, sqlite3.OperationalError) and error.sqlite_errorcode == sqlite3.SQLITE_BUSY


@stamina.retry(on=_busy, attempts=None, timeout=30, wait_initial=0.01, wait_max=0.2)
def _use_wal(connection: sqlite3.Connection) -> None:
    """Of a new database; SQLite does not wait for somebody else who is just making it, whatever its timeout."""
    connection.execute("PRAGMA journal_mode=WAL")


def _begin_sqlite(connection: Connection) -> None:
    # A writer takes the lock before it reads, so that what it read is still so when it writes.
    writes = connection.get_execution_options().get("lastgood_write", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
