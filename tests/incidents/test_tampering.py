"""Flip, delete, insert, reorder, cut off: whatever is done to the table behind our back, it is found and named."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from demo.process import executable
from incidents import audit
from incidents.anchors import Anchor, AnchorFile, contradictions
from incidents.chain import chain
from incidents.ledger import Ledger
from incidents.models import now
from tests.incidents.conftest import PLAYBOOK
from tests.incidents.test_audit import MANY, as_owner, fill

Row = tuple[Any, ...]
ACTOR, BODY = 5, 6


def flip(rows: list[Row], at: int, count: int) -> list[Row]:
    """Change a letter of one event's text."""
    body = rows[at][BODY]
    place = count * 7 % len(body)
    other = "x" if body[place] != "x" else "y"
    return [*rows[:at], (*rows[at][:BODY], body[:place] + other + body[place + 1 :], rows[at][-1]), *rows[at + 1 :]]


def delete(rows: list[Row], at: int, count: int) -> list[Row]:
    """Take events out and leave the gap."""
    return rows[:at] + rows[at + count :]


def delete_and_renumber(rows: list[Row], at: int, count: int) -> list[Row]:
    """Take events out and close the gap."""
    return numbered(delete(rows, at, count))


def insert_copies(rows: list[Row], at: int, count: int) -> list[Row]:
    """Put events there that are copies of the one before, or of the last one."""
    return numbered([*rows[:at], *[rows[at - 1]] * count, *rows[at:]])


def insert_hashed(rows: list[Row], at: int, count: int) -> list[Row]:
    """Put events there that follow the one before as they should."""
    before = rows[at - 1][-1] if at else "0" * 64
    forged = []
    for seq in range(at + 1, at + 1 + count):
        columns = (seq, *rows[at][1:ACTOR], "person:eve", rows[at][BODY])
        before = chain(before, columns)
        forged.append((*columns, before))
    return numbered([*rows[:at], *forged, *rows[at:]])


def swap(rows: list[Row], at: int, count: int) -> list[Row]:
    """Let two events change places."""
    other = at + count
    return numbered([*rows[:at], rows[other], *rows[at + 1 : other], rows[at], *rows[other + 1 :]])


def turn_round(rows: list[Row], at: int, count: int) -> list[Row]:
    """Put several events into the opposite order."""
    return numbered([*rows[:at], *rows[at : at + count + 1][::-1], *rows[at + count + 1 :]])


def put_last(rows: list[Row], at: int, _: int) -> list[Row]:
    """Give one event a number after all the others."""
    return [*rows[:at], *rows[at + 1 :], (99, *rows[at][1:])]


def cut_off(rows: list[Row], at: int, _: int) -> list[Row]:
    """Take everything from there on."""
    return rows[:at]


def numbered(rows: list[Row]) -> list[Row]:
    """The same events with numbers without gaps."""
    return [(seq, *row[1:]) for seq, row in enumerate(rows, start=1)]


class Way(NamedTuple):
    """A way to tamper, what the audit has to call it, and how many events have to stand behind the place for that."""

    do: Callable[[list[Row], int, int], list[Row]]
    kind: str
    behind: int = 0


WAYS = {
    "flip": Way(flip, "altered"),
    "delete": Way(delete, "deleted", 3),
    # Of what was taken out, the hash that the last event followed: so it takes two behind it that follow one another.
    "delete and renumber": Way(delete_and_renumber, "deleted", 5),
    "insert copies": Way(insert_copies, "inserted"),
    "insert what is hashed": Way(insert_hashed, "inserted"),
    "swap": Way(swap, "reordered", 3),
    "turn round": Way(turn_round, "reordered", 3),
    "put last": Way(put_last, "reordered", 1),
    "cut off": Way(cut_off, "cut off"),
}


def write_behind(ledger: Ledger, rows: list[Row]) -> None:
    """Replace the table's rows, without the guards and without the application."""
    as_owner(ledger, "DELETE FROM events")
    if ledger.engine.dialect.name == "sqlite":
        with closing(sqlite3.connect(str(ledger.engine.url.database))) as connection, connection:
            connection.executemany(f"INSERT INTO events VALUES ({', '.join('?' * 8)})", rows)
    else:
        with ledger.engine.begin() as owner:
            owner.exec_driver_sql(f"INSERT INTO events VALUES ({', '.join(['%s'] * 8)})", rows)


@pytest.mark.parametrize("way", [pytest.param(way, id=name) for name, way in WAYS.items()])
def test_the_command_names_what_was_done_and_where(anywhere: Ledger, way: Way, tmp_path: Path) -> None:
    """`lastgood audit verify`, as an auditor runs it, fails and says which of the five it was, from which event on."""
    fill(anywhere)
    rows = [tuple(row) for row in anywhere.rows()]
    file = AnchorFile(tmp_path / "anchors.jsonl")
    file.put(Anchor(seq=MANY, hash=rows[-1][-1], at=now()))
    url = anywhere.engine.url.render_as_string(hide_password=False)
    assert audit.verify(anywhere).broken == ()
    write_behind(anywhere, way.do(rows, 4, 2))
    code, said = verify(url, file.path)
    assert code == 1
    assert named(said) == (5, way.kind), said


def verify(url: str, anchors: Path) -> tuple[int, str]:
    """Run the command in a process of its own; returns its exit code and what it complains of."""
    done = subprocess.run(
        [executable("lastgood"), "audit", "verify", "--anchors", str(anchors)],
        env={**os.environ, "LASTGOOD_DATABASE_URL": url, "LASTGOOD_PLAYBOOK": str(PLAYBOOK)},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stderr


def named(said: str) -> tuple[int, str]:
    """The event and the kind that a finding names: ``event 5: altered: ...``, ``events 5 to 12 are missing: ...``."""
    words = said.removeprefix("lastgood: ").replace(":", "").split()
    kind = "cut off" if "the tail was cut off" in said else words[2]
    return int(words[1]), kind


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A ledger's file that nobody has tampered with."""
    path = tmp_path_factory.mktemp("original") / "ledger.db"
    ledger = Ledger(f"sqlite:///{path}")
    fill(ledger)
    ledger.engine.dispose()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return path


@settings(max_examples=120, deadline=None)
@given(name=st.sampled_from(sorted(WAYS)), at=st.integers(0, MANY - 1), count=st.integers(1, 3))
@example("delete", MANY - 4, 3)
def test_wherever_it_is_done_it_is_named(original: Path, name: str, at: int, count: int) -> None:
    """Any way, at any event, with one or several events: the first that is not as it was, and what was done there."""
    way = WAYS[name]
    assume(at + way.behind < MANY)
    path = original.with_name("tampered.db")
    shutil.copy(original, path)
    ledger = Ledger(f"sqlite:///{path}")
    try:
        rows = [tuple(row) for row in ledger.rows()]
        anchor = Anchor(seq=MANY, hash=rows[-1][-1], at=now())
        write_behind(ledger, way.do(rows, at, count))
        [finding] = audit.verify(ledger).broken or contradictions(ledger, [anchor], "a safe place")
    finally:
        ledger.engine.dispose()
    assert named(finding) == (at + 1, way.kind), finding
