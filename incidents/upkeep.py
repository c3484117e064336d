"""The sections of the playbook that keep a model well: its health in Prometheus, and how its service is told."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Literal

from pydantic import Field

from incidents.models import Frozen

_HOLDS: dict[str, Callable[[float, float], bool]] = {
    ">=": operator.ge,
    "<=": operator.le,
    ">": operator.gt,
    "<": operator.lt,
}


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
