"""What is served for the tests from end to end: the intake as a process of its own, and what came of what it took."""

from __future__ import annotations

import os
import time
from collections.abc import Container
from datetime import datetime
from pathlib import Path

import httpx

from demo.process import executable
from demo.servers import Server, free_port
from incidents.incident import Incident, find
from incidents.ledger import Ledger
from incidents.models import Status

#: What every sender shows.
TOKEN = "a token of these tests alone"
HEADERS = {"Content-Type": "application/json", "Authorization": f"Bearer {TOKEN}"}

SETTLED = (Status.waiting, Status.escalated, Status.resolved, Status.not_confirmed)


def intake(folder: Path, **ours: str) -> Server:
    """The web process, with no credentials of production; ``ours`` are settings of its own."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    hidden = {name: "" for name in os.environ if name.startswith(("AWS_", "MLFLOW_TRACKING"))}
    tokens = {f"LASTGOOD_TOKEN_{sender}": TOKEN for sender in ("ALERTMANAGER", "GENERIC")}
    return Server(
        name="intake",
        argv=[executable("lastgood"), "serve", "--port", str(port)],
        log=folder / f"intake-{port}.log",
        ready=lambda: httpx.get(f"{url}/health").is_success,
        url=url,
        settings={**hidden, **tokens, **ours},
    )


def post(url: str, sender: str, body: bytes) -> httpx.Response:
    """Post a delivery as a sender does."""
    return httpx.post(f"{url}/alerts/{sender}", content=body, headers=HEADERS, timeout=30)


def settled(ledger: Ledger, incident: str, seconds: float = 120, until: Container[Status] = SETTLED) -> Incident:
    """Wait until an incident is closed, with a person or waits for one."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        found = find(ledger, incident)
        if found.status in until:
            return found
        time.sleep(0.2)
    raise AssertionError(f"{incident} is still {found.status}: {[event.body.kind for event in found.events]}")


def forget_waiting_runs() -> None:
    """Delete the runs for incidents that no worker took up: they are of another test, and of its ledger."""
    asked = {"flow_runs": {"name": {"like_": "INC-"}, "state": {"type": {"any_": ["SCHEDULED", "PENDING"]}}}}
    with httpx.Client(base_url=os.environ["PREFECT_API_URL"], timeout=30) as client:
        for run in client.post("flow_runs/filter", json=asked).raise_for_status().json():
            client.delete(f"flow_runs/{run['id']}").raise_for_status()


def runs_of(deployment: str, since: datetime) -> list[str]:
    """The states that a deployment's runs ended in, as Prefect has them; it hears of the end after the ledger does."""
    asked = {
        "deployments": {"name": {"any_": [deployment]}},
        "flow_runs": {"expected_start_time": {"after_": since.isoformat()}},
    }
    end = time.monotonic() + 60
    while True:
        answer = httpx.post(f"{os.environ['PREFECT_API_URL']}/flow_runs/filter", json=asked)
        runs = answer.raise_for_status().json()
        if time.monotonic() > end or not {run["state_type"] for run in runs} & {"SCHEDULED", "PENDING", "RUNNING"}:
            return [run["state_name"] for run in runs]
        time.sleep(0.2)
