"""Whether the ledger is as fast after a million events as after ten thousand, and how fast a million are checked."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

from benchmarks import harness

ABOUT = """
The same ledger code on a SQLite file of 10,000 events and on one of 1,000,000 (400 MB, WAL, `synchronous=FULL`), in
turns: one event appended in a transaction of its own, and one incident opened, with the look for a live one and the
job for its flow. `ours` is the large file and the other side the small one: a ratio of 1 is flat, 0.667 is 1.5 times as
long. `audit verify` computes every hash anew, on all cores, and has SQLite check its file, within the same time.
"""

_SMALL, _LARGE, _FLOOR = "10,000 events", 1_000_000, "200,000 events/s"
_APPEND, _OPEN, _VERIFY = "append an event at 1e6", "open an incident at 1e6", "verify 1e6 events"

TARGETS = {(_APPEND, _SMALL): 0.667, (_OPEN, _SMALL): 0.667, (_VERIFY, _FLOOR): 1.0}
REASONS: dict[tuple[str, str], str] = {}

#: So many transactions are one measured call.
_TIMES = 200


def run() -> None:
    """Build both ledgers, then measure."""
    from benchmarks import ledger_rows
    from incidents import audit, events
    from incidents.ledger import Ledger
    from incidents.models import Category, Severity

    def append(ledger: Ledger) -> float:
        began = time.perf_counter()
        for run in range(_TIMES):
            ledger.append(events.Started(flow="data", run=str(run)), actor="flow:data", incident="INC-7")
        return (time.perf_counter() - began) / _TIMES * 1000

    def open_one(ledger: Ledger) -> float:
        began = time.perf_counter()
        for _ in range(_TIMES):
            asset = f"dataset:new-{time.monotonic_ns()}"
            opened = events.Opened(category=Category.data, severity=Severity.high, asset=asset, title="in cents")
            with ledger.write() as writer:
                assert writer.live(Category.data, asset) is None
                name = writer.open(opened, actor="intake:alertmanager")
                writer.send("launch", f"launch:{name}", {"incident": name}, incident=name)
        return (time.perf_counter() - began) / _TIMES * 1000

    def verify(ledger: Ledger) -> float:
        began = time.perf_counter()
        report = audit.verify(ledger)
        assert not report.broken, report.broken
        return report.events / (time.perf_counter() - began)

    with tempfile.TemporaryDirectory() as folder:
        small = ledger_rows.make(Path(folder) / "small.db", 10_000)
        large = ledger_rows.make(Path(folder) / "large.db", _LARGE)
        harness.compare("ledger", _APPEND, "ms", lambda: append(large), {_SMALL: lambda: append(small)})
        harness.compare("ledger", _OPEN, "ms", lambda: open_one(large), {_SMALL: lambda: open_one(small)})
        rates = [verify(large) for _ in range(4)][1:]
        for ledger in (small, large):
            ledger.engine.dispose()
    harness.record(
        "ledger", _VERIFY, "events/s", {"ours": rates, _FLOOR: [200_000.0] * len(rates)}, more_is_better=True
    )
