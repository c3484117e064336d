"""The sections of the playbook that keep a model well: its health in Prometheus, and how its service is told."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Literal, Self

from pydantic import Field, JsonValue, model_validator

from incidents.models import Frozen

_HOLDS: dict[str, Callable[[float, float], bool]] = {
    ">=": operator.ge,
    "<=": operator.le,
    ">": operator.gt,
    "<": operator.lt,
}


class Quarantine(Frozen):
    """How much of a dataset may be taken out of it as bad rows."""

    at_most: float = Field(gt=0, lt=1, description="The largest share of the rows that may go, 0 to 1.")


class Fill(Frozen):
    """What a missing value is replaced by: a constant, or what the version last verified good before it has."""

    constant: bool | int | float | str | None = Field(
        None, description="Always this; the column has to hold it as it is."
    )
    last_good: Literal["median", "mode"] | None = Field(
        None,
        description="The middle (of two the lower) or the most frequent of its values in the last good version.",
    )
    same: str | None = Field(
        None, min_length=1, description="The column that names a row: the last good version's value for the same name."
    )

    @model_validator(mode="after")
    def _one_of_them(self) -> Self:
        if sum(one is not None for one in (self.constant, self.last_good, self.same)) != 1:
            raise ValueError("what is missing is replaced in one way: give constant, last_good or same")
        return self

    def __str__(self) -> str:
        """``the last good median``, in short."""
        if self.constant is not None:
            return f"the constant {self.constant!r}"
        return f"the last good {self.last_good}" if self.last_good else f"the last good value of the same {self.same}"


class Impute(Frozen):
    """Which missing values of a dataset may be made up, and of how many rows."""

    at_most: float = Field(gt=0, lt=1, description="The largest share of the rows that may get a value, 0 to 1.")
    columns: dict[str, Fill] = Field(min_length=1, description="Column -> what replaces its missing values.")


class Preprocessing(Frozen):
    """The team's own preprocessing as it is when it works: a Prefect deployment that makes a version anew.

    It is given ``dataset``, ``version`` (the current one), ``store`` and ``job``, and publishes what it makes there:
    ``open_store(store, dataset).publish(files)``. Nobody reads that place, so what it makes is looked at first.
    """

    deployment: str = Field(pattern=r"^[^/]+/[^/]+$", description="A Prefect deployment: flow/name.")
    within_seconds: float = Field(3600, gt=0, le=86400 * 2, description="How long it may take.")


class PromQuery(Frozen):
    """An asset's health as Prometheus tells it: a query of one number, and what that has to be."""

    url: str = Field(pattern=r"^https?://", description="Prometheus, or whatever speaks its HTTP API.")
    query: str = Field(min_length=1, description="The alert's own query: PromQL that gives one number.")
    healthy: str = Field(
        pattern=r"^(>=|<=|>|<) *-?[0-9]+(\.[0-9]+)?$", description="What that is when all is well: '>= 0.7'."
    )
    samples: str | None = Field(None, description="A query of how many samples the number is made of. None: unknown.")
    minimum: float = Field(0, ge=0, description="The fewest samples; fewer are inconclusive.")
    consecutive: int = Field(
        1, ge=1, le=100, description="After a fix so many looks in a row have to be healthy, every_seconds apart."
    )
    version_label: str | None = Field(
        None,
        description="The label of the number that says which version it is about. Without it no version is put on the "
        "record as good, for it is not seen to be the one that serves.",
    )
    token_env: str | None = Field(None, description="The environment variable with a bearer token; None: no token.")

    def holds(self, value: float) -> bool:
        """Whether a value is one of a healthy asset; NaN never is."""
        sign = next(sign for sign in _HOLDS if self.healthy.startswith(sign))
        return _HOLDS[sign](value, float(self.healthy.removeprefix(sign)))


class Reload(Frozen):
    """How a service that does not follow the alias by itself is told to load what is in production."""

    url: str = Field(pattern=r"^https?://", description="Where it is told.")
    method: Literal["POST", "PUT", "GET"] = "POST"
    token_env: str | None = Field(
        None, description="The environment variable with a bearer token. None: it needs none."
    )
    after_seconds: float = Field(
        5, ge=0, le=600, description="How long after the pointer moved it may still follow by itself."
    )


class Training(Frozen):
    """Where a model is trained: one entry point of the team's own, which registers what it made.

    It is given ``model``, ``dataset``, ``dataset_version`` and ``job``, logs the dataset's name and version as input of
    its run, and gives the model version that it registers the tag ``lastgood_job`` with that job.
    """

    deployment: str | None = Field(None, pattern=r"^[^/]+/[^/]+$", description="A Prefect deployment: flow/name.")
    project: str | None = Field(
        None, description="The URI of an MLflow project; it runs in this process's environment."
    )
    sagemaker: dict[str, JsonValue] | None = Field(
        None, description="What CreateTrainingJob is given, without the name; the parameters become HyperParameters."
    )
    within_seconds: float = Field(3600, gt=0, le=86400 * 2, description="How long it may take.")

    @model_validator(mode="after")
    def _one_of_them(self) -> Self:
        if sum(one is not None for one in (self.deployment, self.project, self.sagemaker)) != 1:
            raise ValueError("a training is one of deployment, project and sagemaker")
        return self


class Contest(Frozen):
    """When a challenger may take the champion's place: not worse on the same rows, neither in all nor on a slice."""

    margin: float = Field(0.01, ge=0, le=1, description="So much less of the metric is not worse.")
    confidence: float = Field(0.95, gt=0.5, lt=1, description="Of the bootstrap interval's lower bound, one-sided.")
    resamples: int = Field(2000, ge=200, le=100_000)
    slices: tuple[str, ...] = Field((), description="Columns; for each of their values it is looked at by itself.")
    slice_margin: float = Field(0.05, ge=0, le=1, description="So much less of the metric on one slice is not worse.")
    slice_minimum: int = Field(50, gt=0, description="Slices with fewer rows that count are left out.")
