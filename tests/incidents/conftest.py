"""What the tests of the ledger and of what stands on it share."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from demo.servers import Server
from incidents import events as e
from incidents import ledger as ledgers
from incidents import playbook as playbooks
from incidents import settings as all_settings
from incidents.decide import Facts, Request, decide
from incidents.events import Body, Event
from incidents.incident import Incident, fold
from incidents.ledger import Ledger
from incidents.models import Alert, Category, Health, Plan, Risk, Severity, Verdict
from incidents.playbook import Playbook, load
from tests.incidents.deploying import deploy

#: The playbook that is shipped.
PLAYBOOK = Path(__file__).parents[2] / "playbook.yaml"


@pytest.fixture
def deployment(prefect_server: Server) -> str:
    """The name of a deployment of this test alone, which no worker takes up."""
    name = f"nothing-{secrets.token_hex(4)}"
    asyncio.run(deploy(name))
    return f"{name}/{name}"


@pytest.fixture
def sqlite_database(tmp_path: Path) -> str:
    """The address of a SQLite file that does not exist yet."""
    return f"sqlite:///{tmp_path / 'ledger.db'}"


@pytest.fixture(params=["sqlite", "postgres"])
def database_url(request: pytest.FixtureRequest) -> str:
    """The address of an empty database, once for each kind that the ledger runs on."""
    return str(request.getfixturevalue(f"{request.param}_database"))


@pytest.fixture
def anywhere(database_url: str) -> Iterator[Ledger]:
    """An empty ledger, once for each kind of database."""
    made = Ledger(database_url)
    yield made
    made.engine.dispose()


@pytest.fixture
def ledger(sqlite_database: str) -> Iterator[Ledger]:
    """An empty ledger on SQLite."""
    made = Ledger(sqlite_database)
    yield made
    made.engine.dispose()


@pytest.fixture(scope="session")
def book() -> Playbook:
    """The shipped playbook, loaded with nothing set in the environment."""
    return load(PLAYBOOK, {})


@pytest.fixture(scope="session")
def tell() -> Callable[[Iterable[tuple[float, Body]]], Incident]:
    """A way to make an incident of what happened: each body with the seconds since the one before."""

    def told(story: Iterable[tuple[float, Body]]) -> Incident:
        at, events = datetime(2026, 11, 23, 7, tzinfo=UTC), list[Event]()
        for seq, (seconds, body) in enumerate(story, start=1):
            at += timedelta(seconds=seconds)
            told_by = "intake:alertmanager" if isinstance(body, e.Opened | e.Alerted) else "flow:data"
            event = Event(seq=seq, at=at, incident="INC-7", subject=None, actor=told_by, body=body, hash="0" * 64)
            events.append(event)
        return fold(events)

    return told


@pytest.fixture(scope="session")
def healed(book: Playbook) -> list[tuple[float, Body]]:
    """The whole path, as the demo takes it: a bad feed, rolled back, a model that learned from it, reverted."""
    bad = Verdict(health=Health.unhealthy, why="amount is in cents", evidence={"rows": 200_000, "mean": 8912.25})
    good = Verdict(health=Health.healthy, why="200000 rows meet 18 expectations", evidence={"rows": 200_000})
    alert = Alert(
        source="alertmanager",
        fingerprint="61a6c1",
        episode="2026-11-23T06:59:30Z",
        starts_at=datetime(2026, 11, 23, 6, 59, 30, tzinfo=UTC),
        firing=True,
        name="DatasetBroken",
        labels={"dataset": "transactions"},
        annotations={"summary": "the mean of amount is 100 times too high"},
        severity=Severity.high,
    )
    opened = e.Opened(
        category=Category.data,
        severity=Severity.high,
        asset="dataset:transactions",
        title="DatasetBroken transactions",
        alert=alert,
    )
    rollback = Plan(
        action="rollback_dataset",
        parameters={"dataset": "transactions", "because": "INC-7"},
        target="dataset:transactions",
        before={"version": "20261123T065800Z"},
        after={"version": "20261122T060000Z"},
        summary="dataset transactions 20261123T065800Z -> 20261122T060000Z",
        because=("the newest version verified good",),
    )
    revert = Plan(
        action="revert_model",
        parameters={"model": "fraud", "because": "INC-7"},
        target="models:/fraud@champion",
        before={"version": 2},
        after={"version": 1},
        summary="fraud@champion 2 -> 1",
    )
    story: list[tuple[float, Body]] = [
        (0, opened),
        (0.5, e.Started(flow="data", run="4f0c")),
        (4, e.Checked(phase="confirm", verdict=bad)),
        (0, e.Judged(version="20261123T065800Z", verdict=bad)),
        (1, e.Traced(dataset="transactions", version="20261123T065800Z", models={"fraud": ["2"]})),
    ]
    for plan in (rollback, revert):
        asked = Request(
            plan=plan,
            category=opened.category,
            severity=Severity.high,
            risk=Risk.medium,
            reversible=True,
            asset=opened.asset,
        )
        story += [
            (0.25, e.Planned(plan=plan)),
            (0.25, decide(asked, book, Facts(at=datetime(2026, 11, 23, 7, tzinfo=UTC)))),
            (0.5, e.Applying(plan=plan.hash, token=1)),
            (1, e.Applied(plan=plan.hash)),
            (3, e.Checked(phase="watch", verdict=good)),
            (0, e.Verified(plan=plan.hash, verdict=good)),
        ]
    return [
        *story,
        (1, e.Resolved(why="the data is good again")),
        (2, _told(delivered=True)),
        (1, _told(delivered=False)),
    ]


def _told(*, delivered: bool) -> Body:
    why = "" if delivered else "LASTGOOD_CHANNEL_PAGER is not set"
    return e.Told(channel="chat" if delivered else "pager", title="INC-7 resolved", delivered=delivered, why=why)


@pytest.fixture(scope="session")
def forget() -> Callable[[], None]:
    """A way to let settings, ledger and playbook be read again."""

    def read_again() -> None:
        for read_once in (all_settings.settings, ledgers.ledger, playbooks.playbook):
            read_once.cache_clear()

    return read_again


@pytest.fixture
def run(ledger: Ledger, forget: Callable[[], None], monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Result]]:
    """The command line, on a ledger of this test alone and the shipped playbook."""
    from incidents.cli import app

    monkeypatch.setenv("LASTGOOD_DATABASE_URL", str(ledger.engine.url))
    monkeypatch.setenv("LASTGOOD_PLAYBOOK", str(PLAYBOOK))
    forget()
    yield lambda *arguments: CliRunner().invoke(app, list(arguments))
    forget()
