"""What the tests of the flows share besides fixtures."""

from __future__ import annotations

import asyncio
import secrets
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from demo import servers, transactions
from demo.servers import Server, free_port
from demo.training import train
from flows.case import Outcome
from incidents.events import Judged, Opened
from incidents.ledger import Ledger
from incidents.models import Category, Health, Severity, Verdict
from remediations.clients import registry
from remediations.datasets import open_store
from remediations.datasets.base import DatasetStore
from remediations.refusals import TAG as SHUT

ROOT = Path(__file__).parents[2]
ROWS = 20_000

#: With this header the service is told to look at its alias at once.
RELOAD = {"Authorization": "Bearer of the tests"}

#: Replaces texts in the playbook of one test: old, new, old, new.
ChangePlaybook = Callable[..., None]


@dataclass
class System:
    """The system's parts, and a way to put it into the state that a test begins with."""

    store: DatasetStore
    service: Server
    #: Dataset versions, and the model versions trained on each.
    good: str
    broken: str
    model_good: int
    model_broken: int

    def set(self, dataset: str, model: int) -> None:
        """Make a dataset version current and a model version champion, as people and pipelines do."""
        self.store.move(self.store.pointer_to(dataset, by="test"), expect=self.store.current())
        registry().set_registered_model_alias("fraud", "champion", str(model))

    def break_it(self) -> None:
        """The broken version is current, and what learned from it is champion and shut away by nobody."""
        self.set(self.broken, self.model_broken)
        registry().delete_model_version_tag("fraud", str(self.model_broken), SHUT)

    @property
    def dataset(self) -> str:
        """The version that the pointer names now."""
        return self.store.current().version

    @property
    def alias(self) -> int:
        """The version that the alias names now."""
        return int(registry().get_registered_model("fraud").aliases["champion"])


@contextmanager
def small_system(folder: Path, reload_seconds: float = 0.2) -> Iterator[System]:
    """Good and broken data in S3, a model of each in MLflow, and a service that follows the alias."""
    root = f"s3://{servers.BUCKET}/flows-{secrets.token_hex(4)}"
    store = open_store(f"{root}/transactions", "transactions")
    labelled = open_store(f"{root}/labelled_transactions", "labelled_transactions")
    good = transactions.generate(ROWS)
    versions: dict[str, tuple[str, int]] = {}
    for name, frame in {"good": good, "broken": transactions.break_feed(good)}.items():
        files = transactions.write_parquet(frame, folder / name)
        version = store.publish(files).version
        trained = train(files, dataset="transactions", version=version, source=root, model="fraud", alias="champion")
        versions[name] = version, trained
    store.move(store.pointer_to(versions["good"][0], by="test"), expect=None)
    sample = transactions.write_parquet(transactions.generate(8_000, seed=99), folder / "labelled", parts=1)
    labelled.move(labelled.pointer_to(labelled.publish(sample).version, by="test"), expect=None)
    with _service(folder, reload_seconds) as service, pytest.MonkeyPatch.context() as patch:
        patch.setenv("LASTGOOD_STORE", root)
        patch.setenv("LASTGOOD_FRAUD_SERVICE", service.url)
        yield System(
            store=store,
            service=service,
            good=versions["good"][0],
            broken=versions["broken"][0],
            model_good=versions["good"][1],
            model_broken=versions["broken"][1],
        )


def run(section: Any, incident: str) -> Outcome:
    """Run a section as Prefect does, in this process."""
    outcome = asyncio.run(section(incident))
    assert isinstance(outcome, Outcome)
    return outcome


def judge(ledger: Ledger, subject: str, version: str, health: Health = Health.healthy) -> None:
    """Put on the record that a version was looked at."""
    ledger.append(Judged(version=version, verdict=Verdict(health=health, why="seen")), actor="test", subject=subject)


def opened(ledger: Ledger, asset: str | None, category: Category, severity: Severity = Severity.high) -> str:
    """Open an incident, as the intake does."""
    with ledger.write() as writer:
        body = Opened(category=category, severity=severity, asset=asset, title="a test's trouble")
        return writer.open(body, actor="test")


def kinds(ledger: Ledger, incident: str) -> list[str]:
    """The kinds of an incident's events, in order."""
    return [event.body.kind for event in ledger.events(incident=incident)]


def _service(folder: Path, reload_seconds: float) -> Server:
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    flags: dict[str, Any] = {"model": "fraud", "alias": "champion", "port": port, "reload-seconds": reload_seconds}
    return Server(
        name="model service",
        argv=[sys.executable, "-m", "demo.service", *(f"--{name}={value}" for name, value in flags.items())],
        log=folder / "service.log",
        ready=lambda: httpx.get(f"{url}/health").is_success,
        url=url,
        settings={"DEMO_RELOAD_TOKEN": "of the tests"},
    )
