"""The team's playbook as data: who may tell us what, where it goes, what may run, what is watched, who is told.

Unknown means no: an unknown key, a missing cell or a name that is not defined is refused when the playbook is
loaded, with the line it stands on.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Container, Mapping
from datetime import timedelta
from functools import cache, cached_property
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, Discriminator, Field, Tag, model_validator

from incidents.assets import Disk, Pipeline, Service, Url
from incidents.breach import Bucket, Evidence, IamUser, Input, ManagedSecret
from incidents.limits import Approvals, Autonomy, Budget, Freeze, Limits
from incidents.models import Alert, Category, Frozen, Mode, Risk, Severity
from incidents.redaction import redact
from incidents.settings import settings
from incidents.upkeep import Contest, Impute, Preprocessing, PromQuery, Quarantine, Reload, Training
from incidents.yaml_lines import read

#: Names of assets end up in paths, prefixes and targets.
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$")]


#: In doubt a property counts as secret: it can be given by the environment all the same.
_MAY_BE_SECRET = re.compile("token|secret|passw|pwd|credential|key|authorization|connection-string", re.IGNORECASE)


def _without_secrets(properties: dict[str, str]) -> dict[str, str]:
    for name, value in properties.items():
        if _MAY_BE_SECRET.search(name) or redact(value) != value:
            raise ValueError(f"{name} holds a secret: give it to pyiceberg as PYICEBERG_CATALOG__<NAME>__<PROPERTY>")
    return properties


#: What an Iceberg catalog is opened with: ``{type: rest, uri: "https://catalog"}``.
CatalogProperties = Annotated[dict[str, str], AfterValidator(_without_secrets)]

#: The name of an environment variable, not what it holds.
EnvName = Annotated[str, Field(pattern=r"^[A-Z_][A-Z0-9_]*$")]


class LakeFSServer(Frozen):
    """Where a lakeFS server is. Its credentials are in the environment, by default where ``lakectl`` takes them."""

    endpoint: Url = Field(description="`https://lakefs.example.org`, without /api/v1.")
    access_key_env: EnvName = Field("LAKECTL_CREDENTIALS_ACCESS_KEY_ID", description="The variable with the key's id.")
    secret_key_env: EnvName = Field("LAKECTL_CREDENTIALS_SECRET_ACCESS_KEY", description="The one with the key itself.")


#: What a section does with an asset that was confirmed to be bad.
WhenBad = Literal["roll_back", "freeze"]


def _is_pattern(text: str) -> str:
    try:
        re.compile(text)
    except re.error as error:
        raise ValueError(f"not a regular expression: {error}") from None
    return text


class Sender(Frozen):
    """Who may post alerts to ``/alerts/NAME``."""

    #: The adapter that reads its bodies.
    format: Literal["alertmanager", "generic"]
    #: The environment variable that holds its bearer token; the playbook itself holds no secret.
    token_env: str


class Channel(Frozen):
    """Where people are told: one Apprise URL, taken from the environment because it carries a secret."""

    url_env: str


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


class Route(Frozen):
    """Which alerts are what. The first route whose patterns all match decides."""

    #: Label -> regular expression that must match the whole value; an empty mapping matches everything.
    when: dict[str, Annotated[str, AfterValidator(_is_pattern)]]
    #: None: the alert is noise and opens no incident.
    category: Category | None
    #: What it is about, made of labels: ``dataset:{dataset}``. An asset that is not declared below counts as none.
    asset: str = ""
    #: Overrules the severity that the sender gave.
    severity: Severity | None = None

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Whether every pattern matches its label; a label that is missing counts as empty."""
        for label, fits in self._patterns:  # noqa: SIM110  # `all` takes twice as long
            if not fits(labels.get(label, "")):
                return False
        return True

    @cached_property
    def _patterns(self) -> list[tuple[str, Callable[[str], object]]]:
        return [(label, re.compile(pattern).fullmatch) for label, pattern in self.when.items()]

    def names(self, alert: Alert) -> str:
        """The asset that the alert's labels name; empty when a label is missing."""
        try:
            return self.asset.format_map(alert.labels)
        except (KeyError, ValueError, IndexError, AttributeError):
            return ""


#: An action that corrects a dataset.
Correcting = Literal["impute_missing", "quarantine_rows", "rerun_preprocessing"]


class Dataset(Frozen):
    """A dataset with versions, and what good data is."""

    #: Where its versions live: ``s3://bucket/prefix``, ``s3+versions://bucket/prefix`` or ``file:///folder``.
    store: str
    #: The module in ``expectations`` that holds its suite; None where there is none.
    suite: Name | None = None
    #: Of a larger version about so many rows are looked at, except for what only all rows can tell; None: always all.
    sample_rows: int | None = Field(default=None, ge=100_000)
    #: Whether it goes back to what was verified good, or stands still until a person has looked, and lifts that.
    when_bad: WhenBad = "roll_back"
    #: What is tried before either, one after the other; nothing unless given.
    correct: Correcting | tuple[Correcting, ...] = ()
    #: How much may be taken out of it; nothing unless given.
    quarantine: Quarantine | None = None
    #: Which missing values of it may be made up; none unless given.
    impute: Impute | None = None
    #: How a version of it is made anew; not at all unless given.
    preprocessing: Preprocessing | None = None

    @property
    def corrections(self) -> tuple[Correcting, ...]:
        """What is tried, in its order."""
        return (self.correct,) if isinstance(self.correct, str) else self.correct

    @model_validator(mode="after")
    def _can_be_corrected(self) -> Self:
        needs = {
            "impute_missing": (self.impute, "impute: {at_most: 0.05, columns: {age: {last_good: median}}}"),
            "quarantine_rows": (self.quarantine, "quarantine: {at_most: 0.2}"),
            "rerun_preprocessing": (self.preprocessing, "preprocessing: {deployment: clean/transactions}"),
        }
        for name in self.corrections:
            given, example = needs[name]
            if not (self.suite and given):
                raise ValueError(f"correct: {name} needs a suite, and {example} or the like")
        return self


class Sample(Frozen):
    """How a model's health is measured: answers of the live service compared with known labels."""

    #: The declared dataset that holds the labelled rows.
    dataset: Name
    label: str
    metric: Literal["recall", "precision", "accuracy"]
    #: The lowest value that counts as healthy, 0 to 1.
    at_least: float = Field(ge=0, le=1)
    #: The fewest rows that count for the metric (positives for recall); fewer are inconclusive.
    minimum: int = Field(gt=0)
    #: After a fix so many looks in a row have to be healthy.
    consecutive: int = Field(1, ge=1, le=100)


def _kind_of_health(given: object) -> str:
    """Which kind of health is meant; in brackets, because it is no key of the file."""
    asks = "query" in given if isinstance(given, dict) else isinstance(given, PromQuery)
    return "[query]" if asks else "[rows]"


#: Measured on labelled rows, or asked of Prometheus.
HealthSource = Annotated[
    Annotated[Sample, Tag("[rows]")] | Annotated[PromQuery, Tag("[query]")], Discriminator(_kind_of_health)
]


class Model(Frozen):
    """A registered model, the alias that is production, and the service that answers with it."""

    alias: Name = "champion"
    #: Whether it goes back to what was verified good, or stands still until a person has looked, and lifts that.
    when_bad: WhenBad = "roll_back"
    #: The declared datasets it is trained on. A version that does not say what it learned from is no target then.
    learns_from: tuple[Name, ...] = ()
    #: The service's base URL. It speaks MLflow's scoring protocol and says its version in ``X-Model-Version``.
    service: str | None = None
    #: How it shows which version it serves: it says so, or, where it says none, by answering as that version does.
    served_by: Literal["version", "predictions"] = "version"
    reload: Reload | None = None
    #: How another version is made of good data, and when it may take the place of the one in production.
    training: Training | None = None
    contest: Contest = Contest()
    health: HealthSource | None = None
    #: The version that answers while the service is isolated: simple, and safe by itself. People have chosen it.
    fallback: int | None = Field(default=None, ge=1)
    #: What its service lets in, and how that is tightened.
    input: Input | None = None
    #: Whether a version with a pickle that can run anything, or that can't be read, may be gone back to.
    unsafe_pickles: Literal["refuse", "allow"] = "refuse"

    @property
    def server(self) -> str | None:
        """Where its service runs, without what is its own in the address: several models may be served there."""
        if self.service is None:
            return None
        parts = urlsplit(self.service)
        return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"


class AnchorPlace(Frozen):
    """A place outside of the database where the head of the record is kept, so that a cut-off tail is found."""

    #: ``file:///path/anchors.jsonl`` or ``s3://bucket/prefix``.
    store: Annotated[str, Field(pattern=r"^(file:///|s3://[^/@]+/?)[^?#@]*$")]
    #: For so many days S3 keeps an anchor from everybody, its owner included; the bucket needs object lock for it.
    retain_days: int = Field(0, ge=0, le=36_500)

    @model_validator(mode="after")
    def _can_retain(self) -> Self:
        if self.retain_days and not self.store.startswith("s3://"):
            raise ValueError("retain_days is for anchors in S3: a file is kept by who owns its disk")
        return self


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
