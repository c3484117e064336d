"""A stretch of the chain. Each event needs only the stored hash before it, so stretches can be checked side by side.

As a program it reads from standard input, as JSON, which stretch of which database to check; the address may hold a
password, so it is no argument.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from itertools import pairwise
from typing import Any, NamedTuple

from incidents.chain import GENESIS, chain
from incidents.ledger import Ledger


class Stretch(NamedTuple):
    """Events that are in order, one after the other."""

    events: int
    #: The stored hash of the event before the first, and of the last.
    before: str
    head: str


def check(rows: Iterable[Sequence[Any]], after: int) -> Stretch | None:
    """Check the events that follow event ``after``, which itself is the first row; None if any is not in order."""
    rows = iter(rows)
    before = start = GENESIS if after == 0 else next(rows)[-1]
    seq = after
    for seq, row in enumerate(rows, start=after + 1):
        if row[0] != seq or chain(before, row) != row[-1]:
            return None
        before = row[-1]
    return Stretch(seq - after, start, before)


def check_all(ledger: Ledger, events: int, meanwhile: Callable[[], bool]) -> Stretch | None:
    """Check a chain of about so many events, each core a stretch; None if anything at all is not in order.

    ``meanwhile`` is done while the processes work, and says whether it found all in order, too.
    """
    parts = os.cpu_count() or 1
    bounds = pairwise([*(events * part // parts for part in range(parts)), None])
    url = ledger.engine.url.render_as_string(hide_password=False)
    workers = [_start({"url": url, "after": after, "until": until}) for after, until in bounds]
    in_order = meanwhile()
    found = [_result(worker) for worker in workers]
    stretches = [one for one in found if one is not None]
    if not in_order or len(stretches) < parts:
        return None
    if any(one.head != other.before for one, other in pairwise(stretches)):
        return None
    return Stretch(sum(one.events for one in stretches), GENESIS, stretches[-1].head)


def _start(stretch: dict[str, Any]) -> subprocess.Popen[str]:
    argv = [sys.executable, "-m", "incidents.stretch"]
    pipe, nowhere = subprocess.PIPE, subprocess.DEVNULL
    worker = subprocess.Popen(argv, stdin=pipe, stdout=pipe, stderr=nowhere, text=True)
    assert worker.stdin is not None
    with suppress(BrokenPipeError), worker.stdin:  # one that could not start is found out by its exit code
        worker.stdin.write(json.dumps(stretch))
    return worker


def _result(worker: subprocess.Popen[str]) -> Stretch | None:
    assert worker.stdout is not None
    with worker:
        said = worker.stdout.read()
    return Stretch(*json.loads(said)) if worker.returncode == 0 else None


def _main() -> int:
    asked = json.load(sys.stdin)
    ledger = Ledger(asked["url"])
    after, until = asked["after"], asked["until"]
    found = check(ledger.rows(first=after or None, last=until), after)
    if found is None:
        return 1
    sys.stdout.write(json.dumps(found))
    return 0


if __name__ == "__main__":
    sys.exit(_main())
