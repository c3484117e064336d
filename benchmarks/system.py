"""The demo's system, kept running, to be broken and fixed many times: by the warm worker and by Prefect's own."""

from __future__ import annotations

import asyncio
import json
import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx

from demo import servers, story
from demo.alert import alertmanager_bytes
from demo.stage import ROOT, STORE, Places, prepare, running
from remediations.clients import registry
from remediations.datasets import open_store

#: Rows of each version of the dataset, as in the demo.
ROWS = 200_000

#: How often the service looks at its alias, in seconds. It keeps the version before loaded.
RELOAD = 0.05


@dataclass
class System:
    """The running system, and its two states."""

    folder: Path
    places: Places
    good: tuple[str, int]
    broken: tuple[str, int]

    @contextmanager
    def process_worker(self) -> Iterator[None]:
        """Prefect's process worker beside it, on a work pool of its own: ``stock``."""
        asyncio.run(_pool("stock"))
        with servers.process_worker(self.folder, "stock", self.places.env):
            yield

    def break_it(self) -> None:
        """The broken dataset is current, the model that learned from it is served; nothing is under way."""
        dataset, model = self.broken
        store = open_store(f"{STORE}/transactions", "transactions")
        store.move(store.pointer_to(dataset, by="bench"), expect=store.current())
        registry().set_registered_model_alias("fraud", "champion", str(model))
        self.wait_served(model)

    def wait_served(self, version: int, seconds: float = 90) -> float:
        """The time since when the service answers with a version, which it says itself: looking seldom costs little.

        Raises:
            TimeoutError: it does not.
        """
        end = time.time() + seconds
        with httpx.Client(timeout=5) as client:
            while time.time() < end:
                said = client.get(f"{self.places.service}/health").json()
                if said["version"] == version:
                    return float(said["since"])
                time.sleep(0.05)
        raise TimeoutError(f"the service does not answer with version {version}")

    def post(self, category: str) -> str:
        """Post an alert as Alertmanager does; returns the incident."""
        body = alertmanager_bytes("transactions", datetime.now(UTC))
        if category == "model":
            told = json.loads(body)
            told["alerts"][0]["labels"] = {"alertname": "ModelRecallLow", "model": "fraud", "severity": "high"}
            body = json.dumps(told).encode()
        headers = {"Content-Type": "application/json", "Authorization": f"Bearer {self.places.token}"}
        answer = httpx.post(f"{self.places.intake}/alerts/alertmanager", content=body, headers=headers, timeout=10)
        return str(answer.raise_for_status().json()["incidents"][0])


@contextmanager
def system(folder: Path) -> Iterator[System]:
    """Start S3, MLflow, Prefect on SQLite, intake, service and a warm worker: what the demo starts."""
    stage = prepare(folder, reload_seconds=RELOAD, playbook=_unlimited(folder))
    with running(stage, _quietly, lambda: story.publish_good(ROWS)):
        story.monitor()
        good = _now()
        story.publish_broken(ROWS)
        made = System(folder, stage.places, good, _now())
        made.wait_served(made.broken[1])
        yield made


def _unlimited(folder: Path) -> Path:
    """The shipped playbook without the limits on how often something runs, all of whose gates are asked as ever."""
    text = (ROOT / "playbook.yaml").read_text(encoding="utf-8")
    text = re.sub(r"at_most: \d+", "at_most: 1000000", text)
    file = folder / "playbook.yaml"
    text = re.sub(r"cool_down_seconds: \d+", "cool_down_seconds: 0", text)
    file.write_text(re.sub(r"taken_back_minutes: \d+", "taken_back_minutes: 0", text), encoding="utf-8")
    return file


async def use(pool: str) -> None:
    """Let the deployments of the sections run on this work pool."""
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.actions import DeploymentUpdate

    async with get_client() as client:
        for name in ("data/data", "model/model"):
            found = await client.read_deployment_by_name(name)
            await client.update_deployment(found.id, DeploymentUpdate(work_pool_name=pool))


async def asked_at(incident: str) -> float:
    """When Prefect was asked for an incident's run."""
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterName

    async with get_client() as client:
        wanted = FlowRunFilter(name=FlowRunFilterName(like_=f"{incident} "))
        [found] = await client.read_flow_runs(flow_run_filter=wanted)
    assert found.created is not None
    return found.created.timestamp()


async def _pool(name: str) -> None:
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.actions import WorkPoolCreate
    from prefect.workers.process import ProcessWorker

    async with get_client() as client:
        template = ProcessWorker.get_default_base_job_template()
        await client.create_work_pool(WorkPoolCreate(name=name, type="process", base_job_template=template))


def _now() -> tuple[str, int]:
    current = open_store(f"{STORE}/transactions", "transactions").current().version
    return current, int(registry().get_registered_model("fraud").aliases["champion"])


def _quietly(_text: str, work: Any, *arguments: object) -> Any:
    return work(*arguments)


def prefect_is_fresh() -> None:
    """Let this process's Prefect read the environment again, which now names the bench's server."""
    from prefect.context import refresh_global_settings_context

    assert os.environ["PREFECT_API_URL"]
    refresh_global_settings_context()
