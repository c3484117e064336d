"""How many alerts a second are stored, and how long a sender waits: the whole intake against one bare insert."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from itertools import count
from pathlib import Path
from typing import Any

from benchmarks import harness

ABOUT = """
Alerts that were never seen before are posted over real HTTP, as Alertmanager writes them, by a client process with
64 kept connections, and are acknowledged after their commit (SQLite, WAL, `synchronous=FULL`). Ours is what
`lastgood serve` runs: token, parsing, routing, dedup, hash chain, incidents and an outbox that works; every 20th alert
opens an incident and asks for a flow. The floors are an empty Starlette app, on the same uvicorn, with one insert a
body, as it came, or one an alert. The wait is measured at half the rate that ours reached, each request on its
schedule; `50 ms limit` is the 99th percentile allowed.
"""

_BODY, _ALERT, _LIMIT = "Starlette, one insert a body", "Starlette, one insert an alert", "50 ms limit"
_ONE, _HUNDRED, _WAIT = "alerts/s, 1 a body", "alerts/s, 100 a body", "p99 wait at half the maximum"

TARGETS = {(_ONE, _BODY): 0.7, (_HUNDRED, _BODY): 0.7, (_HUNDRED, _ALERT): 0.7, (_WAIT, _LIMIT): 1.0}

_DOES_MORE = (
    "the floor neither reads, routes, dedups nor chains what it stores, and with 100 alerts in a body HTTP and the "
    "commit, which both sides share, no longer count; ours spends its time in Python on each alert"
)
REASONS = {
    (_ONE, _BODY): "on a quiet disk the floor's commits cost nothing that a group could save, and Python's work on an "
    "alert is about as long as that on its HTTP request",
    (_HUNDRED, _BODY): _DOES_MORE,
    (_HUNDRED, _ALERT): _DOES_MORE,
}

#: Bodies of one measured call: about a second of ours.
_BODIES = {1: 2000, 100: 100}

_fresh = count()


def run() -> None:
    """Measure both sizes of body against their floors, and then the wait."""
    with tempfile.TemporaryDirectory() as folder, ExitStack() as servers:
        ours, bodies, alerts = (
            servers.enter_context(_served(side, Path(folder))) for side in ("ours", "bodies", "alerts")
        )
        one = _sides(1, ours, bodies)
        [maximum] = harness.compare("intake", _ONE, "alerts/s", one[0], {_BODY: one[1]}, more_is_better=True)
        mine, by_body, by_alert = _sides(100, ours, bodies, alerts)
        others = {_BODY: by_body, _ALERT: by_alert}
        harness.compare("intake", _HUNDRED, "alerts/s", mine, others, more_is_better=True)
        rate = maximum.ours_median / 2
        waits = [_post(ours, bodies=int(rate * 4), rate=rate)["p99"] for _ in range(4)][1:]
    harness.record("intake", _WAIT, "ms", {"ours": waits, _LIMIT: [50.0] * len(waits)})


def _sides(alerts: int, *ports: int) -> list[harness.Side]:
    def side(port: int) -> harness.Side:
        return lambda: float(_post(port, bodies=_BODIES[alerts], alerts=alerts)["per_second"])

    return [side(port) for port in ports]


def _post(port: int, *, bodies: int, alerts: int = 1, rate: float = 0) -> dict[str, Any]:
    """Post with a client process of its own; every alert is new, and every answer has to say that it was stored."""
    argv = [sys.executable, "-m", "benchmarks.intake_client", str(port), "--first", str(next(_fresh) * 1_000_000)]
    argv += ["--bodies", str(bodies), "--alerts", str(alerts), "--rate", str(rate)]
    done = subprocess.run(argv, capture_output=True, text=True, check=True, timeout=60)
    figures: dict[str, Any] = json.loads(done.stdout)
    assert figures["statuses"] == {"202": bodies}, figures
    return figures


@contextmanager
def _served(side: str, folder: Path) -> Iterator[int]:
    """The port of one side's server."""
    from demo.process import Server, free_port

    port = free_port()

    def answers() -> bool:
        import httpx

        return httpx.get(f"http://127.0.0.1:{port}/health", timeout=5).is_success

    argv = [sys.executable, "-m", "benchmarks.intake_server", side, str(folder / f"{side}.db"), str(port)]
    with Server(name=side, argv=argv, log=folder / f"{side}.log", ready=answers):
        yield port
