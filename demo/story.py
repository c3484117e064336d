"""The demo's story: a good system is published, broken for real, and left to heal by itself."""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pandas as pd

from demo import transactions
from demo.alert import alertmanager_bytes
from demo.stage import STORE, Places
from demo.training import train
from flows.checks import ModelCheck
from incidents import launch
from incidents.incident import Incident, find
from incidents.ledger import ledger
from incidents.models import Status
from remediations.datasets import open_store
from remediations.lineage import serving

DATASET, LABELLED, MODEL = "transactions", "labelled_transactions", "fraud"


@dataclass(frozen=True)
class World:
    """What production is at one moment, read from the parts themselves and not from lastgood."""

    #: The version that the dataset's pointer in S3 names.
    dataset: str
    #: The version that the alias in MLflow names.
    alias: int
    #: The version that the service says it answers with.
    served: str
    #: The service's recall on rows whose truth is known; None where it could not be measured.
    recall: float | None


def look(places: Places) -> World:
    """Read the S3 pointer, the MLflow alias, and the service's own word; measure its recall."""
    with httpx.Client(timeout=5) as client:
        try:
            served = str(client.get(f"{places.service}/health").json()["version"])
        except httpx.HTTPError:
            served = "nothing: it does not answer"
    value = ModelCheck(model=MODEL).look().verdict.evidence.get("value")
    return World(
        dataset=open_store(f"{STORE}/{DATASET}", DATASET).current().version,
        alias=serving(MODEL, "champion"),
        served=served,
        recall=float(value) if isinstance(value, int | float) else None,
    )


def publish_good(rows: int) -> None:
    """Publish rows whose truth is known, and a good version, and train version 1 on the good one."""
    with tempfile.TemporaryDirectory(prefix="lastgood-demo-") as folder:
        _publish(LABELLED, transactions.write_parquet(transactions.generate(20_000, seed=99), Path(folder)))
    _publish_and_train(transactions.generate(rows))


def publish_broken(rows: int) -> None:
    """A broken feed becomes the current version, and the nightly training promotes what it learned from it."""
    _publish_and_train(transactions.break_feed(transactions.generate(rows, seed=8)))


def monitor() -> None:
    """Run the monitor flow once: from here on what is good is known to be good.

    Raises:
        RuntimeError: it did not complete.
    """

    async def look_once() -> str:
        run = await launch.launch("monitor/monitor", {}, key=f"monitor {time.time()}", name="the first look")
        return await launch.wait(run, 120)

    ended = asyncio.run(look_once())
    if ended != "Completed":
        raise RuntimeError(f"the monitor flow ended as {ended}")


def wait_served(places: Places, version: int, seconds: float = 60) -> None:
    """Wait until the service itself says that it serves ``version``.

    Raises:
        TimeoutError: it does not.
    """
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        with httpx.Client(timeout=5) as client:
            if client.get(f"{places.service}/health").json().get("version") == version:
                return
        time.sleep(0.2)
    raise TimeoutError(f"the model service does not serve version {version}")


def post_alert(places: Places) -> tuple[int, str]:
    """Send the alert as Alertmanager 0.25 does; returns the intake's status code and the incident's name.

    Raises:
        RuntimeError: the intake did not take it.
    """
    body = alertmanager_bytes(DATASET, datetime.now(UTC))
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {places.token}"}
    answer = httpx.post(f"{places.intake}/alerts/alertmanager", content=body, headers=headers, timeout=10)
    if not answer.is_success:
        raise RuntimeError(f"the intake answered {answer.status_code}: {answer.text}")
    return answer.status_code, answer.json()["incidents"][0]


def follow(name: str, seen: Callable[[Incident], None], seconds: float = 120) -> Incident:
    """Follow an incident on the ledger until it is closed or with a person; ``seen`` is called at every change.

    Raises:
        TimeoutError: neither happened in time.
    """
    end, count = time.monotonic() + seconds, 0
    while time.monotonic() < end:
        incident = find(ledger(), name)
        if len(incident.events) > count:
            count = len(incident.events)
            seen(incident)
        if incident.status is not Status.open:
            return incident
        time.sleep(0.1)
    raise TimeoutError(f"{name} is still open after {seconds:.0f} s")


def problems(before: World, after: World) -> list[str]:
    """What is wrong with the end state, compared with the good one; empty when it is healed."""
    found = [
        f"{name} is {now} and not {then}"
        for name, then, now in [
            ("the S3 pointer", before.dataset, after.dataset),
            ("the MLflow alias", before.alias, after.alias),
            ("what the service answers with", before.served, after.served),
        ]
        if then != now
    ]
    if after.recall is None or before.recall is None or after.recall < before.recall - 0.01:
        found.append(f"the recall is {after.recall} and was {before.recall}")
    return found


def _publish_and_train(frame: pd.DataFrame) -> None:
    with tempfile.TemporaryDirectory(prefix="lastgood-demo-") as folder:
        files = transactions.write_parquet(frame, Path(folder))
        version = _publish(DATASET, files)
        source = f"{STORE}/{DATASET}/manifests/{version}.json"
        train(files, dataset=DATASET, version=version, source=source, model=MODEL, alias="champion")


def _publish(dataset: str, files: list[Path]) -> str:
    """Publish files as the dataset's next version, and make it the current one."""
    store = open_store(f"{STORE}/{dataset}", dataset)
    version = store.publish(files).version
    current = store.current() if len(store.versions()) > 1 else None
    store.move(store.pointer_to(version, by="nightly feed"), expect=current)
    return version
