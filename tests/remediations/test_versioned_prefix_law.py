"""Laws of a versioned prefix: any history, any state to go back to; and processes killed at any write of a move."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections import Counter

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.remediations.plain_keys import PlainKeys, killed_before_write, requests, writes

PATHS = st.sampled_from(["a", "b", "b/c", "d"])
#: Few, and of one size, so that chance finds keys that hold again what they held, and changes that no size tells.
BODIES = st.sampled_from(["1", "2", "3"])

puts = st.tuples(st.just("put"), PATHS, BODIES)
deletes = st.tuples(st.just("delete"), PATHS)
snapshots = st.tuples(st.just("snapshot"))
moves = st.tuples(st.just("move"), st.integers(0, 9), st.none() | st.integers(0, 8))
histories = st.lists(st.one_of(puts, deletes, snapshots, moves), min_size=5, max_size=20)


class Model:
    """What plain keys hold, and what they held at each snapshot; as simple as can be."""

    def __init__(self) -> None:
        self.keys = PlainKeys()
        self.now: dict[str, str] = {}
        self.states: list[tuple[str, dict[str, str]]] = []
        self.kept: Counter[str] = Counter()

    def put(self, path: str, body: str) -> None:
        """Some tool writes a key."""
        self.keys.put(path, body)
        self.now[path] = body

    def delete(self, path: str) -> None:
        """Some tool deletes a key, if it is there."""
        if self.now.pop(path, None):
            self.keys.delete(path)

    def snapshot(self) -> None:
        """The present state goes on file."""
        if self.keys.versions():
            self.states.append((self.keys.store().snapshot().version, dict(self.now)))

    def move(self, number: int, killed_before: int | None) -> None:
        """Back to one of the states, perhaps killed on the way and called again; then once more, for nothing."""
        if not self.states:
            return
        version, wanted = self.states[number % len(self.states)]
        before = self.keys.store().current()
        after = before.successor(version, by="x")
        if killed_before is not None:
            try:
                with killed_before_write(killed_before):
                    self.keys.store().move(after, before)
            except BaseException as death:
                assert type(death).__name__ == "Killed", death  # noqa: PT017 - whether it dies depends on the history
        touched = self.keys.versions() - self.kept
        self.keys.store().move(after, before)
        self.now = dict(wanted)
        assert self.keys.store().current() == after
        assert max((self.keys.versions() - self.kept).values(), default=0) <= 1, "a key was brought back twice"
        assert touched <= self.keys.versions() - self.kept
        with requests() as sent:
            self.keys.store().move(after, before)
        assert writes(sent) == []

    def check(self) -> None:
        """The keys hold what the model says, and S3 has every version that it ever had."""
        assert self.keys.contents() == self.now
        versions = self.keys.versions()
        assert self.kept <= versions
        self.kept = versions


@pytest.mark.usefixtures("versioned_bucket")
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(histories)
def test_any_state_comes_back_from_any_history(history: list[tuple[str, ...]]) -> None:
    """Contents are the snapshot's, nothing is destroyed or done twice, and killed then called again is done."""
    model, neighbour = Model(), PlainKeys()
    neighbour.prefix = model.keys.prefix + "base"
    neighbour.put("a", "theirs")
    for action, *given_ in history:
        getattr(model, action)(*given_)
        model.check()
    assert (neighbour.contents(), neighbour.versions()) == ({"a": "theirs"}, {"a": 1})


MOVER = """
import os, signal, sys, threading
from remediations import clients
from remediations.datasets import open_store
from remediations.datasets.layout import Pointer

store = open_store(sys.argv[1], "transactions")
seen, lock = [], threading.Lock()

def die(event_name, **_):
    if event_name.rpartition(".")[2] in ("CopyObject", "DeleteObjects", "PutObject"):
        with lock:
            seen.append(event_name)
            if len(seen) > int(sys.argv[4]):
                os.kill(os.getpid(), signal.SIGKILL)

clients.s3().meta.events.register("before-send.s3", die)
store.move(Pointer.model_validate_json(sys.argv[2]), Pointer.model_validate_json(sys.argv[3]))
"""


@pytest.mark.parametrize("write", [0, 1, 2, 40, 119, 120, 121])
def test_a_killed_move_is_finished_by_calling_it_again(keys: PlainKeys, write: int) -> None:
    """SIGKILL before, among and after the copies, the deletion and the pointer: the next call does just the rest."""
    for number in range(120):
        keys.put(f"part{number:03}", f"good {number}")
    good = keys.store().snapshot().version
    for number in range(118):
        keys.put(f"part{number:03}", f"BAD! {number}")
    keys.put("new", "x")
    kept = keys.versions()
    before = keys.store().current()
    after = before.successor(good, by="INC-1")

    mover = [sys.executable, "-c", MOVER, keys.uri, after.model_dump_json(), before.model_dump_json(), str(write)]
    assert subprocess.run(mover, check=False).returncode == -signal.SIGKILL
    assert keys.store().current() == before

    keys.store().move(after, before)
    assert keys.contents() == {f"part{number:03}": f"good {number}" for number in range(120)}
    assert keys.versions() - kept == Counter([*(f"part{number:03}" for number in range(118)), "new"])
    assert keys.store().current() == after
