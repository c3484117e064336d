"""Proof that the record is whole: walk the chain, and say which event breaks it."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from datetime import datetime
from typing import Any, TextIO

from sqlalchemy import select, text
from sqlalchemy.exc import SQLAlchemyError

from incidents import schema, stretch
from incidents.ledger import GENESIS, Ledger, chain
from incidents.models import Frozen

#: What reading a damaged database can raise; SQLite's own message may quote the damage, and be no text.
UNREADABLE = (SQLAlchemyError, sqlite3.Error, UnicodeError)


#: From so many events on it pays to start processes.
LONG = 100_000


class Report(Frozen):
    """What a walk along the chain found."""

    events: int
    #: The hash of the last event that is in order.
    head: str
    #: One sentence a finding, naming the event; empty when the record is whole.
    broken: tuple[str, ...] = ()


def verify(ledger: Ledger) -> Report:
    """Read every event and compute the chain anew; stops at the first event that is not as it was written.

    A long record is checked by several processes. Only where that finds anything is it walked from its beginning, so
    that the findings are the same.
    """
    whole = _side_by_side(ledger)
    return _walk(ledger) if whole is None else whole


def _side_by_side(ledger: Ledger) -> Report | None:
    """The report on a long record that is whole; None for any other, of which nothing more is known then."""
    try:
        events = ledger.length()
        if events < LONG:
            return None
    except (*UNREADABLE, TypeError):  # the number is damaged, and can have come back as text
        return None
    whole = stretch.check_all(ledger, events, meanwhile=lambda: not any(_storage_findings(ledger)))
    return whole and Report(events=whole.events, head=whole.head)


def export(ledger: Ledger, to: TextIO, *, since: datetime | None = None) -> int:
    """Write every event from ``since`` on as one JSON line, hash included, and return how many."""
    count = 0
    for row in ledger.rows():
        if since is not None and datetime.fromisoformat(row.at) < since:
            continue
        to.write(json.dumps(dict(row._mapping), ensure_ascii=False) + "\n")
        count += 1
    return count


def _walk(ledger: Ledger) -> Report:
    before, count = GENESIS, 0
    for seq, row in _each(ledger):
        problem = _problem(row, before)
        if problem:
            return Report(events=count, head=before, broken=(f"event {seq}: {problem}",))
        before, count = row.hash, count + 1
    return Report(events=count, head=before, broken=tuple(_storage_findings(ledger)))


def _problem(row: Any, before: str) -> str | None:
    if isinstance(row, Exception):
        return f"cannot be read ({row.__cause__ or row})"
    if row is None:
        return "is missing"
    try:
        whole = chain(before, row) == row.hash
    except (TypeError, ValueError):  # a damaged column can come back as bytes, or as text that is not text
        whole = False
    return None if whole else "is not as it was written, or the one before it was exchanged"


def _each(ledger: Ledger) -> Iterator[tuple[int, Any]]:
    """Every place in the chain with its row; None where another stands there, the error where none can be read."""
    seq = 0
    try:
        for seq, row in enumerate(ledger.rows(), start=1):
            yield seq, row if row.seq == seq else None
    except UNREADABLE:
        yield from _one_by_one(ledger, seq + 1)


def _one_by_one(ledger: Ledger, seq: int) -> Iterator[tuple[int, Any]]:
    """As ``_each``, from ``seq`` on where the table cannot be read in one go: each by itself, until one fails.

    It counts along the table instead of looking numbers up, because a damaged number leads a search astray.
    """
    everything = select(schema.events).order_by(schema.events.c.seq).limit(1)
    with ledger.engine.connect() as connection:
        while True:
            try:
                row = connection.execute(everything.offset(seq - 1)).first()
            except UNREADABLE as error:
                yield seq, error
                return
            yield seq, row if row is not None and row.seq == seq else None
            if row is None:
                return
            seq += 1


def _storage_findings(ledger: Ledger) -> Iterator[str]:
    """What SQLite itself finds wrong with the file, an index that disagrees with its table for instance."""
    if ledger.engine.dialect.name != "sqlite":
        return
    try:
        with ledger.engine.connect() as connection:
            rows = [row[0] for row in connection.execute(text("PRAGMA integrity_check(20)"))]
    except UNREADABLE as error:
        rows = [str(error.__cause__ or error)]
    yield from (f"the database file: {row}" for row in rows if row != "ok")
