"""The ledger: append-only in the database itself, one gapless chain whoever writes, all or nothing."""

from __future__ import annotations

import multiprocessing
import sqlite3
import threading
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import func, select
from sqlalchemy.exc import DBAPIError

from incidents import audit, schema
from incidents import events as e
from incidents.incident import find
from incidents.ledger import GENESIS, Ledger, chain, number_of
from incidents.models import Alert, Category, Health, Severity, Status, Verdict, digest

OPENED = e.Opened(category=Category.data, severity=Severity.medium, asset="dataset:transactions", title="in cents")

FORBIDDEN = {
    "update": "UPDATE events SET actor = 'person:eve' WHERE seq = 2",
    "update of all": "UPDATE events SET actor = 'person:eve'",
    "delete": "DELETE FROM events WHERE seq = 2",
    "delete of all": "DELETE FROM events",
    "upsert": "INSERT INTO events SELECT * FROM events WHERE seq = 2 ON CONFLICT (seq) DO UPDATE SET actor = 'eve'",
    "second event of a number": "INSERT INTO events SELECT * FROM events WHERE seq = 2",
}
FORBIDDEN_ON = {
    "sqlite": FORBIDDEN
    | {
        "replace": "REPLACE INTO events SELECT seq, at, incident, subject, kind, 'eve', body, hash FROM events",
        "insert or replace": "INSERT OR REPLACE INTO events SELECT * FROM events WHERE seq = 2",
        "insert or ignore": "INSERT OR IGNORE INTO events SELECT * FROM events WHERE seq = 2",
        "update or replace": "UPDATE OR REPLACE events SET seq = 1 WHERE seq = 2",
        "update or ignore": "UPDATE OR IGNORE events SET actor = 'person:eve'",
    },
    "postgres": FORBIDDEN
    | {
        "truncate": "TRUNCATE events",
        "truncate with others": "TRUNCATE events, incidents CASCADE",
        "merge": "MERGE INTO events USING (SELECT 2 AS seq) s ON events.seq = s.seq WHEN MATCHED THEN DELETE",
    },
}


def alert(**given: object) -> Alert:
    """An alert with whatever matters to a test."""
    fields: dict[str, object] = {"source": "generic", "fingerprint": "f", "episode": "1", "firing": True, "name": "X"}
    return Alert.model_validate(fields | {"starts_at": datetime(2026, 11, 23, 7, tzinfo=UTC)} | given)


@pytest.mark.parametrize(
    ("kind", "sql"),
    [pytest.param(kind, sql, id=f"{kind} {name}") for kind, all_ in FORBIDDEN_ON.items() for name, sql in all_.items()],
)
def test_the_database_itself_refuses(request: pytest.FixtureRequest, kind: str, sql: str) -> None:
    """No statement changes or removes an event, whichever program sends it; the record stays as it was."""
    ledger = Ledger(request.getfixturevalue(f"{kind}_database"))
    with ledger.write() as writer:
        name = writer.open(OPENED, actor="intake:generic")
        for place in range(3):
            writer.append(e.Started(flow="data", run=str(place)), actor="flow:data", incident=name)
    before = list(ledger.rows())
    with pytest.raises(DBAPIError), ledger.engine.begin() as connection:
        connection.exec_driver_sql(sql)
    assert list(ledger.rows()) == before
    assert audit.verify(ledger).broken == ()


def test_the_chain(anywhere: Ledger) -> None:
    """Numbers go from 1 without gaps, and each hash covers the stored event and the hash before it."""
    name = _opened(anywhere)
    written = [anywhere.append(e.Started(flow="data"), actor="flow:data", incident=name) for _ in range(5)]
    before = GENESIS
    for expected, row in enumerate(anywhere.rows(), start=1):
        assert row.seq == expected
        assert row.hash == chain(before, row)
        before = row.hash
    assert anywhere.events()[1:] == written
    assert audit.verify(anywhere) == audit.Report(events=6, head=before)


_TEXT = st.text(st.characters(exclude_categories=["Cs"]))


@given(before=_TEXT, seq=st.integers(), texts=st.lists(_TEXT, min_size=6, max_size=6))
def test_the_hash_of_a_row(before: str, seq: int, texts: list[str]) -> None:
    """It is the SHA-256 of the canonical JSON of the hash before and the columns: whoever has both can compute it."""
    assert chain(before, (seq, *texts, "its own hash")) == digest([before, seq, *texts])


def test_a_transaction_sees_what_it_wrote(anywhere: Ledger) -> None:
    """Rows are sent together, and yet whoever looks through the connection sees all of them, in their last state."""
    other = OPENED.model_copy(update={"asset": "dataset:other"})
    with anywhere.write() as writer:
        first, second = writer.open(OPENED, actor="x"), writer.open(other, actor="x")
        writer.append(e.Alerted(alert=alert(severity=Severity.critical)), actor="x", incident=second)
        assert (writer.live("data", "dataset:transactions"), writer.live("data", "dataset:other")) == (first, second)
        writer.append(e.Resolved(why="fixed"), actor="x", incident=first)
        assert writer.live("data", "dataset:transactions") is None
        third = writer.open(OPENED, actor="x")
        assert writer.live("data", "dataset:transactions") == third == "INC-3"
        found = schema.incidents.c
        rows = writer.connection.execute(select(found.status, found.severity).order_by(found.number)).all()
        assert [tuple(row) for row in rows] == [(Status.resolved, 3), (Status.open, 1), (Status.open, 3)]
        assert writer.connection.scalar(select(func.count()).select_from(schema.events)) == 5
    assert audit.verify(anywhere).events == 5


def test_a_transaction_of_thousands(anywhere: Ledger) -> None:
    """More events than are held back at once are one gapless chain all the same."""
    with anywhere.write() as writer:
        name = writer.open(OPENED, actor="x")
        for place in range(2500):
            writer.append(e.Started(flow="data", run=str(place)), actor="x", incident=name)
    assert audit.verify(anywhere).events == 2501
    assert [event.body for event in anywhere.events()[1:]] == [e.Started(flow="data", run=str(n)) for n in range(2500)]


def test_all_or_nothing(anywhere: Ledger) -> None:
    """Where a transaction breaks, neither its events nor its incident nor its job are there."""

    def breaks() -> None:
        with anywhere.write() as writer:
            name = writer.open(OPENED, actor="intake:generic")
            writer.send("launch", f"launch:{name}", {"incident": name}, incident=name)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        breaks()
    assert (anywhere.events(), anywhere.incidents(), _jobs(anywhere)) == ([], [], 0)
    assert _opened(anywhere) == "INC-1"
    assert audit.verify(anywhere).events == 1


def test_a_job_is_sent_once(anywhere: Ledger) -> None:
    """The same key stands in the outbox once, with the payload of the first."""
    for payload in ({"a": 1}, {"a": 2}):
        with anywhere.write() as writer:
            writer.send("launch", "launch:INC-1", payload)
    with anywhere.engine.connect() as connection:
        [row] = connection.execute(select(schema.outbox)).all()
    assert (row.payload, row.attempts, row.done_at) == ('{"a":1}', 0, None)


def test_one_live_incident_an_asset(anywhere: Ledger) -> None:
    """While an incident of a category and asset is not closed it is found again, escalated or not; then no more."""
    name = _opened(anywhere)
    with anywhere.write() as writer:
        assert writer.live("data", "dataset:transactions") == name
        assert writer.live("model", "dataset:transactions") is None
        assert writer.live("data", "dataset:other") is None
        assert writer.live("data", None) is None
    anywhere.append(e.Escalated(to="data engineer", why="no safe plan"), actor="flow:data", incident=name)
    with anywhere.write() as writer:
        assert writer.live("data", "dataset:transactions") == name
    anywhere.append(e.Resolved(why="fixed"), actor="person:anna", incident=name)
    with anywhere.write() as writer:
        assert writer.live("data", "dataset:transactions") is None
        assert writer.open(OPENED, actor="intake:generic") == "INC-2"


def test_only_what_was_asked_for(anywhere: Ledger) -> None:
    """Incident, subject, kind and time each narrow the events, and all together more; the order stays."""
    name = _opened(anywhere)
    verdict = Verdict(health=Health.healthy, why="")
    anywhere.append(e.Judged(version="v1", verdict=verdict), actor="flow:monitor", subject="dataset:transactions")
    third = anywhere.append(e.Started(flow="data"), actor="flow:data", incident=name)
    anywhere.append(e.Judged(version="v2", verdict=verdict), actor="x", incident=name, subject="dataset:transactions")
    anywhere.append(e.Judged(version="v3", verdict=verdict), actor="x", incident=name, subject="model:fraud")

    def numbers(**wanted: Any) -> list[int]:
        return [event.seq for event in anywhere.events(**wanted)]

    assert numbers() == [1, 2, 3, 4, 5]
    assert numbers(incident=name) == [1, 3, 4, 5]
    assert numbers(subject="dataset:transactions") == [1, 2, 4]
    assert numbers(kinds=["judged", "started"]) == [2, 3, 4, 5]
    assert numbers(since=third.at.astimezone(timezone(timedelta(hours=-8)))) == [3, 4, 5]
    assert numbers(since=third.at + timedelta(days=1)) == []
    assert numbers(incident=name, subject="dataset:transactions", kinds=["judged"]) == [4]


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(title=st.text(max_size=50), why=st.text(max_size=50), number=st.floats(allow_nan=False, allow_infinity=False))
def test_what_is_written_is_what_is_read(ledger: Ledger, title: str, why: str, number: float) -> None:
    """Any text and any number comes back as it was written, and the chain stays whole."""
    body = OPENED.model_copy(update={"title": title, "asset": None})
    verdict = Verdict(health=Health.healthy, why=why, evidence={"n": number, "list": [title, None, True]})
    with ledger.write() as writer:
        name = writer.open(body, actor="intake:generic")
        writer.append(e.Checked(phase="confirm", verdict=verdict), actor="flow:data", incident=name)
    opened, checked = ledger.events(incident=name)
    assert opened.body == body
    assert checked.body == e.Checked(phase="confirm", verdict=verdict)
    assert audit.verify(ledger).broken == ()


bodies = st.sampled_from(
    [
        *(e.Alerted(alert=alert(severity=severity)) for severity in Severity),
        e.AlertEnded(alert=alert(firing=False, severity=Severity.critical)),
        e.Started(flow="data"),
        e.Escalated(to="data engineer", why="no safe plan"),
        e.Resolved(why="fixed"),
        e.NotConfirmed(why="healthy"),
    ]
)


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rest=st.lists(bodies, max_size=8))
def test_the_table_of_incidents_agrees_with_the_fold(ledger: Ledger, rest: list[e.Body]) -> None:
    """What incidents are found by says the same as their events: the table could be made from them again."""
    with ledger.write() as writer:
        name = writer.open(OPENED.model_copy(update={"asset": None}), actor="intake:generic")
        for body in rest:
            writer.append(body, actor="flow:data", incident=name)
    folded = find(ledger, name)
    [row] = ledger.incidents(limit=1)
    assert (row.status, row.severity, row.category, row.asset, row.title) == (
        folded.status,
        folded.severity,
        folded.category,
        folded.asset,
        folded.title,
    )
    assert datetime.fromisoformat(row.opened_at) == folded.opened_at
    assert (row.closed_at and datetime.fromisoformat(row.closed_at)) == folded.closed_at
    assert folded.status in Status


def test_a_new_database_that_somebody_else_is_making_is_waited_for(tmp_path: Path) -> None:
    """SQLite refuses at once to change how a database is kept that another process writes to; it is asked again."""
    file = tmp_path / "new.db"
    other = sqlite3.connect(file, isolation_level=None, check_same_thread=False)
    other.execute("CREATE TABLE theirs (one)")
    other.execute("BEGIN IMMEDIATE")
    threading.Timer(0.5, other.execute, ["COMMIT"]).start()
    ledger = Ledger(f"sqlite:///{file}")
    assert ledger.events() == []
    with ledger.engine.connect() as connection:
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
    ledger.engine.dispose()
    other.close()


def test_four_processes_make_one_chain(database_url: str) -> None:
    """Four processes open a new database at once and write at once: one chain, no gap, nothing lost."""
    each = 25
    spawn = multiprocessing.get_context("spawn")
    start = spawn.Barrier(4)
    writers = [spawn.Process(target=_write, args=(database_url, each, start, who)) for who in range(4)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(timeout=120)
    assert [writer.exitcode for writer in writers] == [0, 0, 0, 0]
    ledger = Ledger(database_url)
    assert audit.verify(ledger).events == 4 * each
    assert audit.verify(ledger).broken == ()
    for who in range(4):
        written = [event.body for event in ledger.events() if event.actor == f"flow:{who}"]
        assert written == [e.Started(flow="data", run=str(place)) for place in range(each)]
    ledger.engine.dispose()


@pytest.mark.parametrize("text", ["INC-7", "inc-7", "Inc-007"])
def test_names_of_incidents(text: str) -> None:
    """A name is read whatever its case, with leading zeros or without."""
    assert number_of(text) == 7


@pytest.mark.parametrize(
    "text", ["", "7", "INC", "INC-", "INC-x", "INC--7", "INC-7x", "INC-²", "INC-٣", "XINC-7", "INC 7"]
)
def test_no_names_of_incidents(text: str) -> None:
    """Whatever else is refused, and what a name looks like is said."""
    with pytest.raises(ValueError, match="it looks like INC-7"):
        number_of(text)


def _write(url: str, each: int, start: Any, who: int) -> None:
    """What one process does: open the database when all do, then append one event a transaction."""
    start.wait(60)
    ledger = Ledger(url)
    for place in range(each):
        ledger.append(e.Started(flow="data", run=str(place)), actor=f"flow:{who}")


def _opened(ledger: Ledger) -> str:
    with ledger.write() as writer:
        return writer.open(OPENED, actor="intake:generic")


def _jobs(ledger: Ledger) -> int:
    with ledger.engine.connect() as connection:
        return connection.scalar(select(func.count()).select_from(schema.outbox)) or 0
