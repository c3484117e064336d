"""What the playbook says of places elsewhere: catalogs, lakeFS's servers, and where the record is anchored."""

from __future__ import annotations

import re
from typing import Annotated, Self

from pydantic import AfterValidator, Field, model_validator

from incidents.assets import Url
from incidents.models import Frozen
from incidents.redaction import redact

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
