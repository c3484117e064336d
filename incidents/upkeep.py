"""The sections of the playbook that keep a model well: how its service is told to load another version."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from incidents.models import Frozen


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
