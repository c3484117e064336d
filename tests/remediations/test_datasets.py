"""Dataset stores: one suite over every backend, against a real S3 server and a real disk."""

from __future__ import annotations

import json
import re
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError

from remediations import clients
from remediations.base import Conflict
from remediations.datasets import ADDRESSES, open_store
from remediations.datasets.base import (
    Damaged,
    DataObject,
    DatasetError,
    Manifest,
    NoSuchVersion,
    NotPublished,
    Pointer,
)
from remediations.datasets.content import ContentStore

T0 = datetime(2026, 11, 23, 12, 0, 0, tzinfo=UTC)


class Raw:
    """What is really stored, past the store's own code."""

    def __init__(self, uri: str) -> None:
        self.uri = uri
        self.bucket, _, self.prefix = uri.removeprefix("s3://").partition("/")

    def path(self, key: str) -> Path:
        """Where a file of a directory store is."""
        return Path(self.uri.removeprefix("file://")) / key

    def names(self, folder: str) -> list[str]:
        """What is in a folder."""
        if self.uri.startswith("file:"):
            return sorted(path.name for path in self.path(folder).iterdir())
        listed = clients.s3().list_objects_v2(Bucket=self.bucket, Prefix=f"{self.prefix}/{folder}/")
        return sorted(found["Key"].rpartition("/")[2] for found in listed.get("Contents", []))

    def read(self, key: str) -> bytes:
        """The bytes of one file."""
        if self.uri.startswith("file:"):
            return self.path(key).read_bytes()
        return clients.s3().get_object(Bucket=self.bucket, Key=f"{self.prefix}/{key}")["Body"].read()

    def write(self, key: str, body: bytes) -> None:
        """Overwrite one file, as the store never does."""
        if self.uri.startswith("file:"):
            self.path(key).write_bytes(body)
        else:
            clients.s3().put_object(Bucket=self.bucket, Key=f"{self.prefix}/{key}", Body=body)

    def delete(self, key: str) -> None:
        """Take one file away."""
        if self.uri.startswith("file:"):
            self.path(key).unlink()
        else:
            clients.s3().delete_object(Bucket=self.bucket, Key=f"{self.prefix}/{key}")


def opened(uri: str) -> ContentStore:
    """A store that keeps objects by their content."""
    store = open_store(uri, "transactions")
    assert isinstance(store, ContentStore)
    return store


@pytest.fixture(params=["s3", "file"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> ContentStore:
    """An empty store of each kind."""
    uri = request.getfixturevalue("s3_prefix") if request.param == "s3" else (tmp_path / "store").as_uri()
    return opened(uri)


@pytest.fixture
def raw(store: ContentStore) -> Raw:
    """The same place, looked at from outside."""
    return Raw(store.uri)


def write(folder: Path, **contents: str) -> list[Path]:
    """Small files: a name and what is in it."""
    folder.mkdir(parents=True, exist_ok=True)
    files = [folder / name for name in contents]
    for file, content in zip(files, contents.values(), strict=True):
        file.write_text(content)
    return files


def published(store: ContentStore, folder: Path, content: str, *, after: int = 0, files: int = 1) -> Manifest:
    """A version in which every file holds ``content``, published ``after`` seconds."""
    named = {f"part{number}": f"{content} {number}" for number in range(files)}
    return store.publish(write(folder / content, **named), at=T0 + timedelta(seconds=after))


def test_what_is_published_is_what_is_fetched(store: ContentStore, tmp_path: Path) -> None:
    """A Parquet file and another come back byte by byte, with rows counted from the footer."""
    parquet = tmp_path / "cards.parquet"
    pq.write_table(pa.table({"amount": list(range(1000))}), parquet)
    files = [parquet, *write(tmp_path, notes="from the bank")]

    manifest = store.publish(files, at=T0)
    fetched = store.fetch(manifest.version, tmp_path / "into")

    assert {path.name: path.read_bytes() for path in fetched} == {file.name: file.read_bytes() for file in files}
    assert sorted(path.name for path in (tmp_path / "into").iterdir()) == ["cards.parquet", "notes"]
    assert {found.path: found.rows for found in manifest.objects} == {"cards.parquet": 1000, "notes": 0}
    assert manifest.rows == 1000
    assert manifest.bytes == sum(file.stat().st_size for file in files)
    assert manifest.version == f"20261123T120000Z-{manifest.digest[:12]}"
    assert store.manifest(manifest.version) == manifest
    assert store.missing(manifest.version) == []


def test_publishing_moves_nothing(store: ContentStore, tmp_path: Path) -> None:
    """A new version is not current until somebody makes it so."""
    first = published(store, tmp_path, "first")
    with pytest.raises(NotPublished):
        store.current()
    pointer = store.pointer_to(first.version, "alice")
    store.move(pointer, None)
    published(store, tmp_path, "second", after=1)
    assert store.current() == pointer


def test_the_same_content_is_stored_once(store: ContentStore, raw: Raw, tmp_path: Path) -> None:
    """Publishing again at the same moment changes nothing; at another, it adds a manifest and no object."""
    first = published(store, tmp_path, "same", files=3)
    assert published(store, tmp_path, "same", files=3) == first
    assert raw.names("manifests") == [f"{first.version}.json"]
    later = published(store, tmp_path, "same", files=3, after=60)
    assert later.digest == first.digest
    assert len(raw.names("objects")) == 3
    assert store.versions() == [first.version, later.version]


def test_two_files_of_one_content_are_both_fetched(store: ContentStore, raw: Raw, tmp_path: Path) -> None:
    """One object can be two files of a version."""
    manifest = store.publish(write(tmp_path / "in", a="same", b="same"), at=T0)
    assert len(raw.names("objects")) == 1
    assert [path.read_text() for path in store.fetch(manifest.version, tmp_path / "into")] == ["same", "same"]


def test_versions_are_listed_oldest_first(store: ContentStore, raw: Raw, tmp_path: Path) -> None:
    """Whatever the order of publishing; and a stray file is not a version."""
    assert store.versions() == []
    order = [published(store, tmp_path, f"v{after}", after=after).version for after in (120, 0, 60)]
    raw.write("manifests/.stray", b"left by somebody")
    assert store.versions() == sorted(order)
    assert store.versions()[0] == order[1]


def test_a_move_refuses_what_somebody_else_set(store: ContentStore, raw: Raw, tmp_path: Path) -> None:
    """The plan is void once a person moved the pointer, even to the same version, and theirs stays, byte by byte."""
    old, good, theirs = (published(store, tmp_path, name, after=n).version for n, name in enumerate(("a", "b", "c")))
    seen = store.pointer_to(old, "pipeline")
    store.move(seen, None)
    by_hand = store.pointer_to(theirs, "bob")
    store.move(by_hand, seen)
    body = raw.read("current")
    with pytest.raises(Conflict, match=rf"{theirs} \(set by bob.*{old} \(set by pipeline"):
        store.move(store.pointer_to(good, "lastgood"), seen)
    assert raw.read("current") == body

    again = store.pointer_to(theirs, "carol")
    store.move(again, by_hand)
    with pytest.raises(Conflict):
        store.move(store.pointer_to(good, "lastgood"), by_hand)
    assert store.current() == again


def test_the_first_move_refuses_a_second_first(store: ContentStore, tmp_path: Path) -> None:
    """Expecting no pointer where there is one is a conflict, and so is the reverse."""
    version = published(store, tmp_path, "only").version
    with pytest.raises(Conflict, match="points at no version"):
        store.move(store.pointer_to(version, "x"), store.pointer_to(version, "y"))
    first = store.pointer_to(version, "x")
    store.move(first, None)
    with pytest.raises(Conflict, match="not at no version"):
        store.move(store.pointer_to(version, "y"), None)
    assert store.current() == first


def test_moving_twice_is_moving_once(store: ContentStore, tmp_path: Path) -> None:
    """The same call again, after a crash say, is a success; and a move back restores the very pointer."""
    one, two = (published(store, tmp_path, name, after=n).version for n, name in enumerate(("a", "b")))
    before, after = store.pointer_to(one, "x"), store.pointer_to(two, "x")
    store.move(before, None)
    store.move(after, before)
    store.move(after, before)
    assert store.current() == after
    store.move(before, after)
    store.move(before, after)
    assert store.current() == before


def test_nothing_points_at_a_version_that_is_not_there(store: ContentStore, tmp_path: Path) -> None:
    """A move to an unknown version is refused, and the pointer stays."""
    pointer = store.pointer_to(published(store, tmp_path, "a").version, "x")
    store.move(pointer, None)
    with pytest.raises(NoSuchVersion):
        store.move(store.pointer_to("20200101T000000Z-000000000000", "x"), pointer)
    assert store.current() == pointer


def race(store: ContentStore, folder: Path, rounds: int) -> int:
    """Eight movers from the same pointer at once, ``rounds`` times; how many rounds had the one right winner."""
    versions = [published(store, folder, f"v{n}", after=n).version for n in range(8)]
    start = threading.Barrier(8)
    now: Pointer | None = None
    right = 0

    def attempt(to: Pointer) -> Pointer | None:
        start.wait()
        try:
            store.move(to, now)
        except Conflict:
            return None
        return to

    with ThreadPoolExecutor(8) as pool:
        for _ in range(rounds):
            tried = pool.map(attempt, [store.pointer_to(version, version) for version in versions])
            winners = [to for to in tried if to is not None]
            now = store.current()
            right += winners == [now]
    return right


def test_of_eight_movers_exactly_one_wins(store: ContentStore, tmp_path: Path) -> None:
    """Thirty rounds, on five pointers side by side: each has one success, seven conflicts, and the winner stands."""
    stores = [opened(f"{store.uri}/{number}") for number in range(5)]
    with ThreadPoolExecutor(5) as pool:
        right = list(pool.map(lambda one: race(one, tmp_path / one.uri.rpartition("/")[2], rounds=6), stores))
    assert right == [6] * 5


def test_a_reader_never_sees_a_mixture(store: ContentStore, tmp_path: Path) -> None:
    """While the pointer flips, every fetch is one version whole."""
    names = ("good", "bad")
    flips = [published(store, tmp_path, name, after=n, files=8).version for n, name in enumerate(names)]
    at: Pointer = store.pointer_to(flips[0], "x")
    store.move(at, None)
    done = threading.Event()
    moved = 0

    def flip() -> None:
        nonlocal at, moved
        while not done.is_set():
            moved += 1
            to = store.pointer_to(flips[moved % 2], "x")
            store.move(to, at)
            at = to

    with ThreadPoolExecutor(1) as pool:
        flipping = pool.submit(flip)
        seen = set()
        try:
            for number in range(20):
                version = store.current().version
                words = {path.read_text().split()[0] for path in store.fetch(version, tmp_path / str(number))}
                assert len(words) == 1
                assert words == {names[flips.index(version)]}
                seen |= words
        finally:
            done.set()
        flipping.result()
    assert moved > 5
    assert seen == set(names)


@pytest.mark.parametrize("how", ["altered", "cut short", "gone"])
def test_a_damaged_object_is_never_fetched(store: ContentStore, raw: Raw, tmp_path: Path, how: str) -> None:
    """One bad object among good ones: the error names its path, and no file at all is put in place."""
    manifest = published(store, tmp_path, "v", files=4)
    key = f"objects/{manifest.objects[2].sha256}"
    if how == "gone":
        raw.delete(key)
    else:
        raw.write(key, {"altered": b"V 2", "cut short": b"v"}[how])
    with pytest.raises(Damaged, match="part2"):
        store.fetch(manifest.version, tmp_path / "into")
    assert list((tmp_path / "into").iterdir()) == []
    assert store.missing(manifest.version) == ([] if how == "altered" else ["part2"])


def test_publishing_over_a_damaged_object_is_refused(store: ContentStore, raw: Raw, tmp_path: Path) -> None:
    """Content that is stored already is not sent again, but not when what is stored has another size."""
    manifest = published(store, tmp_path, "v")
    raw.write(f"objects/{manifest.objects[0].sha256}", b"short")
    with pytest.raises(Damaged, match="5 bytes instead of"):
        published(store, tmp_path, "v", after=1)
    assert store.versions() == [manifest.version]


def test_a_file_that_changes_while_it_is_stored_is_refused(store: ContentStore, raw: Raw, tmp_path: Path) -> None:
    """Nothing may be stored under the SHA-256 of other content."""
    with pytest.raises(DatasetError, match="changed while"):
        store._upload("objects/" + "0" * 64, write(tmp_path, a="new content")[0], "0" * 64)
    store.publish(write(tmp_path, b="x"), at=T0)
    assert "0" * 64 not in raw.names("objects")
    assert len(raw.names("objects")) == 1


def tampered(body: dict[str, Any], how: str) -> dict[str, Any]:
    """The manifest, with one thing altered."""
    if how == "an object's hash":
        body["objects"][0]["sha256"] = "0" * 64
    elif how == "an object's path":
        body["objects"][0]["path"] = "../../escaped"
    elif how == "an object dropped":
        body["objects"].pop()
    elif how == "the dataset":
        body["dataset"] = "customers"
    elif how == "a key more":
        body["surprise"] = 1
    else:
        objects = [DataObject(path="part0", sha256="0" * 64, bytes=1, rows=0)]
        forged = Manifest.of(body["dataset"], objects, T0)
        body |= json.loads(forged.model_dump_json(include={"objects", "digest"}))
    return body


@pytest.mark.parametrize(
    "how",
    ["an object's hash", "an object's path", "an object dropped", "the dataset", "a key more", "the whole content"],
)
def test_an_altered_manifest_is_not_trusted(store: ContentStore, raw: Raw, tmp_path: Path, how: str) -> None:
    """Whatever was altered, also with a digest made to match: the version's name tells, and nothing is written."""
    version = published(store, tmp_path, "v", files=2).version
    body = json.loads(raw.read(f"manifests/{version}.json"))
    raw.write(f"manifests/{version}.json", json.dumps(tampered(body, how)).encode())
    with pytest.raises(Damaged):
        store.fetch(version, tmp_path / "into" / "here")
    with pytest.raises(Damaged):
        store.move(store.pointer_to(version, "x"), None)
    assert not (tmp_path / "escaped").exists()


def test_a_pointer_that_cannot_be_read_is_left_alone(store: ContentStore, raw: Raw, tmp_path: Path) -> None:
    """Unknown content in the pointer is neither current nor overwritten."""
    version = published(store, tmp_path, "v").version
    raw.write("current", b'{"version": "v2"}')
    with pytest.raises(Damaged):
        store.current()
    with pytest.raises(Damaged):
        store.move(store.pointer_to(version, "x"), None)
    assert raw.read("current") == b'{"version": "v2"}'


@pytest.mark.parametrize("version", ["", "..", "../current", "a/b", "a\\b", "v\n", "x" * 65, "%2e%2e", ".hidden"])
def test_a_version_is_one_plain_word(store: ContentStore, version: str) -> None:
    """A name that could lead elsewhere is no version, whoever asks."""
    with pytest.raises(NoSuchVersion):
        store.manifest(version)
    with pytest.raises(ValidationError):
        store.pointer_to(version, "x")


def test_what_cannot_be_a_version_is_refused(store: ContentStore, tmp_path: Path) -> None:
    """No files, one name twice, a Parquet file that is none, a time without a zone: nothing gets stored."""
    good = write(tmp_path / "one", a="1")
    with pytest.raises(ValueError, match="at least 1"):
        store.publish([], at=T0)
    with pytest.raises(ValueError, match="two files of one name in one version: a"):
        store.publish([*good, *write(tmp_path / "two", a="2")], at=T0)
    with pytest.raises(ValueError, match=r"b\.parquet is no Parquet file"):
        store.publish(write(tmp_path, **{"b.parquet": "no"}), at=T0)
    with pytest.raises(ValueError, match="time zone"):
        store.publish(good, at=T0.replace(tzinfo=None))
    assert store.versions() == []


@pytest.mark.parametrize(
    "uri",
    [
        "gs://b/p",
        "s3:///p",
        "/data",
        "file://host/p",
        "file:p",
        "s3://key:secret@b/p",
        "s3://b/p?x=1",
        "s3+versions://b/",
        "s3+x://b/p",
        "s3+delta://b/",
        "file+delta://host/p",
    ],
)
def test_other_addresses_are_refused(uri: str) -> None:
    """The message says which addresses are understood."""
    with pytest.raises(ValueError, match=re.escape(", ".join(ADDRESSES))):
        open_store(uri, "transactions")


def test_a_store_says_what_it_can_do(store: ContentStore) -> None:
    """Atomic, with snapshots, reversible, at a cost that does not grow."""
    assert (store.atomic, store.snapshot_reads, store.reversible, store.cost) == (True, True, True, "O(1)")


def test_the_sizes_of_many_objects_are_listed(s3_prefix: str, tmp_path: Path) -> None:
    """Two requests for 250 objects, one that is missing and one cut short among them; what is missing is named."""
    store, raw = opened(s3_prefix), Raw(s3_prefix)
    manifest = published(store, tmp_path, "v", files=250)
    raw.delete(f"objects/{manifest.objects[3].sha256}")
    raw.write(f"objects/{manifest.objects[7].sha256}", b"v")
    sent: list[str] = []
    clients.s3().meta.events.register("before-send.s3", lambda request, **_: sent.append(request.url))
    assert store.missing(manifest.version) == [manifest.objects[3].path, manifest.objects[7].path]
    clients.s3.cache_clear()
    assert len(sent) == 2


def test_a_move_costs_the_same_whatever_the_size(s3_prefix: str, tmp_path: Path) -> None:
    """Three requests to S3, for one object and for sixty."""
    store = opened(s3_prefix)
    sent: list[str] = []
    clients.s3().meta.events.register("before-send.s3", lambda request, **_: sent.append(request.url))
    at: Pointer | None = None
    for files in (1, 60):
        to = store.pointer_to(published(store, tmp_path, f"v{files}", files=files).version, "x")
        sent.clear()
        store.move(to, at)
        at = to
        assert len(sent) == 3
    clients.s3.cache_clear()


@pytest.mark.parametrize(
    "uri", ["s3://anna:hunter2@bucket/prefix", "dvc+https://anna:hunter2@host/a.git#main:x.dvc", "x://hunter2@host"]
)
def test_a_password_in_an_address_is_not_repeated(uri: str) -> None:
    """What is refused names the address without who it is for."""
    with pytest.raises(ValueError, match="this is ") as refused:
        open_store(uri, "transactions")
    assert "hunter2" not in str(refused.value)
    assert "//***@" in str(refused.value)
