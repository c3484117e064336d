"""From the bytes of an alert to the versions brought back, through the real intake, outbox, server and worker."""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest

from demo import servers
from demo.alert import alertmanager_bytes
from incidents import launch
from incidents.incident import Incident
from incidents.ledger import Ledger
from incidents.models import Status
from tests.flows.kit import ROOT, System
from tests.flows.serving import HEADERS, forget_waiting_runs, intake, runs_of, settled

#: Incidents that arrive at once; 200 take two minutes.
BURST = int(os.environ.get("BURST", "8"))


@dataclass(frozen=True)
class Running:
    """The intake, the worker behind it, and their ledger."""

    intake: httpx.Client
    ledger: Ledger

    def post(self, body: bytes) -> httpx.Response:
        """Post an alert as Alertmanager does."""
        return self.intake.post("/alerts/alertmanager", content=body, headers=HEADERS)

    def ended(self, incident: str, seconds: float = 120) -> Incident:
        """Wait until an incident is closed or with a person."""
        return settled(self.ledger, incident, seconds)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the ledger and the logs of this file lie."""
    return tmp_path_factory.mktemp("end-to-end")


@pytest.fixture
def tmp_path(folder: Path) -> Path:
    """The same for every test, because intake and worker, and so the ledger, are."""
    return folder


@pytest.fixture(scope="module")
def started(deployed: None, system: System, folder: Path) -> Iterator[str]:
    """Start the intake, with no credentials of production, and a worker that has them; yields the intake's address."""
    forget_waiting_runs()
    ours = {"LASTGOOD_HOME": str(folder / "lastgood"), "LASTGOOD_PLAYBOOK": str(ROOT / "playbook.yaml")}
    with intake(folder, **ours) as serving, servers.worker(folder, env=ours):
        yield serving.url


@pytest.fixture
def running(started: str, broken_system: System, ledger: Ledger) -> Iterator[Running]:
    """Intake and worker, and the system broken."""
    with httpx.Client(base_url=started, timeout=30) as client:
        yield Running(client, ledger)


def test_a_thousand_posts_of_one_alert_are_one_incident_one_run_and_one_fix(
    running: Running, broken_system: System
) -> None:
    """The same alert a thousand times is one incident and one run, and the system is really brought back."""
    since, before = datetime.now(UTC), len(running.ledger.incidents(limit=999))
    body = alertmanager_bytes("transactions", since)
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(running.post, [body] * 1000))
    assert Counter(answer.status_code for answer in answers) == {200: 999, 202: 1}
    [name] = {name for answer in answers for name in answer.json()["incidents"]}
    incident = running.ended(name)
    assert incident.status is Status.resolved, incident.events[-1].body
    assert (broken_system.dataset, broken_system.alias) == (broken_system.good, broken_system.model_good)
    assert len(running.ledger.incidents(limit=999)) == before + 1
    assert [event.body.kind for event in incident.events].count("started") == 1
    assert runs_of("data", since) == ["Resolved"]


def test_a_burst_of_incidents_is_each_worked_on_once(running: Running) -> None:
    """With room for four runs, every incident of a burst is worked on once, and none is forgotten."""
    alerts = json.loads(alertmanager_bytes("transactions", datetime.now(UTC)))
    [alert] = alerts["alerts"]
    alerts["alerts"] = [
        {**alert, "fingerprint": f"{number:016x}", "labels": {"alertname": f"RecallOf{number}", "severity": severity}}
        for number, severity in enumerate(["low", "critical"] * (BURST // 2))
    ]
    answer = running.post(json.dumps(alerts).encode())
    assert answer.status_code == 202
    names = set(answer.json()["incidents"])
    assert len(names) == BURST
    incidents = [running.ended(name, seconds=300) for name in names]
    assert {incident.status for incident in incidents} == {Status.escalated}
    kinds = [[event.body.kind for event in incident.events] for incident in incidents]
    assert all(story.count("started") == story.count("escalated") == 1 for story in kinds)


def test_an_action_started_by_name_lands_in_the_ledger_with_who_asked(running: Running, broken_system: System) -> None:
    """As the Prefect UI and the command line do it: a deployment by name, run by the worker, on the record."""

    async def ask() -> str:
        parameters = {"action": {"model": "fraud", "because": "it answers badly"}, "do": "apply", "asked_by": "anna"}
        run = await launch.launch("by_hand/revert_model", parameters, key=f"test {time.time()}", name="by hand")  # type: ignore[arg-type]  # it is JSON
        return await launch.wait(run, 120)

    assert asyncio.run(ask()) == "Resolved"
    assert broken_system.alias == broken_system.model_good
    newest = running.ledger.incidents()[0].number
    actors = {event.actor for event in running.ledger.events(incident=f"INC-{newest}")}
    assert {actor for actor in actors if not actor.startswith("channel:")} == {"person:anna"}
