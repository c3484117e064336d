"""Proof that the record is whole: walk the chain, and say which event breaks it and how."""

from __future__ import annotations

import json
import sqlite3
from collections import deque
from collections.abc import Iterator
from datetime import datetime
from itertools import takewhile
from typing import Any, TextIO

from sqlalchemy import select, text
from sqlalchemy.exc import SQLAlchemyError

from incidents import schema, stretch, tampering
from incidents.ledger import GENESIS, Ledger
from incidents.models import Frozen
from incidents.tampering import Finding

#: What reading a damaged database can raise; SQLite's own message may quote the damage, and be no text.
UNREADABLE = (SQLAlchemyError, sqlite3.Error, UnicodeError)


#: From so many events on it pays to start processes.
LONG = 100_000


class Report(Frozen):
    """What a walk along the chain found."""

    events: int
    #: The hash of the last event that is in order.
    head: str
    #: One sentence a finding, naming the event and what was done to it; empty when the record is whole.
    broken: tuple[str, ...] = ()


def verify(ledger: Ledger) -> Report:
    """Read every event and compute the chain anew; stops at the first event that is not as it was written, and says
    what was done to it.

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
    hashes, count = deque([GENESIS], tampering.REACH), 0
    for seq, row in enumerate(_each(ledger), start=1):
        if isinstance(row, Exception):
            found = Finding(seq, "damaged", f"it cannot be read ({row.__cause__ or row})")
        elif row.seq == seq and tampering.follows(hashes[-1], row.seq, row):
            hashes.append(row.hash)
            count += 1
            continue
        else:
            rest = takewhile(lambda one: not isinstance(one, Exception), _each(ledger, seq))
            found = tampering.explain(seq, hashes, rest)
        return Report(events=count, head=hashes[-1], broken=(str(found),))
    return Report(events=count, head=hashes[-1], broken=tuple(_storage_findings(ledger)))


def _each(ledger: Ledger, place: int = 1) -> Iterator[Any]:
    """What stands at every place of the table from ``place`` on, whatever its number is.

    Where the table cannot be read in one go, each event by itself until one cannot; then the error, and no more.
    """
    rest = select(schema.events).order_by(schema.events.c.seq).offset(place - 1)
    try:
        with ledger.engine.connect() as connection:
            for row in connection.execution_options(yield_per=1000).execute(rest):
                yield row
                place += 1
    except UNREADABLE as error:
        yield from _one_by_one(ledger, place, error)


def _one_by_one(ledger: Ledger, place: int, error: Exception) -> Iterator[Any]:
    """It counts along the table instead of looking numbers up, because a damaged number leads a search astray."""
    everything = select(schema.events).order_by(schema.events.c.seq).limit(1)
    with ledger.engine.connect() as connection:
        while True:
            try:
                row = connection.execute(everything.offset(place - 1)).first()
            except UNREADABLE as unreadable:
                yield unreadable
                return
            yield error if row is None else row
            if row is None:
                return
            place += 1


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
