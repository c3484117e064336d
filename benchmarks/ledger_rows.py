"""Makes a ledger of as many events as asked for, chained as it should be, without waiting for as many commits."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

from incidents import events as e
from incidents.ledger import GENESIS, Ledger, chain
from incidents.models import Alert, Category, Health, Severity, Status, Verdict, canonical

#: Events of one incident.
EACH = 8


def make(file: Path, events: int) -> Ledger:
    """A new ledger in ``file`` whose incidents are all resolved; of every 8 events one judges a dataset's version."""
    ledger = Ledger(f"sqlite:///{file}")
    with ledger.write() as writer:
        raw = writer.connection.connection.driver_connection
        assert raw is not None
        raw.executemany("INSERT INTO events VALUES (?, ?, ?, ?, ?, ?, ?, ?)", _events(events))
        raw.executemany(
            "INSERT INTO incidents (number, category, asset, severity, status, title, opened_at, closed_at) "
            "VALUES (?, 'data', ?, 3, ?, 'the feed is in cents', ?, ?)",
            ((n, _asset(n), Status.resolved, _at(n), _at(n)) for n in range(1, events // EACH + 1)),
        )
    return ledger


def _events(count: int) -> Iterator[tuple[int, str, str, str, str, str, str, str]]:
    story = [(body.kind, canonical(body.model_dump(mode="json"))) for body in _story()]
    before = GENESIS
    for seq in range(1, count + 1):
        incident, step = divmod(seq - 1, EACH)
        kind, body = story[step]
        actor = "intake:alertmanager" if kind == "opened" else "flow:data"
        body = body.replace("20261123T065800Z", f"v{incident % 1000}")
        row = (seq, _at(seq), f"INC-{incident + 1}", _asset(incident + 1), kind, actor, body)
        before = chain(before, row)
        yield (*row, before)


def _story() -> list[e.Body]:
    bad = Verdict(health=Health.unhealthy, why="amount is in cents", evidence={"rows": 200_000, "mean": 8912.25})
    good = Verdict(health=Health.healthy, why="200000 rows meet 18 expectations", evidence={"rows": 200_000})
    alert = Alert(
        source="alertmanager",
        fingerprint="6660a89b9814dd59",
        episode="2026-11-23T06:59:30Z",
        starts_at=datetime(2026, 11, 23, 6, 59, 30, tzinfo=UTC),
        firing=True,
        name="DatasetBroken",
        labels={"alertname": "DatasetBroken", "dataset": "transactions", "severity": "warning"},
        annotations={"summary": "the mean of amount is 100 times too high"},
    )
    opened = e.Opened(
        category=Category.data,
        severity=Severity.medium,
        asset="dataset:transactions",
        title="the feed is in cents",
        alert=alert,
    )
    return [
        opened,
        e.Started(flow="data", run="0b9f7a52-6df4-4b7e-bd29-5cb1bb0b3e0f"),
        e.Checked(phase="confirm", verdict=bad),
        e.Judged(version="20261123T065800Z", verdict=bad),
        e.NotPlanned(action="rollback_dataset", target="dataset:transactions", why="no version was verified good"),
        e.Checked(phase="watch", verdict=good),
        e.Resolved(why="the data is good again"),
        e.Told(channel="chat", title="INC-7 resolved: the feed is in cents", delivered=True),
    ]


def _asset(number: int) -> str:
    return f"dataset:d{number % 20}"


def _at(number: int) -> str:
    return (datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=number)).isoformat(timespec="microseconds")
