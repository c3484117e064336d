"""What runs, as the playbook declares it: services, pipelines, disks; where each is, how far it may be changed."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from incidents.models import Frozen

#: Names of what is in AWS and Kubernetes end up in ARNs and addresses.
Word = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$")]
Url = Annotated[str, Field(pattern=r"^https?://[^\s@?#]+$")]
Place = Annotated[str, Field(pattern=r"^s3://[^/@\s]+/[^?#@\s]+$")]


class Probe(Frozen):
    """How the health of something that runs is measured: by asking its own URL, or by a Prometheus query."""

    url: Url | None = Field(None, description="Answers 2xx when it is well, 5xx or too late when it is not.")
    asks: int = Field(3, ge=1, le=100, description="How often the URL is asked in one look.")
    within_seconds: float = Field(2, gt=0, le=30, description="An answer that takes longer counts as bad.")

    prometheus: Url | None = Field(None, description="The base URL of a Prometheus.")
    query: str = Field("", description="PromQL that gives one number.")
    at_most: float | None = Field(None, description="The highest number that is healthy.")
    at_least: float | None = Field(None, description="The lowest number that is healthy.")
    counts: str = Field("", description="PromQL that gives how many requests or samples the number is made of.")
    minimum: int = Field(1, ge=1, description="With fewer than so many it is inconclusive.")

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if (self.url is None) == (self.prometheus is None):
            raise ValueError("a health is measured in one way: give url or prometheus")
        if self.prometheus and (not self.query or (self.at_most is None) == (self.at_least is None)):
            raise ValueError("a health by prometheus needs a query, and one of at_most and at_least")
        return self


class Ecs(Frozen):
    """A service of Amazon ECS."""

    kind: Literal["ecs"]
    cluster: Word
    service: Word


class Asg(Frozen):
    """An Auto Scaling group of EC2."""

    kind: Literal["asg"]
    group: Word


class SageMaker(Frozen):
    """One variant of a SageMaker endpoint."""

    kind: Literal["sagemaker"]
    endpoint: Word
    variant: Word


class Kubernetes(Frozen):
    """A Deployment in Kubernetes, reached over its API server."""

    kind: Literal["kubernetes"]
    api: Url
    namespace: Word
    deployment: Word
    token_file: str = Field(
        "/var/run/secrets/kubernetes.io/serviceaccount/token", description="The file that holds the bearer token."
    )


class Bounds(Frozen):
    """How far a service may be scaled, and what each copy of it costs."""

    min: int = Field(ge=0, description="Never fewer.")
    max: int = Field(ge=1, le=10_000, description="Never more.")
    step: int = Field(ge=1, description="How many at once.")
    cost_per_hour: float = Field(ge=0, description="What one costs, in the currency.")
    currency: str = Field("USD", pattern="^[A-Z]{3}$")
    back_after_seconds: float = Field(
        600, ge=0, le=3600, description="How long it must have been well before what was added is taken away again."
    )

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.min > self.max:
            raise ValueError(f"min is {self.min} and max is {self.max}")
        return self


class Service(Frozen):
    """Something that answers requests or works through a queue."""

    runs_on: Annotated[Ecs | Asg | SageMaker | Kubernetes, Field(discriminator="kind")]
    #: Without bounds it is never scaled.
    bounds: Bounds | None = None
    health: Probe | None = None

    @property
    def has_versions(self) -> bool:
        """Whether it has a version that can be rolled back: a task definition, an endpoint's config."""
        return self.runs_on.kind in {"ecs", "sagemaker"}


class Pipeline(Frozen):
    """A data pipeline that reads from whichever source an object in S3 names."""

    #: The object that holds the URI of the source it reads from: one line of text.
    source: Place
    primary: str = Field(min_length=1, max_length=500)
    standby: str = Field(min_length=1, max_length=500)
    #: Asked before anything is switched to the standby: any answer but 2xx says no.
    standby_url: Url | None = None
    health: Probe | None = None


class Retention(Frozen):
    """What may be deleted when a disk is full."""

    #: The folder as the worker sees it; nothing outside of it, and no link, is ever touched.
    folder: str = Field(pattern=r"^/[^/]")
    #: Which names in it and below may go: ``*.log``.
    pattern: str = Field(min_length=1, max_length=100, pattern=r"^[^/]+$")
    #: Younger files stay.
    keep_days: float = Field(gt=0)
    #: And so many of the newest stay in any case.
    keep_at_least: int = Field(1, ge=0)


class Volume(Frozen):
    """An EBS volume, and how far it may grow. It never shrinks again."""

    id: str = Field(pattern=r"^vol-[0-9a-f]{8,17}$")
    step_gib: int = Field(ge=1)
    max_gib: int = Field(ge=1, le=65_536)
    cost_per_gib_month: float = Field(0, ge=0)


class Disk(Frozen):
    """A disk that can fill up."""

    health: Probe | None = None
    retention: Retention | None = None
    volume: Volume | None = None
