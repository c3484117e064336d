"""The record proves itself: whatever is altered in the database, the audit fails and names the event."""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import sqlite3
from contextlib import closing
from datetime import timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from incidents import audit, stretch
from incidents import events as e
from incidents.ledger import GENESIS, Ledger
from incidents.models import Category, Health, Severity, Verdict, digest

#: Events in the tampered ledgers: enough for more than one page of the file.
MANY = 12


def fill(ledger: Ledger, count: int = MANY) -> None:
    """Put an incident and some events with and without an incident and a subject on the record."""
    with ledger.write() as writer:
        opened = e.Opened(
            category=Category.data, severity=Severity.high, asset="dataset:transactions", title="the feed is in cents"
        )
        name = writer.open(opened, actor="intake:alertmanager")
        for place in range(2, count + 1):
            # Every fourth body is longer than a page, so that it spills into pages of its own.
            why = f"look {place} " + ("at a long list of rows " * 300 if place % 4 == 0 else "at the rows")
            body = e.Judged(version=f"v{place}", verdict=Verdict(health=Health.healthy, why=why))
            subject = "dataset:transactions" if place % 2 else None
            writer.append(body, actor="flow:data", incident=name if place % 3 else None, subject=subject)


#: What somebody with full rights to the database could do to event 5, in SQL.
TAMPERING = {
    "at": "UPDATE events SET at = '2020-01-01T00:00:00.000000+00:00' WHERE seq = 5",
    "incident": "UPDATE events SET incident = 'INC-2' WHERE seq = 5",
    "no incident": "UPDATE events SET incident = '' WHERE seq = 5",
    "subject": "UPDATE events SET subject = 'dataset:other' WHERE seq = 5",
    "kind": "UPDATE events SET kind = 'resolved' WHERE seq = 5",
    "actor": "UPDATE events SET actor = 'person:eve' WHERE seq = 5",
    "body": "UPDATE events SET body = replace(body, 'healthy', 'unhealthy') WHERE seq = 5",
    "a space in the body": "UPDATE events SET body = body || ' ' WHERE seq = 5",
    "hash": "UPDATE events SET hash = CASE substr(hash, 1, 1) WHEN 'f' THEN 'e' ELSE 'f' END || substr(hash, 2) "
    "WHERE seq = 5",
    "deleted": "DELETE FROM events WHERE seq = 5",
    "moved": "UPDATE events SET seq = 99 WHERE seq = 5",
    "swapped": "UPDATE events SET seq = CASE seq WHEN 5 THEN -6 ELSE -5 END WHERE seq IN (5, 6); "
    "UPDATE events SET seq = -seq WHERE seq < 0",
    "bodies swapped": "UPDATE events SET body = (SELECT o.body FROM events o WHERE o.seq = 11 - events.seq) "
    "WHERE seq IN (5, 6)",
    "inserted": "UPDATE events SET seq = -seq - 1 WHERE seq >= 5; UPDATE events SET seq = -seq WHERE seq < 0; "
    "INSERT INTO events SELECT 5, at, incident, subject, kind, actor, body, hash FROM events WHERE seq = 4",
}


@pytest.mark.parametrize("sql", [pytest.param(sql, id=name) for name, sql in TAMPERING.items()])
def test_tampering_is_named(anywhere: Ledger, sql: str) -> None:
    """Whoever drops the guards and changes, moves, removes or inserts an event is found out, at the event."""
    fill(anywhere)
    assert audit.verify(anywhere).broken == ()
    as_owner(anywhere, sql)
    [finding] = audit.verify(anywhere).broken
    assert finding.startswith("event 5: ")


@pytest.fixture
def side_by_side(monkeypatch: pytest.MonkeyPatch) -> None:
    """Even a short record is checked by processes, three of them, whatever the machine."""
    monkeypatch.setattr(audit, "LONG", 1)
    monkeypatch.setattr(os, "cpu_count", lambda: 3)


@pytest.mark.usefixtures("side_by_side")
def test_processes_find_a_whole_record_whole(anywhere: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each checks a stretch, the stretches meet, and nothing needs to be walked a second time."""
    fill(anywhere)
    walked = audit._walk(anywhere)
    monkeypatch.setattr(audit, "_walk", lambda _ledger: None)
    assert audit.verify(anywhere) == walked == audit.Report(events=MANY, head=anywhere.events()[-1].hash)


@pytest.mark.usefixtures("side_by_side")
@pytest.mark.parametrize("sql", [pytest.param(sql, id=name) for name, sql in TAMPERING.items()])
def test_processes_find_what_a_walk_finds(ledger: Ledger, sql: str) -> None:
    """Wherever the stretches begin and end, the report is the same to the letter; event 5 is the first of one."""
    fill(ledger)
    as_owner(ledger, sql)
    found = audit.verify(ledger)
    assert found == audit._walk(ledger)
    assert found.broken[0].startswith("event 5: ")


@settings(max_examples=100, deadline=None)
@given(cut=st.integers(0, MANY), place=st.integers(0, MANY - 1), column=st.integers(0, 7))
def test_a_stretch_is_in_order_or_it_is_not(file: File, cut: int, place: int, column: int) -> None:
    """Two stretches that meet anywhere are the whole; with any column of any event altered, one of them is not."""

    def check(rows: list[Any]) -> bool:
        low = stretch.check(rows[:cut], 0)
        high = stretch.check(rows[max(0, cut - 1) :], cut)
        return low is not None and high is not None and low.head == high.before and low.events + high.events == MANY

    rows: list[Any] = [tuple(row) for row in file.rows]
    assert check(rows)
    altered = list(rows[place])
    altered[column] = 99 if column == 0 else f"{altered[column]}!"
    assert not check([*rows[:place], tuple(altered), *rows[place + 1 :]])


def test_a_rewritten_event_breaks_the_next_one(anywhere: Ledger) -> None:
    """Somebody who also computes the changed event's own hash anew is found out at the event after it."""
    fill(anywhere)
    before, row = list(anywhere.rows())[3:5]
    columns = {**row._mapping, "body": row.body.replace("healthy", "unhealthy")}
    del columns["hash"]
    forged = digest([before.hash, *columns.values()])
    as_owner(anywhere, f"UPDATE events SET body = '{columns['body']}', hash = '{forged}' WHERE seq = 5")
    assert audit.verify(anywhere).broken[0].startswith("event 6: ")


def as_owner(ledger: Ledger, sql: str) -> None:
    """Run SQL as somebody who can drop the guards of the table."""
    if ledger.engine.dialect.name == "sqlite":
        drop = "; ".join(f"DROP TRIGGER events_no_{what}" for what in ("update", "delete", "replace"))
        with closing(sqlite3.connect(str(ledger.engine.url.database))) as connection:
            connection.executescript(f"{drop}; {sql}")
    else:
        with ledger.engine.begin() as owner:
            owner.exec_driver_sql(f"ALTER TABLE events DISABLE TRIGGER ALL; {sql}")


class File:
    """A ledger's SQLite file, of which single bytes can be altered and read back."""

    def __init__(self, path: Path, ledger: Ledger) -> None:
        self.rows = list(ledger.rows())
        ledger.engine.dispose()
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("VACUUM")  # leaves no stale copy of an event in a page's free space
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        self.path, self.whole = path, path.read_bytes()

    def broken(self, place: int, mask: int) -> tuple[str, ...]:
        """What the audit says after the byte at ``place`` was XORed with ``mask``."""
        self.alter(place, mask)
        ledger = Ledger(f"sqlite:///{self.path}")
        try:
            return audit.verify(ledger).broken
        finally:
            ledger.engine.dispose()

    def alter(self, place: int, mask: int) -> None:
        """Write the file anew with the byte at ``place`` XORed with ``mask``, and no other one altered."""
        altered = bytearray(self.whole)
        altered[place] ^= mask
        self.path.write_bytes(altered)

    def event(self, row: Any) -> tuple[range, list[int]]:
        """Where an event stands: its lengths, types and number; and then every byte of its values.

        A long event ends in pages of its own, and its hash is the last thing there.
        """
        texts = [text.encode() for text in row[1:]]
        sizes = [size_of(13 + 2 * len(text)) for text in texts]
        number = 0 if row.seq == 1 else 1  # SQLite stores a 1 as a type, without a value
        head = 2 + sum(sizes) + number
        head += size_of(head + sum(map(len, texts)))
        stored = b"".join(texts)
        start = self.whole.index(stored[:200])
        local = next(
            size for size in range(200, len(stored) + 1) if self.whole[start : start + size + 1] != stored[: size + 1]
        )
        places = [*range(start, start + local)]
        if local < len(stored):
            end = self.whole.index(texts[-1])
            places += range(end, end + 64)
        return range(start - head, start), places


def occurrences(inside: bytes, wanted: bytes) -> list[int]:
    """Every place where some bytes stand."""
    return [found.start() for found in re.finditer(re.escape(wanted), inside)]


def size_of(number: int) -> int:
    """How many bytes SQLite writes a length or a type in."""
    return 1 if number < 128 else 2


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> File:
    """A filled ledger's file."""
    path = tmp_path_factory.mktemp("audit") / "ledger.db"
    ledger = Ledger(f"sqlite:///{path}")
    fill(ledger)
    return File(path, ledger)


def test_the_whole_file_is_whole(file: File) -> None:
    """The file that the tests below alter passes as it is, so that it is the alteration they find."""
    file.alter(0, 0)
    assert audit.verify(Ledger(f"sqlite:///{file.path}")) == audit.Report(events=MANY, head=file.rows[-1].hash)


@pytest.mark.parametrize("seq", [1, 3, 4, 6, 11, 12])
def test_every_altered_byte_before_the_values_is_named(file: File, seq: int) -> None:
    """Lengths, types and number of an event in the file: each bit of each byte counts, and names the event."""
    head, _ = file.event(file.rows[seq - 1])
    assert len(head) >= 11
    for place in head:
        for mask in (1, 2, 4, 8, 16, 32, 64, 128, 0x0A, 0xFF):
            assert re.match(f"event {seq}: (altered|damaged): ", file.broken(place, mask)[0]), (place, mask)


@settings(max_examples=150, deadline=None)
@given(seq=st.integers(1, MANY), where=st.floats(0, 1, exclude_max=True), mask=st.integers(1, 255))
def test_any_altered_byte_of_a_value_is_named(file: File, seq: int, where: float, mask: int) -> None:
    """Any byte of any column of any event, altered in the file in any way, names that event."""
    _, places = file.event(file.rows[seq - 1])
    assert len(places) > 200
    assert re.match(f"event {seq}: (altered|damaged): ", file.broken(places[int(where * len(places))], mask)[0])


def test_an_index_that_hides_an_event_is_found(file: File) -> None:
    """A damaged index would hide an event from a query; the chain itself is whole, and the audit fails all the same."""
    entry = b"dataset:transactions" + b"judged"  # in the table the actor follows, in the index the number does
    [place, *_] = [at for at in occurrences(file.whole, entry) if not file.whole.startswith(b"flow", at + len(entry))]
    [finding, *_] = file.broken(place, 0x02)
    assert finding.startswith("the database file: ")


@settings(max_examples=150, deadline=None)
@given(where=st.floats(0, 1, exclude_max=True), mask=st.integers(1, 255))
def test_no_altered_byte_makes_another_history(file: File, where: float, mask: int) -> None:
    """A byte anywhere in the file: the events are told as they were, or the audit fails, or nothing can be read."""
    file.alter(int(where * len(file.whole)), mask)
    ledger = None
    try:
        ledger = Ledger(f"sqlite:///{file.path}")
        if not audit.verify(ledger).broken:
            assert list(ledger.rows()) == file.rows
    except audit.UNREADABLE:
        pass  # the file no longer opens as a database, and that does not pass for a whole record either
    finally:
        if ledger is not None:
            ledger.engine.dispose()


def test_damage_late_in_a_long_ledger_is_named(ledger: Ledger, tmp_path: Path) -> None:
    """Where reading breaks off after a thousand good events, the one that broke it is named, not the first."""
    fill(ledger, 1300)
    long = File(tmp_path / "ledger.db", ledger)
    head, _ = long.event(long.rows[1221])
    assert long.broken(head[0], 0x40)[0].startswith("event 1222: ")


def test_a_cut_off_start_is_found(anywhere: Ledger) -> None:
    """A record whose beginning was cut off does not begin at the beginning."""
    fill(anywhere)
    as_owner(anywhere, "DELETE FROM events WHERE seq <= 3")
    assert audit.verify(anywhere).broken == ("event 1: deleted: events 1 to 3 are missing",)


def test_export_can_be_checked_without_us(anywhere: Ledger) -> None:
    """The exported lines hold all that is needed to compute the chain anew with nothing but SHA-256 and JSON."""
    fill(anywhere)
    to = io.StringIO()
    assert audit.export(anywhere, to) == MANY
    before = GENESIS
    for line in to.getvalue().splitlines():
        columns = json.loads(line)
        found = columns.pop("hash")
        text = json.dumps([before, *columns.values()], separators=(",", ":"), ensure_ascii=False)
        assert hashlib.sha256(text.encode()).hexdigest() == found
        before = found
    assert before == audit.verify(anywhere).head


def test_export_since(anywhere: Ledger) -> None:
    """Only what happened from that moment on is exported, whatever time zone the moment is given in."""
    fill(anywhere)
    moment = anywhere.events()[4].at.astimezone(timezone(timedelta(hours=9)))
    to = io.StringIO()
    assert audit.export(anywhere, to, since=moment) == MANY - 4
    assert json.loads(to.getvalue().splitlines()[0])["seq"] == 5
    assert [event.seq for event in anywhere.events(since=moment)] == list(range(5, MANY + 1))
