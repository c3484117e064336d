"""The team's playbook as data: who may tell us what, where it goes, what may run, what is watched, who is told.

Unknown means no: an unknown key, a missing cell or a name that is not defined is refused when the playbook is
loaded, with the line it stands on.
"""

from __future__ import annotations

import hashlib
from collections.abc import Container, Mapping
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, model_validator

from incidents.assets import Disk, Pipeline, Service
from incidents.breach import Bucket, Evidence, IamUser, ManagedSecret
from incidents.learning import Correcting, Dataset, HealthSource, Model, Name, Sample, WhenBad
from incidents.limits import Approvals, Autonomy, Budget, Freeze, Limits
from incidents.models import Alert, Category, Frozen, Mode, Risk, Severity
from incidents.places import AnchorPlace, CatalogProperties, EnvName, LakeFSServer
from incidents.routes import Channel, Route, Sender
from incidents.settings import settings
from incidents.yaml_lines import read

__all__ = [
    "ActionRule",
    "AnchorPlace",
    "CatalogProperties",
    "Channel",
    "Correcting",
    "Dataset",
    "EnvName",
    "HealthSource",
    "LakeFSServer",
    "Model",
    "Name",
    "Playbook",
    "Route",
    "Sample",
    "Sender",
    "Watch",
    "WhenBad",
    "load",
    "playbook",
]


class ActionRule(Frozen):
    """How far one action may go, whatever the matrix says."""

    mode: Mode
    budget: Budget | None = Field(None, description="In place of limits.per_action.")
    cool_down_seconds: float | None = Field(
        None, ge=0, le=86400 * 31, description="In place of limits.cool_down_seconds."
    )


class Watch(Frozen):
    """How long after a fix the symptom is looked for, in seconds. The first looks come sooner, then ever less often."""

    #: The longest wait between two looks.
    every_seconds: float = Field(gt=0, le=3600)
    within_seconds: float = Field(gt=0, le=86400)

    def shortened(self, seconds: float) -> Watch:
        """The same, for so long at the most."""
        return self.model_copy(update={"within_seconds": min(seconds, self.within_seconds)})


class Playbook(Frozen):
    """Everything the team has decided beforehand."""

    version: Literal[1]
    senders: dict[Name, Sender]
    #: Severity x risk -> run, ask or never. Every cell is decided.
    gates: dict[Severity, dict[Risk, Mode]]
    #: Action -> its rule. An action with no rule asks.
    actions: dict[str, ActionRule]
    limits: Limits = Limits()
    #: Times in which nothing runs by itself.
    freeze: tuple[Freeze, ...] = ()
    autonomy: Autonomy = Autonomy()
    approvals: Approvals = Approvals()
    watch: dict[Severity, Watch]
    #: Who takes over an incident of a category.
    owners: dict[Category, str]
    channels: dict[Name, Channel] = Field(default_factory=dict)
    tell: dict[Severity, tuple[Name, ...]] = Field(default_factory=dict)
    routes: tuple[Route, ...]
    #: Iceberg's catalogs: what pyiceberg is given to reach each, without secrets.
    catalogs: dict[Name, CatalogProperties] = Field(default_factory=dict)
    #: lakeFS's servers, by the names that addresses of datasets give them.
    lakefs: dict[Name, LakeFSServer] = Field(default_factory=dict)
    datasets: dict[Name, Dataset] = Field(default_factory=dict)
    models: dict[Name, Model] = Field(default_factory=dict)
    services: dict[Name, Service] = Field(default_factory=dict)
    pipelines: dict[Name, Pipeline] = Field(default_factory=dict)
    disks: dict[Name, Disk] = Field(default_factory=dict)
    #: What may be contained besides the above, by the names that alerts give them.
    buckets: dict[Name, Bucket] = Field(default_factory=dict)
    iam_users: dict[Name, IamUser] = Field(default_factory=dict)
    secrets: dict[Name, ManagedSecret] = Field(default_factory=dict)
    #: Where evidence is kept; nowhere unless given, and then nothing is contained without a person.
    evidence: Evidence | None = None
    #: Where the head of the record is kept outside; nowhere unless given.
    anchors: tuple[AnchorPlace, ...] = ()
    #: SHA-256 of the file, so that a decision on the record names the playbook that made it.
    digest: str = Field(default="", exclude=True)

    @model_validator(mode="after")
    def _whole(self) -> Self:
        for field in ("gates", "watch", "owners"):
            _all_of(field, getattr(self, field), Category if field == "owners" else Severity)
        for severity, row in self.gates.items():
            _all_of(f"gates.{int(severity)}", row, Risk)
        for severity, names in self.tell.items():
            _known(f"tell.{int(severity)}", names, self.channels, "channels")
        for name, dataset in self.datasets.items():
            if dataset.store.startswith("lakefs:"):
                _known(f"datasets.{name}", (urlsplit(dataset.store).netloc.rpartition("@")[2],), self.lakefs, "lakefs")
        for name, model in self.models.items():
            sample = (model.health.dataset,) if isinstance(model.health, Sample) else ()
            _known(f"models.{name}", (*model.learns_from, *sample), self.datasets, "datasets")
            if model.training and len(model.learns_from) != 1:
                raise ValueError(f"models.{name} has a training, which is for a model that learns_from one dataset")
            if isinstance(model.health, Sample) and not model.service:
                raise ValueError(f"models.{name} has a health but no service: health is measured over the service")
            if model.reload and not model.service:
                raise ValueError(f"models.{name} has a reload but no service that could be seen to serve")
        return self

    @property
    def back(self) -> timedelta:
        """How far back the gates look on the record."""
        budgets = [self.limits.per_action, self.limits.per_asset, self.limits.storm, self.limits.flapping]
        budgets += [rule.budget for rule in self.actions.values() if rule.budget]
        pauses = [
            self.limits.cool_down_seconds,
            self.limits.taken_back_minutes * 60,
            *(rule.cool_down_seconds or 0 for rule in self.actions.values()),
        ]
        return max(
            timedelta(days=self.autonomy.days),
            timedelta(seconds=max(pauses)),
            timedelta(minutes=self.limits.taken_back_minutes),
            *(budget.window for budget in budgets),
        )

    def route(self, alert: Alert) -> Route | None:
        """The first route that matches, or None."""
        labels = {**alert.labels, "alertname": alert.name}
        return next((route for route in self.routes if route.matches(labels)), None)

    def asset(self, name: str) -> str | None:
        """The name if it is a declared asset: ``dataset:transactions``, ``service:scoring``; None otherwise."""
        kind, _, rest = name.partition(":")
        declared: dict[str, Container[str]] = {
            "bucket": self.buckets,
            "dataset": self.datasets,
            "disk": self.disks,
            "iam_user": self.iam_users,
            "model": self.models,
            "pipeline": self.pipelines,
            "secrets_manager": self.secrets,  # and not `secret:`, after which the redaction looks for one
            "service": self.services,
        }
        return name if rest in declared.get(kind, ()) else None


def load(path: Path, environment: Mapping[str, str] | None = None) -> Playbook:
    """Read a playbook file; ``${NAME}`` and ``${NAME:-default}`` in it come from the environment.

    Raises:
        incidents.yaml_lines.Refused: it is not a valid playbook; the message has a line a finding.
    """
    document = read(path, Playbook, environment)
    return document.model_copy(update={"digest": hashlib.sha256(path.read_bytes()).hexdigest()})


@cache
def playbook() -> Playbook:
    """The playbook of this process's settings, loaded once."""
    return load(settings().playbook)


def _all_of(where: str, given: Mapping[Any, object], needed: type[Severity] | type[Risk] | type[Category]) -> None:
    missing = [str(member.value) for member in needed if member not in given]
    if missing:
        raise ValueError(f"{where} says nothing about {', '.join(missing)}; every one must be decided")


def _known(where: str, names: tuple[str, ...], declared: Mapping[str, object], section: str) -> None:
    unknown = [name for name in names if name not in declared]
    if unknown:
        raise ValueError(f"{where} names {', '.join(unknown)}, which {section} does not declare")
