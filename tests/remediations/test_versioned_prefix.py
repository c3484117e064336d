"""A dataset of plain keys in a versioned bucket, brought back to a state that it once had."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from remediations import clients
from remediations.base import CannotPlan, Conflict
from remediations.datasets import open_store
from remediations.datasets.base import Damaged, DatasetError, NoSuchVersion, NotPublished, Pointer
from remediations.datasets.beside import Beside
from remediations.datasets.version_set import Head, Move, VersionSet
from tests.remediations.plain_keys import BUCKET, Killed, PlainKeys, killed_before_write, requests, writes

GOOD = {"a": "one", "b": "two", "c/d": "three", "e": "four"}
#: Of the same size, deleted, new, and one left alone.
BAD = {"a": "ONE", "c/d": "Three", "e": "four", "new": "x"}


def write(keys: PlainKeys, contents: dict[str, str]) -> None:
    """Make the keys hold exactly this, touching only what differs."""
    there = keys.contents()
    for path, body in contents.items():
        if there.get(path) != body:
            keys.put(path, body)
    for path in there.keys() - contents.keys():
        keys.delete(path)


@pytest.fixture
def good(keys: PlainKeys) -> str:
    """The version that was good; the keys are bad by now."""
    write(keys, GOOD)
    version = keys.store().snapshot().version
    write(keys, BAD)
    return version


def planned(keys: PlainKeys, version: str) -> tuple[Pointer, Pointer]:
    """What a plan made now would move from, and to."""
    before = keys.store().current()
    return before, before.successor(version, by="INC-1")


def test_it_is_as_it_was_and_nothing_else_is_touched(keys: PlainKeys, good: str) -> None:
    """Overwritten, deleted and added keys are as they were, with a write for each and no other; and undo."""
    neighbour = PlainKeys()
    neighbour.prefix = f"{keys.prefix}-of-others"
    neighbour.put("a", "theirs")
    kept = keys.versions()
    before, after = planned(keys, good)
    with requests() as sent:
        keys.store().move(after, before)
    assert keys.contents() == GOOD
    assert sorted(one for one in sent if one.startswith("Copy")) == [
        f"CopyObject /{path}" for path in ("a", "b", "c/d")
    ]
    assert len([one for one in sent if one.startswith("DeleteObjects")]) == 1
    assert keys.store().current() == after
    assert keys.versions() == kept + Counter(("a", "b", "c/d", "new"))

    keys.store().move(before, after)
    assert keys.contents() == BAD
    assert keys.store().current() == before
    assert (neighbour.contents(), neighbour.versions()) == ({"a": "theirs"}, {"a": 1})


def test_twice_is_once(keys: PlainKeys, good: str) -> None:
    """The same move again finds nothing to do, and writes nothing."""
    before, after = planned(keys, good)
    keys.store().move(after, before)
    with requests() as sent:
        keys.store().move(after, before)
    assert writes(sent) == []


def test_what_is_current_follows_plain_writes(keys: PlainKeys, good: str) -> None:
    """Each state has a name of its own, the same whoever looks; and a key written with what it held is no change."""
    before, after = planned(keys, good)
    assert keys.store().current() == before != after
    assert before.moved_by == "plain writes"
    keys.store().move(after, before)
    keys.put("a", "one")
    assert keys.store().current() == after
    keys.put("one too many", "x")
    assert keys.store().current() not in (before, after)
    keys.delete("one too many")
    assert keys.store().current() == after
    keys.delete("e")
    assert keys.store().current() not in (before, after)


def test_a_version_is_fetched_exactly(keys: PlainKeys, good: str, tmp_path: Path) -> None:
    """Whatever is current by now; and the present state is fetched as it was seen, though overwritten meanwhile."""
    fetched = keys.store().fetch(good, tmp_path / "good")
    assert {str(file.relative_to(tmp_path / "good")): file.read_text() for file in fetched} == GOOD

    store = keys.store()
    seen = store.current().version
    keys.put("a", "later")
    fetched = store.fetch(seen, tmp_path / "seen")
    assert {str(file.relative_to(tmp_path / "seen")): file.read_text() for file in fetched} == BAD
    assert seen in keys.store().versions()


def test_the_state_at_a_moment(keys: PlainKeys) -> None:
    """The newest version of each key of that second or before; a key that was deleted then is not in it."""
    moments = []
    for contents in (GOOD, BAD, {}, {"a": "last"}):
        write(keys, contents)
        moments.append((datetime.now(UTC), contents))
        time.sleep(1.1 - time.time() % 1)
    store = keys.store()
    for moment, contents in moments:
        version = store.snapshot(at=moment).version
        store.move(store.pointer_to(version, by="x"), store.current())
        assert keys.contents() == contents
    with pytest.raises(NotPublished):
        store.snapshot(at=datetime(2020, 1, 1, tzinfo=UTC))


def test_a_key_changed_after_the_plan_is_a_conflict(keys: PlainKeys, good: str) -> None:
    """Before anything is touched: what a person wrote stays, and so does all else."""
    before, after = planned(keys, good)
    keys.put("e", "a person's")
    with requests() as sent, pytest.raises(Conflict, match="set by plain writes"):
        keys.store().move(after, before)
    assert writes(sent) == []
    assert keys.contents() == BAD | {"e": "a person's"}


@contextmanager
def a_person(keys: PlainKeys, action: str, path: str) -> Iterator[None]:
    """Somebody writes or deletes a key when the move has looked, and before it sends its first copy."""
    lock = threading.Lock()
    acted: list[str] = []

    def act(**_: object) -> None:
        with lock:
            if not acted:
                keys.put(path, "a person's") if action == "put" else keys.delete(path)
                acted.append(path)

    events = clients.s3().meta.events
    events.register("before-send.s3.CopyObject", act)
    try:
        yield
    finally:
        events.unregister("before-send.s3.CopyObject", act)


@pytest.mark.parametrize(("action", "path"), [("put", "b"), ("put", "new"), ("delete", "new-too"), ("delete", "z")])
def test_a_key_changed_during_the_move_stays(keys: PlainKeys, good: str, action: str, path: str) -> None:
    """Overwritten, created or deleted by a person in the middle: theirs stays, and all that was changed is put back."""
    keys.put("new-too", "y")
    keys.put("z", "what was here is not in the good version")
    bad = keys.contents()
    theirs = bad | {path: "a person's"} if action == "put" else {key: bad[key] for key in bad if key != path}
    before, after = planned(keys, good)
    if action == "delete":  # where the good version has none either, theirs is what the plan wants
        with a_person(keys, action, path):
            keys.store().move(after, before)
        assert keys.contents() == GOOD
        return
    with a_person(keys, action, path), pytest.raises(Conflict, match=f"changed 1 keys, {path} "):
        keys.store().move(after, before)
    assert keys.contents() == theirs
    assert keys.store().current().moved_by == "plain writes"
    before, after = planned(keys, good)
    keys.store().move(after, before)
    assert keys.contents() == GOOD


def test_a_lost_answer_is_a_success(keys: PlainKeys, good: str) -> None:
    """Every copy landed before, its answer was lost, and the same copy again is refused: that was us."""
    before, after = planned(keys, good)
    landed: Any = clients.s3.__wrapped__()

    def first(request: object, **_: object) -> None:
        landed._endpoint.http_session.send(request)

    clients.s3().meta.events.register("before-send.s3.CopyObject", first)
    try:
        keys.store().move(after, before)
    finally:
        clients.s3().meta.events.unregister("before-send.s3.CopyObject", first)
    assert keys.contents() == GOOD
    assert keys.store().current() == after


def test_what_the_etag_does_not_tell_is_copied_once(keys: PlainKeys) -> None:
    """Uploads in parts, corrupted at the same size: brought back, known as such, and not copied a second time."""
    keys.put_parts("big", "a")
    good = keys.store().snapshot().version
    keys.put_parts("big", "b")
    before, after = planned(keys, good)
    with killed_before_write(3), pytest.raises(Killed):  # the set, the head, the copy; then the note that it is one
        keys.store().move(after, before)
    assert keys.versions() == {"big": 3}
    keys.store().move(after, before)
    assert keys.store().current() == after
    assert keys.versions() == {"big": 3}
    assert keys.contents()["big"].startswith("aaa")

    keys.put_parts("big", "c")
    assert keys.store().current() != after


def test_a_reader_of_the_pointer_never_sees_a_mixture(keys: PlainKeys, tmp_path: Path) -> None:
    """While keys change to and fro, who takes the current version and fetches it gets one state whole."""
    flips = []
    for word in ("good", "bad"):
        write(keys, {f"part{number}": f"{word} {number}" for number in range(12)})
        flips.append(keys.store().snapshot().version)
    done = threading.Event()

    def flip() -> None:
        moved = 0
        while not done.is_set() or moved % 2:
            before, after = planned(keys, flips[moved % 2])
            keys.store().move(after, before)
            moved += 1

    mover = threading.Thread(target=flip)
    mover.start()
    try:
        for number in range(25):
            store = keys.store()
            files = store.fetch(store.current().version, tmp_path / str(number))
            assert len(files) == 12
            assert len({file.read_text().split()[0] for file in files}) == 1
    finally:
        done.set()
        mover.join()


def test_a_move_that_begins_during_a_look_is_noticed(keys: PlainKeys, good: str) -> None:
    """The head was read, then a move began, then the mixture was listed: the look is taken again, and sees the move."""
    before, after = planned(keys, good)
    begun: list[str] = []

    def begin(event_name: str, **_: object) -> None:
        if event_name.rpartition(".")[2] == "ListObjectVersions" and not begun:
            begun.append(event_name)
            with killed_before_write(4), pytest.raises(Killed):
                keys.store().move(after, before)

    clients.s3().meta.events.register("before-send.s3", begin)
    try:
        assert keys.store().current() == before
    finally:
        clients.s3().meta.events.unregister("before-send.s3", begin)
    assert len(begun) == 1


def test_another_move_waits_for_the_unfinished_one(keys: PlainKeys, good: str) -> None:
    """While keys are a mixture no other move begins, no state goes on file; finishing it or taking it back ends it."""
    before, after = planned(keys, good)
    other = before.successor(good, by="INC-2")
    with killed_before_write(4), pytest.raises(Killed):
        keys.store().move(after, before)
    assert keys.store().current() == before
    with pytest.raises(Conflict, match=r"under way.*INC-1"):
        keys.store().move(other, before)
    with pytest.raises(DatasetError, match="under way"):
        keys.store().snapshot()
    keys.store().move(before, after)
    assert keys.contents() == BAD
    assert keys.store().current() == before
    keys.store().move(other, before)
    assert keys.contents() == GOOD


def test_a_person_between_a_kill_and_the_next_call(keys: PlainKeys, good: str) -> None:
    """The second call finds a key neither as planned nor as left: theirs stays, and the move is given up."""
    before, after = planned(keys, good)
    with killed_before_write(4), pytest.raises(Killed):
        keys.store().move(after, before)
    keys.put("b", "a person's")
    left = keys.contents()
    with pytest.raises(Conflict, match="b for one"):
        keys.store().move(after, before)
    assert keys.contents() == left
    assert keys.store().current().moved_by == "plain writes"


def test_a_version_that_is_gone_is_found_before_anything_is_touched(keys: PlainKeys, good: str) -> None:
    """A lifecycle rule removed an old version: the preflight names it, and a move all the same changes nothing."""
    old = keys.store().manifest(good).by_path["b"]
    assert keys.store().missing(good) == []
    clients.s3().delete_object(Bucket=BUCKET, Key=f"{keys.prefix}/b", VersionId=old.version_id)
    assert keys.store().missing(good) == ["b"]
    before, after = planned(keys, good)
    with requests() as sent, pytest.raises(Damaged, match="that of b"):
        keys.store().move(after, before)
    assert [one for one in writes(sent) if "lastgood" not in one] == []
    with pytest.raises(Damaged, match="of b is gone"):
        keys.store().fetch(good, Path(keys.prefix).parent)


def test_the_preflight_says_what_a_move_costs(keys: PlainKeys, good: str) -> None:
    """Its requests are about those that the move then sends, and its bytes those of the copies."""
    before, after = planned(keys, good)
    preflight = keys.store().preflight(good)
    with requests() as sent:
        keys.store().move(after, before)
    assert abs(preflight.requests - len(sent)) <= 1
    assert preflight.bytes == len("one" + "two" + "three")


def test_a_bucket_without_versioning_is_refused(keys: PlainKeys, s3_prefix: str) -> None:
    """There is no safe plan where S3 keeps nothing to go back to."""
    bucket, _, prefix = s3_prefix.removeprefix("s3://").partition("/")
    clients.s3().put_object(Bucket=bucket, Key=f"{prefix}/a", Body=b"1")
    store = open_store(f"s3+versions://{bucket}/{prefix}", "transactions")
    with pytest.raises(CannotPlan, match="versioning is not on"):
        store.preflight(store.current().version)


def test_an_altered_version_set_is_not_trusted(keys: PlainKeys, good: str) -> None:
    """Another VersionId in it, or another dataset's set under its name: neither moves anything."""
    before, after = planned(keys, good)
    place: dict[str, Any] = {"Bucket": BUCKET, "Key": f"{keys.prefix}.lastgood/manifests/{good}.json"}
    client = clients.s3()
    body = client.get_object(**place)["Body"].read()
    ids = [one.version_id for one in keys.store().manifest(good).objects]
    for altered in (body.replace(ids[0].encode(), ids[1].encode()), body.replace(b"transactions", b"customers")):
        client.put_object(**place, Body=altered)
        with pytest.raises(Damaged):
            keys.store().move(after, before)
    client.put_object(**place, Body=body)
    keys.store().move(after, before)


def test_a_first_pointer_only_says_what_is_there(keys: PlainKeys, good: str) -> None:
    """A pipeline may set the first pointer to the state it left; one to another state would be a move from nowhere."""
    store = keys.store()
    with pytest.raises(Conflict):
        store.move(store.pointer_to(good, by="pipeline"), expect=None)
    first = store.pointer_to(store.snapshot().version, by="pipeline")
    store.move(first, expect=None)
    assert keys.store().current() == first
    assert keys.contents() == BAD
    with pytest.raises(Conflict):
        store.move(store.pointer_to(first.version, by="another"), expect=None)
    with pytest.raises(NoSuchVersion):
        store.move(store.pointer_to("20200101T000000Z-000000000000", by="x"), expect=first)


def test_publishing_is_writing_plain_keys(keys: PlainKeys, tmp_path: Path) -> None:
    """Files go to the keys of their names, and the state that results is a version."""
    keys.put("old", "1")
    (tmp_path / "new").write_text("2")
    version = keys.store().publish([tmp_path / "new"])
    assert keys.contents() == {"old": "1", "new": "2"}
    assert keys.store().current().version == version.version
    with pytest.raises(ValueError, match="two files of one name"):
        keys.store().publish([tmp_path / "new"] * 2)


def test_an_empty_prefix(keys: PlainKeys, good: str) -> None:
    """Everything deleted is a state like any other, to come from and to go back to; nothing ever written is none."""
    write(keys, {})
    before, after = planned(keys, good)
    keys.store().move(after, before)
    assert keys.contents() == GOOD
    keys.store().move(before, after)
    assert keys.contents() == {}
    with pytest.raises(NotPublished):
        PlainKeys().store().current()


def test_odd_keys_come_back_and_only_files_are_fetched(keys: PlainKeys, tmp_path: Path) -> None:
    """Spaces, colons, percent signs and other letters are keys like any other; what can't be a path is not fetched."""
    odd = {"a b+c%d?e&f": "1", "ü/é": "2", "at=12:00/x": "3"}
    write(keys, odd)
    good = keys.store().snapshot().version
    write(keys, {})
    before, after = planned(keys, good)
    keys.store().move(after, before)
    assert keys.contents() == odd
    assert len(keys.store().fetch(good, tmp_path)) == 3
    sets = Beside("transactions", BUCKET, f"{keys.prefix}.lastgood/")
    for path in ("../up", "a//b", "/a", "a\\b"):
        one = keys.store().manifest(good).objects[0].model_copy(update={"path": path})
        bad = VersionSet.of("transactions", [one], one.modified)
        sets.keep(bad)
        with pytest.raises(DatasetError, match="can't be a file's path"):
            keys.store().fetch(bad.version, tmp_path)


def test_it_says_what_it_can_do(keys: PlainKeys) -> None:
    """Reversible; neither atomic nor the same for who reads plain keys; and the head keeps its form."""
    store = keys.store()
    assert (store.atomic, store.snapshot_reads, store.reversible) == (False, False, True)
    pointer = store.pointer_to("v", by="x")
    head = Head(pointer=None, moving=Move(expect=pointer, to=pointer))
    assert Head.model_validate_json(head.model_dump_json()) == head
