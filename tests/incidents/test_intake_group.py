"""Group commit: one transaction for many deliveries, answered after it, and a bad one among them fails alone."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import event, func, select

from incidents import audit
from incidents.intake import room, strict_json
from incidents.intake.app import create_app
from incidents.intake.group import Groups
from incidents.intake.request import Busy
from incidents.intake.room import Room
from incidents.intake.store import Receipt
from incidents.ledger import Ledger
from incidents.playbook import Playbook
from incidents.schema import deliveries, episodes, outbox
from tests.incidents.posting import HEADERS, TOKENS, as_bytes, group, raw_alert

#: What the database refuses in these tests.
POISON = "poison"


def one(name: str) -> bytes:
    """A delivery of one alert, about which there is no other."""
    return as_bytes(group(raw_alert(fingerprint=name, labels={"alertname": name, "severity": "warning"})))


def take_at_once(ledger: Ledger, book: Playbook, *bodies: bytes) -> list[Receipt | BaseException]:
    """All of these deliveries at the same moment."""

    async def run() -> list[Receipt | BaseException]:
        groups = Groups(ledger, book)
        return await asyncio.gather(*(groups.take("alertmanager", body) for body in bodies), return_exceptions=True)

    return asyncio.run(run())


def count(ledger: Ledger, table: Any) -> int:
    """How many rows a table has."""
    with ledger.engine.connect() as connection:
        return connection.scalar(select(func.count()).select_from(table)) or 0


def test_many_deliveries_are_few_transactions(anywhere: Ledger, book: Playbook) -> None:
    """A hundred at once are one group, and each has its own receipt, incident and job."""
    commits: list[object] = []

    def keep(connection: object) -> None:
        commits.append(connection)

    event.listen(anywhere.engine, "commit", keep)
    receipts = take_at_once(anywhere, book, *(one(f"A{number}") for number in range(100)))
    event.remove(anywhere.engine, "commit", keep)
    assert receipts == [Receipt(opened=1, incidents=(f"INC-{number}",)) for number in range(1, 101)]
    assert len(commits) <= 2
    assert [count(anywhere, table) for table in (deliveries, episodes, outbox)] == [100, 100, 100]
    assert audit.verify(anywhere).events == 100


def test_the_same_body_twice_in_a_group_counts_once(anywhere: Ledger, book: Playbook) -> None:
    """As if one had come after the other."""
    first, second = take_at_once(anywhere, book, one("A"), one("A"))
    assert first == Receipt(opened=1, incidents=("INC-1",))
    assert second == Receipt(unchanged=1, incidents=("INC-1",))
    with anywhere.engine.connect() as connection:
        assert connection.scalars(select(deliveries.c.seen)).all() == [2]


def test_an_end_in_the_same_group_ends_what_began_in_it(anywhere: Ledger, book: Playbook) -> None:
    """The deliveries of a group follow each other as they came."""
    over = as_bytes(group(raw_alert(fingerprint="A", labels={"alertname": "A"}, status="resolved")))
    began, ended = take_at_once(anywhere, book, one("A"), over)
    assert (began, ended) == (Receipt(opened=1, incidents=("INC-1",)), Receipt(ended=1, incidents=("INC-1",)))


def test_a_bad_delivery_fails_alone(anywhere: Ledger, book: Playbook) -> None:
    """What can't be read and what the database refuses are told to those who sent it; all the others are stored."""

    def refuse(_connection: Any, _cursor: Any, _statement: str, parameters: Any, *_more: Any) -> None:
        if POISON in str(parameters):
            raise OSError("the disk is gone")

    event.listen(anywhere.engine, "before_cursor_execute", refuse)
    bodies = [one("A"), b"{", one("B"), one(POISON), one("C"), b"[]", one("D")]
    receipts = take_at_once(anywhere, book, *bodies)
    event.remove(anywhere.engine, "before_cursor_execute", refuse)
    kinds = [type(receipt).__name__ for receipt in receipts]
    assert kinds == ["Receipt", "Malformed", "Receipt", "OSError", "Receipt", "WrongShape", "Receipt"]
    assert [count(anywhere, table) for table in (deliveries, episodes, outbox)] == [4, 4, 4]
    assert audit.verify(anywhere) == audit.Report(events=4, head=anywhere.events()[-1].hash)
    [again] = take_at_once(anywhere, book, one(POISON))
    assert isinstance(again, Receipt)
    assert again.new


def test_nothing_is_answered_before_it_is_stored(ledger: Ledger, book: Playbook, tmp_path: Path) -> None:
    """While the database can't commit nobody has an answer; once it can, everybody has, and it is all there."""

    async def run() -> None:
        groups = Groups(ledger, book)
        with closing(sqlite3.connect(tmp_path / "ledger.db", isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            callers = [asyncio.create_task(groups.take("alertmanager", one(f"A{number}"))) for number in range(9)]
            _, waiting = await asyncio.wait(callers, timeout=0.3)
            assert len(waiting) == 9
            other.execute("ROLLBACK")
        await asyncio.gather(*callers)
        assert count(ledger, episodes) == 9

    asyncio.run(run())


def test_one_too_many_is_503_and_says_when_to_come_again(
    ledger: Ledger, book: Playbook, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Never a 429, after which Alertmanager would not try again; and afterwards there is room again."""
    monkeypatch.setattr(room, "MOST_HELD", 5)
    for name, value in TOKENS.items():
        monkeypatch.setenv(name, value)
    app = create_app(ledger, book, handlers={})

    async def run(posts: int) -> list[httpx.Response]:
        transport = httpx.ASGITransport(app=app)
        async with httpx.AsyncClient(transport=transport, base_url="http://intake", headers=HEADERS) as client:
            sent = (client.post("/alerts/alertmanager", content=one(f"A{number}")) for number in range(posts))
            return await asyncio.gather(*sent)

    answers = asyncio.run(run(20))
    assert [answer.status_code for answer in answers].count(202) == 5
    refused = [answer for answer in answers if answer.status_code != 202]
    assert {answer.status_code for answer in refused} == {503}
    assert all(int(answer.headers["retry-after"]) > 0 for answer in refused)
    assert count(ledger, episodes) == 5
    assert [answer.status_code for answer in asyncio.run(run(5))] == [200] * 5


def test_the_bytes_of_all_bodies_together_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """They count as they arrive, whatever the headers said, and are given back in the end."""
    monkeypatch.setattr(room, "MOST_BYTES", 100)
    held = Room()
    with held.place() as first:
        first.grow(60)
        with held.place() as second:
            second.grow(30)
            with pytest.raises(Busy):
                second.grow(11)
        assert (held.held, held.size) == (1, 60)
    assert (held.held, held.size) == (0, 0)


def test_no_look_reads_a_whole_table(ledger: Ledger, book: Playbook) -> None:
    """Whatever the intake asks of the database is found by an index, so that it takes as long after a year as today."""
    asked: dict[str, Any] = {}

    def keep(_connection: Any, _cursor: Any, statement: str, parameters: Any, _context: Any, many: bool) -> None:
        if statement.startswith(("SELECT", "UPDATE")):
            asked[statement] = parameters[0] if many else parameters

    event.listen(ledger.engine, "before_cursor_execute", keep)
    over = as_bytes(group(raw_alert(fingerprint="B", labels={"alertname": "B"}, status="resolved")))
    take_at_once(ledger, book, one("A"), one("B"), one("A"))
    take_at_once(ledger, book, over, one("A"), as_bytes(group(raw_alert(fingerprint="C", labels={"alertname": "A"}))))
    event.remove(ledger.engine, "before_cursor_execute", keep)
    assert len(asked) >= 7
    tables = ("events", "deliveries", "episodes", "incidents", "outbox")
    with ledger.engine.connect() as connection:
        for statement, parameters in asked.items():
            plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)
            steps = [str(step.detail) for step in plan if str(step.detail).split()[1] in tables]
            assert all(step.startswith("SEARCH") or "LIMIT" in statement for step in steps), (statement, steps)
            # A search by the sender alone reads all that this sender ever sent.
            assert not any("(sender=?)" in step for step in steps), (statement, steps)


def test_what_is_malformed_is_the_senders_own_error(ledger: Ledger, book: Playbook) -> None:
    """A body that is no JSON is not stored, and is not an error of ours."""
    [found] = take_at_once(ledger, book, b"{")
    assert isinstance(found, strict_json.Malformed)
    assert count(ledger, deliveries) == 0
