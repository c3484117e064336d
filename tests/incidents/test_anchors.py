"""Anchors find the tail that was cut off, and a chain that is broken at its end takes nothing more."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from typer.testing import Result

from incidents import audit, tail
from incidents import events as e
from incidents import settings as all_settings
from incidents.anchors import Anchor, AnchorFile, AnchorsUnreadable, contradictions
from incidents.ledger import Ledger
from incidents.models import Category, Severity, now
from incidents.playbook import load
from incidents.tail import BrokenTail
from incidents.yaml_lines import Refused
from tests.incidents.conftest import PLAYBOOK
from tests.incidents.test_audit import as_owner

Run = Callable[..., Result]


def fill(ledger: Ledger, count: int = 1) -> None:
    """Put some events on the record."""
    with ledger.write() as writer:
        for _ in range(count):
            writer.append(e.Started(flow="data", run=str(now())), actor="flow:data")


def head(ledger: Ledger) -> Anchor:
    """The anchor that the flow would keep now."""
    report = audit.verify(ledger)
    return Anchor(seq=report.events, hash=report.head, at=now())


def cut(ledger: Ledger, last: int) -> None:
    """Cut the tail off after an event, as somebody with full rights to the database can."""
    as_owner(ledger, f"DELETE FROM events WHERE seq > {last}")


def test_a_cut_off_tail_is_found_and_its_range_named(anywhere: Ledger) -> None:
    """The chain that is left is whole; only the anchor knows that there was more, and it says how much."""
    fill(anywhere, 20)
    kept = [head(anywhere)]
    assert contradictions(anywhere, kept, "there") == []
    cut(anywhere, 14)
    assert audit.verify(anywhere).broken == ()
    [finding] = contradictions(anywhere, kept, "there")
    assert finding.startswith("events 15 to 20 are missing: the tail was cut off; event 20 was anchored at ")
    assert finding.endswith(" in there")


def test_a_tail_that_was_cut_off_and_grew_again_is_found(ledger: Ledger) -> None:
    """Other events stand where the anchored ones stood; what was anchored before the cut still agrees."""
    fill(ledger, 10)
    kept = [head(ledger)]
    fill(ledger, 10)
    kept.append(head(ledger))
    ledger.engine.dispose()
    cut(ledger, 14)
    grown = Ledger(str(ledger.engine.url))
    fill(grown, 30)
    assert audit.verify(grown).broken == ()
    [finding] = contradictions(grown, kept, "there")
    assert finding.startswith("events 11 to 20 are not those that were anchored at ")
    grown.engine.dispose()


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sets(st.integers(1, 30), max_size=6), st.integers(0, 30))
def test_every_cut_below_an_anchor_is_found(
    tmp_path_factory: pytest.TempPathFactory, anchored: set[int], last: int
) -> None:
    """Whatever was anchored and wherever it was cut: it is found just where an anchored event is gone."""
    ledger = Ledger(f"sqlite:///{tmp_path_factory.mktemp('cut') / 'ledger.db'}")
    fill(ledger, 30)
    rows = {row.seq: row.hash for row in ledger.rows()}
    kept = [Anchor(seq=seq, hash=rows[seq], at=now()) for seq in anchored]
    cut(ledger, last)
    found = contradictions(ledger, kept, "there")
    assert bool(found) is (max(anchored, default=0) > last)
    if found:
        assert found[0].startswith(
            f"events {last + 1} to {max(anchored)} are missing"
            if last + 1 < max(anchored)
            else f"event {max(anchored)} is missing"
        )
    ledger.engine.dispose()


def test_the_file_keeps_each_anchor_once(tmp_path: Path) -> None:
    """The same head twice is one line, another hash of the same number is another line; there is no file at first."""
    file = AnchorFile(tmp_path / "deep" / "anchors.jsonl")
    assert file.all() == []
    at = datetime(2026, 11, 23, tzinfo=UTC)
    anchors = [Anchor(seq=seq, hash=digit * 64, at=at) for seq, digit in ((9, "a"), (3, "b"), (9, "c"))]
    for anchor in [*anchors, *anchors]:
        file.put(anchor)
    assert sorted(file.all(), key=lambda one: one.hash) == anchors[:1] + anchors[1:2] + anchors[2:]
    assert [anchor.seq for anchor in file.all()] == [3, 9, 9]
    assert len(file.path.read_text().splitlines()) == 3


def test_a_line_that_is_no_anchor_proves_nothing(tmp_path: Path) -> None:
    """A damaged file is a finding with its line, and never an anchor less."""
    file = AnchorFile(tmp_path / "anchors.jsonl")
    file.put(Anchor(seq=1, hash="a" * 64, at=now()))
    file.path.write_text(file.path.read_text() + '{"seq": 2}\n')
    with pytest.raises(AnchorsUnreadable, match=r"anchors\.jsonl:2: "):
        file.all()


def test_verify_compares_with_what_it_can_reach(
    run: Run, ledger: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, forget: Callable[[], None]
) -> None:
    """Files are compared; of a bucket it says that it did not; and a cut ends with 1, naming the events."""
    file = AnchorFile(tmp_path / "anchors.jsonl")
    book = tmp_path / "playbook.yaml"
    places = f"anchors:\n  - store: {file.uri}\n  - store: s3://audit/lastgood\n    retain_days: 365"
    book.write_text(PLAYBOOK.read_text().replace("anchors: []", places))
    monkeypatch.setenv("LASTGOOD_PLAYBOOK", str(book))
    forget()
    fill(ledger, 5)
    assert run("audit", "verify").stdout.splitlines()[1:] == [
        f"no anchor is in {file.uri} yet",
        "not compared with s3://audit/lastgood, for which this process has no credentials: "
        "`lastgood audit anchor` does it",
    ]
    file.put(head(ledger))
    assert "anchors.jsonl: 1, the last of event 5 at " in run("audit", "verify").stdout
    cut(ledger, 3)
    result = run("audit", "verify")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith("lastgood: events 4 to 5 are missing: the tail was cut off")
    file.path.write_text("no anchor")
    assert "is no anchor" in run("audit", "verify").stderr


def test_verify_takes_anchors_along(run: Run, ledger: Ledger, tmp_path: Path) -> None:
    """An auditor brings the anchors that were copied out of a bucket; a file that is not there is no agreement."""
    fill(ledger, 5)
    file = AnchorFile(tmp_path / "brought.jsonl")
    assert run("audit", "verify", "--anchors", str(file.path)).exit_code == 1
    file.put(head(ledger))
    assert run("audit", "verify", "--anchors", str(file.path)).exit_code == 0
    cut(ledger, 4)
    assert "event 5 is missing" in run("audit", "verify", "--anchors", str(file.path)).stderr
    assert run("audit", "verify").exit_code == 0, "without an anchor nobody can know"


@pytest.mark.parametrize(
    "entry",
    [
        "store: ftp://host/x",
        "store: file://relative",
        "store: s3://",
        "store: s3://user:secret@bucket/x",
        "store: s3://bucket/x?y=1",
        "{store: 's3://b/x', retain_day: 3}",
        "{store: 's3://b/x', retain_days: -1}",
        "{store: 'file:///x', retain_days: 3}",
    ],
)
def test_an_unknown_place_is_refused(tmp_path: Path, entry: str) -> None:
    """A place that cannot be understood keeps nothing, so the playbook does not load, and says the line."""
    book = tmp_path / "playbook.yaml"
    book.write_text(PLAYBOOK.read_text().replace("anchors: []", f"anchors:\n  - {entry}"))
    with pytest.raises(Refused, match=r"playbook\.yaml:\d+: (unknown key 'anchors|anchors)"):
        load(book, {})


def test_nothing_is_anchored_by_default() -> None:
    """The shipped playbook names no place."""
    assert load(PLAYBOOK, {}).anchors == ()


BREAKS = {
    "altered": ("UPDATE events SET actor = 'person:eve' WHERE seq = 300", 300),
    "rehashed": ("UPDATE events SET hash = 'g' || substr(hash, 2) WHERE seq = 305", 305),
    "deleted": ("DELETE FROM events WHERE seq = 307", 307),
}


@pytest.mark.parametrize("how", BREAKS)
def test_nothing_is_appended_to_a_broken_tail(anywhere: Ledger, how: str) -> None:
    """A process that opens a ledger whose end is not as it was written refuses to build on it, and can read it."""
    fill(anywhere, 310)
    sql, seq = BREAKS[how]
    as_owner(anywhere, sql)
    opened = Ledger(anywhere.engine.url.render_as_string(hide_password=False))
    with pytest.raises(BrokenTail, match=rf"broken at event {seq}\b.*LASTGOOD_ACCEPT_BROKEN_EVENT={seq}\b"):
        fill(opened)
    assert len(list(opened.rows())) == 310 - (how == "deleted")
    opened.engine.dispose()


@pytest.mark.parametrize("count", [0, 1, tail.LENGTH - 1, tail.LENGTH, tail.LENGTH + 1, tail.LENGTH + 2])
def test_a_whole_tail_is_appended_to(anywhere: Ledger, count: int) -> None:
    """Whether the check sees all of the chain, all but one, or only its end."""
    fill(anywhere, count)
    opened = Ledger(anywhere.engine.url.render_as_string(hide_password=False))
    fill(opened)
    assert audit.verify(opened).events == count + 1
    opened.engine.dispose()


def test_a_break_before_the_tail_is_left_to_the_audit(ledger: Ledger) -> None:
    """Opening reads a bounded number of events; the whole walk names what is further back."""
    fill(ledger, tail.LENGTH + 20)
    as_owner(ledger, "UPDATE events SET actor = 'person:eve' WHERE seq = 5")
    opened = Ledger(str(ledger.engine.url))
    fill(opened)
    assert audit.verify(opened).broken[0].startswith("event 5: ")
    opened.engine.dispose()


def test_the_way_out_accepts_one_break_and_no_other(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    """A person names the break that is known; another one still refuses, and the audit goes on naming both."""
    fill(ledger, 10)
    as_owner(ledger, "UPDATE events SET actor = 'person:eve' WHERE seq = 4")
    monkeypatch.setenv("LASTGOOD_ACCEPT_BROKEN_EVENT", "4")
    all_settings.settings.cache_clear()
    opened = Ledger(str(ledger.engine.url))
    fill(opened)
    assert audit.verify(opened).broken[0].startswith("event 4: ")
    with closing(sqlite3.connect(str(ledger.engine.url.database))) as connection:
        connection.executescript("UPDATE events SET actor = 'person:eve' WHERE seq = 8")
    again = Ledger(str(ledger.engine.url))
    with pytest.raises(BrokenTail, match="broken at event 8"):
        fill(again)
    for one in (opened, again):
        one.engine.dispose()
    all_settings.settings.cache_clear()


def test_the_command_line_says_it_in_one_line(run: Run, ledger: Ledger) -> None:
    """Whoever would write is told, without a traceback; whoever reads is not held up."""
    with ledger.write() as writer:
        writer.open(
            e.Opened(category=Category.data, severity=Severity.low, asset=None, title="x"), actor="intake:generic"
        )
    as_owner(ledger, "UPDATE events SET actor = 'person:eve' WHERE seq = 1")
    result = run("close", "INC-1", "--by", "anna", "--because", "it is over")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith("lastgood: the record is broken at event 1")
    assert run("show", "INC-1").exit_code == 0
