"""What is learned from and what has learned, as the playbook declares it: datasets and models; when each is well."""

from __future__ import annotations

from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import Discriminator, Field, Tag, model_validator

from incidents.breach import Input
from incidents.models import Frozen
from incidents.upkeep import Contest, Impute, Preprocessing, PromQuery, Quarantine, Reload, Training

#: Names of assets end up in paths, prefixes and targets.
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$")]

#: What a section does with an asset that was confirmed to be bad.
WhenBad = Literal["roll_back", "freeze"]

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
