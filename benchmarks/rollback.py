"""Going back to a dataset's last good version, at 10, 1,000 and 10,000 objects, against what people use for it."""

from __future__ import annotations

import gc
import hashlib
import subprocess
import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial

from benchmarks.harness import Side, compare, record
from benchmarks.peers import environment
from benchmarks.plain_keys import BUCKET, Keys, put, server

ABOUT = """
Small objects on one SeaweedFS. From the good state 60% are overwritten; where it says "and deleted", 20% are deleted
and 10% as many added as well. Then each side goes back to the good state. "manifest" is an `s3://` store, where that is
a compare-and-set of one pointer: the plan has read the manifest, and the move asks S3 whether it still is the same.
"versioned prefix" is an `s3+versions://` store: after the plan, list, bring back what differs, look again.
`s3-pit-restore` goes back to a moment, copying every object, 10 at once unless told; `aws s3 sync --delete` copies from
a backup under another prefix, 32 at once. The peers' time holds the start of their process, which tells at 10 objects;
ours runs in a process that has imported everything, as the warm worker's children have. Requests are counted by the
server, which shares the two cores with its client, so that what both do for one copy bounds every side. "same size" is
a corruption that no size shows: sync passes over what is newer and as large, and exits 0; the figure is how many
objects are right afterwards.
"""

MANIFEST, PLAIN = "manifest, {:,} objects", "versioned prefix, {:,} objects"
PIT, PIT32 = "s3-pit-restore", "s3-pit-restore, 32 workers"
TARGETS = {
    (MANIFEST.format(10_000), "itself at 10"): 0.667,
    (PLAIN.format(10_000), PIT): 2.0,
    (PLAIN.format(10_000) + ", requests", PIT): 1.0,
}
REASONS = {
    (PLAIN.format(10_000), PIT): "client and server share two cores here, and a copy takes the server most of "
    "two milliseconds; 6,000 copies against 10,000 is what can be saved; ours also looks again, to see it done",
}

#: So many objects are put there once and broken twice.
MANY = 10_000

#: What s3-pit-restore itself does not pin.
BOTO3 = "boto3==1.44.8"


def run() -> None:
    """Everything, on a server of its own."""
    gc.collect()
    gc.freeze()  # as the process does that the warm worker's children are forked from
    with server() as meter:
        _manifest()
        for size, turns in ((10, 3), (1_000, 3), (MANY, 2)):
            _plain_keys(meter, PLAIN.format(size), size, turns)
        _plain_keys(meter, PLAIN.format(1_000) + ", and deleted", 1_000, 3, come_and_go=True)
        _same_size(1_000)


def _manifest() -> None:
    """Moves to and fro between two versions; their objects are not there, as no move looks at them."""
    flips = {size: _flips(size) for size in (10, 1_000, 10_000)}
    for size in (1_000, 10_000):
        compare("rollback", MANIFEST.format(size), "s", flips[size], {"itself at 10": flips[10]}, n=25, warmup=2)


def _flips(size: int) -> Side:
    from remediations import clients
    from remediations.datasets import open_store
    from remediations.datasets.layout import DataObject, Manifest

    store = open_store(f"s3://{BUCKET}/manifest-{size}", "bench")
    versions = []
    for content in ("good", "bad"):
        hashes = [hashlib.sha256(f"{content} {number}".encode()).hexdigest() for number in range(size)]
        objects = [DataObject(path=f"part{n:05}", sha256=one, bytes=1, rows=0) for n, one in enumerate(hashes)]
        manifest = Manifest.of("bench", objects, datetime.now(UTC))
        key = f"manifest-{size}/manifests/{manifest.version}.json"
        clients.s3().put_object(Bucket=BUCKET, Key=key, Body=manifest.model_dump_json().encode())
        versions.append(manifest.version)
    store.move(store.pointer_to(versions[0], "bench"), None)

    def flip() -> float:
        current = store.current()
        to = store.pointer_to(versions[current.version == versions[0]], "bench")
        began = time.perf_counter()
        store.move(to, current)
        return time.perf_counter() - began

    return flip


def _plain_keys(meter: Callable[[], float], case: str, size: int, turns: int, *, come_and_go: bool = False) -> None:
    names = (f"{name}-{size}{'-gone' * come_and_go}" for name in ("ours", "pit", "pit32", "sync"))
    ours, pit, pit32, sync = (Keys(name, size, come_and_go=come_and_go) for name in names)
    sync.back_up()
    for keys in (ours, pit, sync, *([pit32] if size < MANY else [])):
        keys.fill()
    back = _ours(ours)
    time.sleep(1.1 - time.time() % 1)  # s3-pit-restore knows whole seconds
    moment = datetime.now(UTC).isoformat()
    time.sleep(1.1)
    sides = {
        "ours": _side(meter, ours, back),
        PIT: _side(meter, pit, lambda: partial(_pit, pit, moment)),
        "aws s3 sync": _side(meter, sync, lambda: partial(_sync, sync)),
    }
    if size < MANY:  # more workers are no quicker, and ten thousand objects take long to put there
        sides[PIT32] = _side(meter, pit32, lambda: partial(_pit, pit32, moment, "--max-workers", "32"))
    mine = sides.pop("ours")
    compare("rollback", case, "s", mine, sides, n=turns, warmup=int(size < 1_000))
    counts = {"ours": ours.requests, PIT: pit.requests, "aws s3 sync": sync.requests}
    last = {name: one[-turns:] for name, one in counts.items()}
    record("rollback", f"{case}, requests", "requests", last)


def _same_size(size: int) -> None:
    """60% overwritten with other bytes, as many as before."""
    figures: dict[str, list[float]] = {}
    for name, restored in (("ours", _ours), ("aws s3 sync", lambda keys: lambda: partial(_sync, keys))):
        keys = Keys(f"same-size-{name.replace(' ', '-')}", size)
        keys.back_up()
        keys.fill()
        back = restored(keys)
        put(keys.prefix, {path: f"BAD! {path}" for path in keys.paths(0, 0.6)})
        back()()
        figures[name] = [keys.right()]
    record("rollback", f"same size, {size:,} objects", "objects right", figures, more_is_better=True)


def _side(meter: Callable[[], float], keys: Keys, plan: Callable[[], Callable[[], None]]) -> Side:
    """Break it, plan, time the way back, count what the server was asked, and see that all is right."""

    def call() -> float:
        keys.break_it()
        back = plan()
        before, began = meter(), time.perf_counter()
        back()
        took = time.perf_counter() - began
        keys.requests.append(meter() - before)
        if keys.right() != keys.size:
            raise RuntimeError(f"{keys.prefix}: {keys.size - keys.right()} of {keys.size} objects are wrong")
        return took

    return call


def _ours(keys: Keys) -> Callable[[], Callable[[], None]]:
    """A plan to go back to the state that the keys are in now, which a pipeline makes the current one."""
    from remediations.datasets import open_store
    from remediations.datasets.versioned_prefix import VersionedPrefix

    uri = f"s3+versions://{BUCKET}/{keys.prefix}"
    store = open_store(uri, "bench")
    assert isinstance(store, VersionedPrefix)
    good = store.snapshot().version
    store.move(store.pointer_to(good, "bench"), None)

    def planned() -> Callable[[], None]:
        current, wanted = open_store(uri, "bench").current(), store.pointer_to(good, "bench")

        def back() -> None:
            open_store(uri, "bench").move(wanted, current)
            if open_store(uri, "bench").current() != wanted:
                raise RuntimeError(f"{uri} is not back")

        return back

    return planned


def _pit(keys: Keys, moment: str, *more: str) -> None:
    program = environment("s3-pit-restore==0.9", BOTO3) / "s3-pit-restore"
    where = ("-b", BUCKET, "-B", BUCKET, "-p", f"{keys.prefix}/", "-t", moment, *more)
    subprocess.run([str(program), *where], check=True, stdout=subprocess.DEVNULL)


def _sync(keys: Keys) -> None:
    program = environment("awscli==1.46.3") / "aws"
    where = (f"s3://{BUCKET}/{keys.backup}/", f"s3://{BUCKET}/{keys.prefix}/", "--delete", "--only-show-errors")
    subprocess.run([str(program), "s3", "sync", *where], check=True)
