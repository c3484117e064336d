"""The anchor flow, on a real S3: it compares before it writes, and a cut-off tail becomes an incident once."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from demo.servers import Server
from flows.anchor import RecordNotWhole, anchor
from incidents.events import Resolved
from incidents.incident import find
from incidents.ledger import Ledger
from incidents.models import Category, Severity, Status
from remediations.anchors import AnchorBucket
from tests.flows.kit import ChangePlaybook, judge


@pytest.fixture
def place(s3_prefix: str, change_playbook: ChangePlaybook, tmp_path: Path) -> AnchorBucket:
    """The place in S3 that the playbook names, beside a file."""
    file = (tmp_path / "anchors.jsonl").as_uri()
    change_playbook("anchors: []", f"anchors: [{{store: '{file}'}}, {{store: '{s3_prefix}'}}]")
    parts = urlsplit(s3_prefix)
    return AnchorBucket(parts.netloc, parts.path.strip("/"))


def cut(ledger: Ledger, last: int) -> None:
    """Cut the tail off after an event, as somebody with the file can."""
    with closing(sqlite3.connect(str(ledger.engine.url.database))) as connection:
        connection.executescript(f"DROP TRIGGER IF EXISTS events_no_delete; DELETE FROM events WHERE seq > {last}")


def look(ledger: Ledger, count: int) -> None:
    """Put so many verdicts on the record."""
    for place in range(count):
        judge(ledger, "dataset:transactions", f"v{place}")


def test_the_head_is_kept_in_every_place_and_compared(
    prefect_server: Server, ledger: Ledger, place: AnchorBucket, tmp_path: Path
) -> None:
    """Each run keeps the newest event's number and hash; nothing new on the record is nothing new outside."""
    assert asyncio.run(anchor()) == [f"event 0 in {(tmp_path / 'anchors.jsonl').as_uri()}", f"event 0 in {place.uri}"]
    assert place.all() == []
    look(ledger, 3)
    asyncio.run(anchor())
    asyncio.run(anchor())
    look(ledger, 2)
    asyncio.run(anchor())
    stored = [(row.seq, row.hash) for row in ledger.rows() if row.seq in (3, 5)]
    assert [(one.seq, one.hash) for one in place.all()] == stored
    assert len((tmp_path / "anchors.jsonl").read_text().splitlines()) == 2


def test_a_cut_off_tail_becomes_one_incident(
    prefect_server: Server, ledger: Ledger, place: AnchorBucket, tmp_path: Path
) -> None:
    """The run fails, the security officer is asked once, and nothing is anchored over what was found."""
    look(ledger, 9)
    asyncio.run(anchor())
    cut(ledger, 5)
    (tmp_path / "anchors.jsonl").unlink()  # whoever cut the tail off could reach the file as well
    for _ in range(2):
        with pytest.raises(RecordNotWhole, match=r"events \d to 9 are missing"):
            asyncio.run(anchor())
    assert [one.seq for one in place.all()] == [9]
    [row] = ledger.incidents()
    incident = find(ledger, "INC-1")
    assert (row.category, incident.severity, incident.status) == (
        Category.security,
        Severity.critical,
        Status.escalated,
    )
    assert "events 6 to 9 are missing: the tail was cut off" in incident.title
    ledger.append(Resolved(why="restored"), actor="person:anna", incident="INC-1")
    with pytest.raises(RecordNotWhole):
        asyncio.run(anchor())
    assert len(ledger.incidents()) == 2, "as long as it is so, a closed incident is not the end of it"


def test_a_broken_chain_is_not_anchored(prefect_server: Server, ledger: Ledger, place: AnchorBucket) -> None:
    """An anchor says that the record was whole up to there, so it is walked first."""
    look(ledger, 3)
    with closing(sqlite3.connect(str(ledger.engine.url.database))) as connection:
        connection.executescript("DROP TRIGGER events_no_update; UPDATE events SET actor = 'eve' WHERE seq = 2")
    with pytest.raises(RecordNotWhole, match="event 2: "):
        asyncio.run(anchor())
    assert place.all() == []


def test_without_a_place_it_says_so(prefect_server: Server, ledger: Ledger) -> None:
    """The shipped playbook names none; the record is walked all the same."""
    look(ledger, 1)
    assert asyncio.run(anchor()) == []
