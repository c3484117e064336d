"""The law of every move, against a model; and processes killed in the middle of one."""

from __future__ import annotations

import posixpath
import random
import secrets
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, rule
from pydantic import ValidationError

from remediations.base import Conflict
from remediations.datasets.base import DataObject, DatasetStore, Manifest, NotPublished, Pointer
from remediations.datasets.directory import DirectoryStore

T0 = datetime(2026, 11, 23, 12, 0, 0, tzinfo=UTC)


def filled(folder: Path) -> tuple[DirectoryStore, list[str]]:
    """A store with two versions, neither current."""
    store = DirectoryStore("transactions", folder / "store")
    file = folder / "a"
    versions = []
    for number in range(2):
        file.write_text(str(number))
        versions.append(store.publish([file], at=T0 + timedelta(seconds=number)).version)
    return store, versions


class Moves(RuleBasedStateMachine):
    """Any sequence of moves, from any expectation to any pointer, new or seen before, against a model of one line."""

    pointers: Bundle[Pointer] = Bundle("pointers")

    @initialize()
    def start(self) -> None:
        """An empty store, and a model of it."""
        self.home = tempfile.TemporaryDirectory(prefix="lastgood-law-")
        self.store: DatasetStore
        self.store, self.versions = filled(Path(self.home.name))
        self.model: Pointer | None = None

    @rule(target=pointers, number=st.integers(0, 1))
    def make(self, number: int) -> Pointer:
        """A pointer not yet written."""
        return self.store.pointer_to(self.versions[number], "x")

    @rule(to=pointers, expect=st.none() | pointers)
    def move(self, to: Pointer, expect: Pointer | None) -> None:
        """Already there: success. As expected: moved. Anything else: a conflict, and nothing moves."""
        self._try(to, expect)

    @rule(to=pointers)
    def move_from_what_is_there(self, to: Pointer) -> None:
        """The usual case, which chance alone would seldom find."""
        self._try(to, self.model)

    def _try(self, to: Pointer, expect: Pointer | None) -> None:
        may = self.model in (to, expect)
        try:
            self.store.move(to, expect)
        except Conflict:
            assert not may
        else:
            assert may
            self.model = to

    @invariant()
    def what_is_stored_is_what_the_model_says(self) -> None:
        """Read back after every step, by a store that knows nothing of the moves."""
        try:
            assert self.fresh().current() == self.model
        except NotPublished:
            assert self.model is None

    def fresh(self) -> DatasetStore:
        """A store that knows nothing of the moves."""
        return DirectoryStore("transactions", Path(self.home.name) / "store")

    def teardown(self) -> None:
        """Leave nothing behind."""
        self.home.cleanup()


TestMoves = Moves.TestCase
TestMoves.settings = settings(max_examples=25, stateful_step_count=25, deadline=None)


@given(st.text(st.sampled_from("./\\:ab\x00\n"), max_size=12) | st.text(max_size=20))
def test_no_path_leaves_the_folder(path: str) -> None:
    """A path is refused, or it is its own shortest form and stays inside."""
    try:
        found = DataObject(path=path, sha256="0" * 64, bytes=0, rows=0).path
    except ValidationError:
        return
    inside = posixpath.normpath(posixpath.join("/base", found))
    assert inside == f"/base/{found}"
    assert "\\" not in found


objects = st.builds(
    DataObject,
    path=st.text("abc", min_size=1, max_size=3),
    sha256=st.text("0123456789abcdef", min_size=64, max_size=64),
    bytes=st.integers(0, 99),
    rows=st.just(0),
)


@given(st.lists(objects, min_size=1, max_size=5, unique_by=lambda found: found.path), st.randoms())
def test_a_digest_is_of_the_content_and_not_of_the_order(found: list[DataObject], chance: random.Random) -> None:
    """The same objects in any order are one version; an object more or less is another, and text keeps it whole."""
    manifest = Manifest.of("transactions", found, T0)
    shuffled = list(found)
    chance.shuffle(shuffled)
    assert Manifest.of("transactions", shuffled, T0) == manifest
    assert Manifest.model_validate_json(manifest.model_dump_json()) == manifest
    more = DataObject(path="more", sha256="0" * 64, bytes=0, rows=0)
    assert Manifest.of("transactions", [*found, more], T0).digest != manifest.digest


MOVER = """
import sys
from remediations.datasets.directory import DirectoryStore
store, versions = DirectoryStore("transactions", sys.argv[1]), sys.argv[2:]
at = store.current()
while True:
    to = store.pointer_to(versions[at.version == versions[0]], "killed")
    print("begin", to.nonce, flush=True)
    store.move(to, at)
    print("done", to.nonce, flush=True)
    at = to
"""


def test_a_killed_mover_leaves_the_old_pointer_or_the_new_one(tmp_path: Path) -> None:
    """Killed eight times at a random moment: what was acknowledged stands, and the next mover finds no lock held."""
    store, versions = filled(tmp_path)
    store.move(store.pointer_to(versions[0], "x"), None)
    for _ in range(8):
        mover = subprocess.Popen(
            [sys.executable, "-c", MOVER, str(store.folder), *versions], stdout=subprocess.PIPE, text=True
        )
        assert mover.stdout is not None
        told = [mover.stdout.readline() for _ in range(2)]
        time.sleep(secrets.randbelow(30) / 1000)
        mover.kill()
        told += mover.stdout.readlines()
        mover.wait()
        said = [tuple(line.split()) for line in told if line.endswith("\n")]
        acknowledged = [nonce for word, nonce in said if word == "done"]
        begun = [nonce for word, nonce in said if word == "begin"]
        found = store.current()
        assert found.nonce in (acknowledged[-1], begun[-1])
        store.move(store.pointer_to(found.version, "next"), found)
