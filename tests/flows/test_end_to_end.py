"""From the bytes of an alert to the versions brought back, through the real intake, outbox, server and worker."""

from __future__ import annotations

import asyncio
import json
import os
import time
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
from tests.flows.kit import System
from tests.flows.serving import intake, post, runs_of, settled

#: Incidents that arrive at once; 200 take two minutes.
BURST = int(os.environ.get("BURST", "8"))


@dataclass(frozen=True)
class Running:
    """The intake and the worker, over the ledger of one test."""

    intake: str
    ledger: Ledger

    def post(self, body: bytes) -> httpx.Response:
        """Post an alert as Alertmanager does."""
        return post(self.intake, "alertmanager", body)

    def ended(self, incident: str, seconds: float = 120) -> Incident:
        """Wait until an incident is closed or with a person."""
        return settled(self.ledger, incident, seconds)


@pytest.fixture
def running(deployed: None, broken_system: System, ledger: Ledger, tmp_path: Path) -> Iterator[Running]:
    """Start the intake, with no credentials of production, and a worker that has them."""
    with intake(tmp_path) as serving, servers.worker(tmp_path):
        yield Running(serving.url, ledger)


def test_a_thousand_posts_of_one_alert_are_one_incident_one_run_and_one_fix(
    running: Running, broken_system: System
) -> None:
    """The same alert a thousand times is one incident and one run, and the system is really brought back."""
    since = datetime.now(UTC)
    body = alertmanager_bytes("transactions", since)
    with ThreadPoolExecutor(8) as pool:
        answers = [answer.status_code for answer in pool.map(running.post, [body] * 1000)]
    assert sorted(set(answers)) == [200, 202]
    assert answers.count(202) == 1
    incident = running.ended("INC-1")
    assert incident.status is Status.resolved, incident.events[-1].body
    assert (broken_system.dataset, broken_system.alias) == (broken_system.good, broken_system.model_good)
    assert [row.number for row in running.ledger.incidents()] == [1]
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
    assert running.post(json.dumps(alerts).encode()).status_code == 202
    incidents = [running.ended(f"INC-{number}", seconds=300) for number in range(1, BURST + 1)]
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
    actors = {event.actor for event in running.ledger.events(incident="INC-1")}
    assert {actor for actor in actors if not actor.startswith("channel:")} == {"person:anna"}
