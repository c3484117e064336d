"""Two web processes and two workers share one PostgreSQL, and what is wrong is put right once."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from threading import Barrier

import pytest
from sqlalchemy import func, select

from demo import servers
from demo.servers import Server
from incidents import audit
from incidents.events import Alerted, Escalated, Opened
from incidents.incident import Incident
from incidents.ledger import Ledger
from incidents.models import Status
from incidents.schema import deliveries, episodes
from tests.flows.kit import ChangePlaybook, System
from tests.flows.serving import forget_waiting_runs, intake, post, runs_of, settled

ALERTS = 50
MOVE = '"POST /api/2.0/mlflow/registered-models/alias'


@pytest.fixture(autouse=True)
def on_postgres(postgres_database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The ledger of these tests, before anything opens one."""
    monkeypatch.setenv("LASTGOOD_DATABASE_URL", postgres_database)


@pytest.fixture
def web(deployed: None, broken_system: System, change_playbook: ChangePlaybook, tmp_path: Path) -> Iterator[list[str]]:
    """Two web processes and two workers; yields where the web processes are."""
    change_playbook(
        "cool_down_seconds: 5", "cool_down_seconds: 0"
    )  # so that it is nothing of that kind that holds back
    forget_waiting_runs()
    webs = [intake(tmp_path) for _ in range(2)]
    workers = [servers.worker(tmp_path / str(number)) for number in range(2)]
    with ExitStack() as stack:
        for server in (*webs, *workers):
            stack.callback(server.start().stop)
        for server in (*webs, *workers):
            server.wait_ready()
        yield [server.url for server in webs]


def bodies(assets: list[str], began: datetime) -> Iterator[tuple[str, bytes]]:
    """So many alerts, each of another kind and with a fingerprint of its own, half of each sender's; in turns."""
    for number in range(ALERTS):
        kind, name = assets[number // 4 % len(assets)].split(":")
        labels = {"alertname": f"RecallLow{number}", kind: name, "severity": "high", "shard": str(number)}
        at = {"startsAt": began.isoformat(), "fingerprint": f"{number:016x}"}
        if number // 2 % 2:
            yield "generic", json.dumps({"name": labels["alertname"], "labels": labels, **at}).encode()
        else:
            yield "alertmanager", json.dumps({"alerts": [{"status": "firing", "labels": labels, **at}]}).encode()


def post_all(web: list[str], assets: list[str], began: datetime) -> list[int]:
    """Post all of them at the same moment, alternately to both web processes."""
    barrier = Barrier(ALERTS)

    def deliver(place: int, sender: str, body: bytes) -> int:
        barrier.wait()
        return post(web[place % 2], sender, body).status_code

    with ThreadPoolExecutor(ALERTS) as pool:
        posted = [pool.submit(deliver, place, *one) for place, one in enumerate(bodies(assets, began))]
        return [one.result() for one in posted]


def moves_of_the_alias(mlflow: Server) -> int:
    """How often MLflow was asked to set an alias, from its own access log."""
    return mlflow.log.read_text().count(MOVE)


def all_are_kept(ledger: Ledger) -> None:
    """Every body and every episode is stored, and every alert of either sender is on the record."""
    with ledger.engine.connect() as connection:
        for table in (deliveries, episodes):
            assert connection.scalar(select(func.count()).select_from(table)) == ALERTS
    bodies = [event.body for event in ledger.events(kinds=["opened", "alerted"])]
    alerts = [body.alert for body in bodies if isinstance(body, Opened | Alerted) and body.alert is not None]
    assert len({alert.fingerprint for alert in alerts}) == len(alerts) == ALERTS
    assert {alert.source for alert in alerts} == {"alertmanager", "generic"}


def ended(ledger: Ledger) -> list[Incident]:
    """Every incident once it is over, the oldest first."""
    over = (Status.escalated, Status.resolved, Status.not_confirmed)
    return [settled(ledger, f"INC-{row.number}", 240, until=over) for row in reversed(ledger.incidents())]


def told(ledger: Ledger, kind: str) -> int:
    """How many events of a kind there are."""
    return len(ledger.events(kinds=[kind]))


def test_fifty_alerts_on_one_asset_are_one_remediation(
    web: list[str], broken_system: System, ledger: Ledger, mlflow_server: Server
) -> None:
    """No two of the alerts are the same, and yet one run brings the model back, by one move."""
    since, before = datetime.now(UTC), moves_of_the_alias(mlflow_server)
    assert post_all(web, ["model:fraud"], since) == [202] * ALERTS
    all_are_kept(ledger)
    [incident, *late] = ended(ledger)
    assert incident.status is Status.resolved, incident.last(Escalated)
    # An alert that comes after the fix finds nothing wrong any more; while the incident is open there is no other one.
    assert {one.status for one in late} <= {Status.not_confirmed}
    assert len(runs_of("model", since)) == told(ledger, "started") == 1 + len(late)
    assert [told(ledger, kind) for kind in ("applying", "applied", "undoing")] == [1, 1, 0]
    assert moves_of_the_alias(mlflow_server) - before == 1
    assert broken_system.alias == broken_system.model_good
    assert audit.verify(ledger).broken == ()


def test_alerts_on_a_dataset_and_its_model_move_each_once(
    web: list[str], broken_system: System, ledger: Ledger, mlflow_server: Server
) -> None:
    """Two sections that would move the same alias, at the same time and on two workers: one of them does."""
    since, before = datetime.now(UTC), moves_of_the_alias(mlflow_server)
    assert post_all(web, ["dataset:transactions", "model:fraud"], since) == [202] * ALERTS
    all_are_kept(ledger)
    incidents = ended(ledger)
    assert {incident.asset for incident in incidents} == {"dataset:transactions", "model:fraud"}
    assert {incident.status for incident in incidents} <= {Status.resolved, Status.not_confirmed}
    targets = sorted(str(event.subject) for event in ledger.events(kinds=["applied"]))
    assert targets == ["dataset:transactions", "models:/fraud@champion"]
    assert told(ledger, "undoing") == 0
    assert moves_of_the_alias(mlflow_server) - before == 1
    assert (broken_system.dataset, broken_system.alias) == (broken_system.good, broken_system.model_good)
    assert audit.verify(ledger).broken == ()
