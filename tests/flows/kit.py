"""What the tests of the flows share besides fixtures."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from demo.servers import Server
from flows.case import Outcome
from incidents.events import Judged, Opened
from incidents.ledger import Ledger
from incidents.models import Category, Health, Severity, Verdict
from remediations.clients import registry
from remediations.datasets.base import DatasetStore

ROOT = Path(__file__).parents[2]
ROWS = 20_000

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
        """The broken version is current, and what learned from it is champion."""
        self.set(self.broken, self.model_broken)

    @property
    def dataset(self) -> str:
        """The version that the pointer names now."""
        return self.store.current().version

    @property
    def alias(self) -> int:
        """The version that the alias names now."""
        return int(registry().get_registered_model("fraud").aliases["champion"])


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
