"""What holds for every kind of store, in real ones: on disk, in S3, in each format's own library."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from remediations.base import Conflict
from remediations.datasets.base import DatasetStore, NoSuchVersion, Pointer
from remediations.datasets.heads import HeadStore
from tests.remediations.store_kits import KITS, OF_OTHERS, ROWS, Kit, made


@pytest.fixture(params=KITS, ids=lambda kit: kit.kind)
def kit(request: pytest.FixtureRequest, tmp_path: Path) -> Kit:
    """An empty place for each kind of store."""
    return made(request.param, request, tmp_path)


@pytest.fixture(params=OF_OTHERS, ids=lambda kit: kit.kind)
def others(request: pytest.FixtureRequest, tmp_path: Path) -> Kit:
    """The same, of those that other writers move without asking us."""
    return made(request.param, request, tmp_path)


def fetched(store: DatasetStore, version: str, folder: Path) -> list[int]:
    """The numbers in a version's rows, as a suite gets them."""
    files = store.fetch(version, folder / version)
    table = pq.ParquetFile(files[0]).read()
    assert table.column_names == ["number", "part"]
    return [int(number) for number in table["number"].to_pylist()]


def test_every_version_is_fetched_whole(kit: Kit, tmp_path: Path) -> None:
    """The newest and the ones before it, with the columns that its files themselves may lack."""
    versions = [kit.written(number) for number in (1, 2, 3)]
    assert len(set(versions)) == 3
    for number, version in enumerate(versions, start=1):
        assert fetched(kit.store(), version, tmp_path) == [number] * ROWS
        assert kit.store().missing(version) == []
        assert kit.store().manifest(version).version == version


def test_going_back_brings_the_rows_back_and_the_version_keeps_its_name(kit: Kit, tmp_path: Path) -> None:
    """What was verified good is known by its name: brought back it has that name, however often."""
    good, bad = kit.written(1), kit.written(2)
    for _ in range(2):
        before = kit.store().current()
        assert before.version == bad
        after = before.successor(good, by="INC-1")
        kit.store().move(after, expect=before)
        assert kit.read() == {1}
        assert kit.store().current() == after
        assert kit.store().current().version == good
        assert fetched(kit.store(), good, tmp_path) == [1] * ROWS

        kit.store().move(after, expect=before)
        assert kit.store().current() == after, "twice is once"

        kit.store().move(before, expect=after)
        kit.store().move(before, expect=after)
        assert kit.store().current() == before, "undone, the pointer is the very one from before"
        assert kit.read() == {2}


def test_a_writers_commit_in_between_is_never_overwritten(kit: Kit) -> None:
    """Neither on the way there nor on the way back, also where it leaves the version that was there."""
    good, bad = kit.written(1), kit.written(2)
    before = kit.store().current()
    after = before.successor(good, by="INC-1")
    kit.write(3)
    with pytest.raises(Conflict, match=bad):
        kit.store().move(after, expect=before)
    assert kit.read() == {3}

    before = kit.store().current()
    after = before.successor(good, by="INC-1")
    kit.store().move(after, expect=before)
    kit.write(4)
    with pytest.raises(Conflict):
        kit.store().move(before, expect=after)
    assert kit.read() == {4}


def test_somebody_elses_move_to_the_same_version_is_theirs(kit: Kit) -> None:
    """The same content set by another is no state that we left, so it is not ours to take back."""
    good, _ = kit.written(1), kit.written(2)
    before = kit.store().current()
    ours, theirs = before.successor(good, by="INC-1"), before.successor(good, by="bob")
    kit.store().move(ours, expect=before)
    kit.store().move(theirs, expect=ours)
    assert kit.store().current() == theirs
    with pytest.raises(Conflict, match="set by bob"):
        kit.store().move(before, expect=ours)
    assert kit.store().current() == theirs
    assert kit.read() == {1}


def test_what_was_never_there_is_no_target(kit: Kit) -> None:
    """Neither a version of another name, nor one whose content is not the one that its name tells."""
    version = kit.written(1)
    at = kit.store().current()
    for name in ("20200101T000000Z-000000000000", f"{version[:-12]}{'0' * 12}"):
        with pytest.raises(NoSuchVersion):
            kit.store().move(at.successor(name, by="x"), expect=at)
        with pytest.raises(NoSuchVersion):
            kit.store().manifest(name)
    assert kit.store().current() == at


def test_versions_sort_by_when_they_were_made(others: Kit) -> None:
    """The newest of those that were verified good is the last one; a version that came back is not a new one."""
    versions = [others.written(number) for number in range(12)]
    assert sorted(versions) == versions
    now = others.store().current()
    others.store().move(now.successor(versions[3], by="INC-1"), expect=now)
    listed = others.store().versions()
    assert sorted(listed) == listed
    assert [version for version in listed if version in versions] == versions


def test_of_eight_movers_exactly_one_wins(others: Kit) -> None:
    """Six rounds of movers that each want another version: one success, all others conflicts, the winner stands."""
    versions = [others.written(number) for number in range(8)]
    for _ in range(6):
        now = others.store().current()

        elsewhere = [version for version in versions if version != now.version]
        start = threading.Barrier(len(elsewhere))

        def attempt(version: str, now: Pointer = now, start: threading.Barrier = start) -> Pointer | None:
            store, to = others.store(), now.successor(version, by=version)
            start.wait()
            try:
                store.move(to, expect=now)
            except Conflict:
                return None
            return to

        with ThreadPoolExecutor(8) as pool:
            won = [to for to in pool.map(attempt, elsewhere) if to is not None]
        assert won == [others.store().current()]
        assert others.read() == {versions.index(won[0].version)}


def test_a_writer_who_is_faster_by_a_moment_is_never_overwritten(others: Kit, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between our last look and our commit somebody else commits: ours is refused by the format itself."""
    good, _ = others.written(1), others.written(2)
    store = others.store()
    assert isinstance(store, HeadStore)
    before, commit = store.current(), store._commit

    theirs = iter((3, 4))

    def late(*arguments: object) -> None:
        others.write(next(theirs))
        commit(*arguments)  # type: ignore[arg-type]  # they are its own

    monkeypatch.setattr(store, "_commit", late)
    for number in (3, 4):
        to = before.successor(good if number == 3 else before.version, by="INC-1")
        with pytest.raises(Conflict, match="faster"):
            store.move(to, expect=before)
        assert others.read() == {number}
        before = others.store().current()


def test_a_lost_answer_is_a_success(others: Kit, monkeypatch: pytest.MonkeyPatch) -> None:
    """The commit landed and its answer was lost: the pointer in it says that it was ours."""
    good, _ = others.written(1), others.written(2)
    store = others.store()
    assert isinstance(store, HeadStore)
    before, commit = store.current(), store._commit

    def lost(*arguments: object) -> None:
        commit(*arguments)  # type: ignore[arg-type]  # they are its own
        raise OSError("the connection was lost")

    def never(*_: object) -> None:
        raise OSError("the connection was lost")

    after = before.successor(good, by="INC-1")
    monkeypatch.setattr(store, "_commit", never)
    with pytest.raises(OSError, match="connection"):
        store.move(after, expect=before)
    monkeypatch.setattr(store, "_commit", lost)
    store.move(after, expect=before)
    assert others.store().current() == after


def test_what_the_format_has_thrown_away_is_named(others: Kit) -> None:
    """A version that lacks a data file is seen before anything moves, and a move to it changes nothing."""
    good, _ = others.written(1), others.written(2)
    lost = others.lose(good)
    assert [Path(path).name for path in others.store().missing(good)] == [lost]
    before = others.store().current()
    with pytest.raises(Exception, match=lost):
        others.store().move(before.successor(good, by="INC-1"), expect=before)
    assert others.store().current() == before
    assert others.read() == {2}


def test_a_table_is_published_as_any_writer_would(others: Kit, tmp_path: Path) -> None:
    """The rows of the files replace what is there, and their version is current."""
    others.write(1)
    pq.write_table(pq.read_table(others.store().fetch(others.written(2), tmp_path)[0]), tmp_path / "two.parquet")
    others.write(3)
    version = others.store().publish([tmp_path / "two.parquet"]).version
    assert others.store().current().version == version
    assert others.read() == {2}


def test_there_is_no_table_yet(others: Kit) -> None:
    """Nothing is current, and nothing can be gone back to."""
    from remediations.datasets.base import NotPublished

    others.prepare()
    with pytest.raises(NotPublished):
        others.store().current()
