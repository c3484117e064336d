"""The sections of the playbook that security goes by: where evidence is kept, and what may be contained."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, JsonValue

from incidents.models import Frozen

#: An address in S3, ``s3://bucket/prefix``.
InS3 = Annotated[str, Field(pattern=r"^s3://[^/@?#\s]+(/[^?#\s]*)?$")]


class Evidence(Frozen):
    """Where a copy of everything goes before anything is contained. Choose what an attacker here cannot change."""

    store: InS3 = Field(description="A bucket of another account, with object lock.")
    retain_days: int = Field(
        0, ge=0, le=36_500, description="For so many days S3 keeps it from everybody. The bucket needs object lock."
    )
    at_most_bytes: int = Field(
        10 * 1024**3, ge=1_000_000, description="So much is copied for one asset; what does not fit is named."
    )
    access_records: tuple[InS3, ...] = Field(
        (), description="Where access logs are delivered: S3's own, a CloudTrail trail's, a load balancer's."
    )


class Bucket(Frozen):
    """A bucket that may be closed. Its name here is what alerts call it."""

    bucket: str = Field(pattern=r"^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$")
    exempt: tuple[str, ...] = Field(
        (), description="Patterns of ARNs that a denial leaves alone: whoever investigates and recovers."
    )


class IamUser(Frozen):
    """An IAM user whose access keys may be deactivated."""

    user: str = Field(pattern=r"^[\w+=,.@-]{1,64}$")


class ManagedSecret(Frozen):
    """A secret in AWS Secrets Manager that may be given a new random value."""

    id: str = Field(min_length=1, max_length=2048, description="Its name or ARN.")
    field: str = Field("", description="The field of it that is renewed, where it is JSON. Empty: all of it.")
    length: int = Field(40, ge=16, le=4096)


class Input(Frozen):
    """What a model's service lets in: a JSON document in S3 that the service reads, and how it is tightened."""

    config: InS3 = Field(description="The document; writing it takes a conditional PUT.")
    tightened: dict[str, JsonValue] = Field(
        min_length=1, description="The fields that are set: a rate, a limit of rows, a stricter filter."
    )
