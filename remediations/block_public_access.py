"""Keep the public out of a bucket, whatever its policy and its ACLs say."""

from __future__ import annotations

from typing import Any, ClassVar, cast

from pydantic import Field, JsonValue

from incidents.models import Risk
from incidents.playbook import Playbook, playbook
from remediations import clients
from remediations.base import declared
from remediations.containment import Containment, State
from remediations.permissions import Statement

_ALL: dict[str, JsonValue] = {
    "BlockPublicAcls": True,
    "IgnorePublicAcls": True,
    "BlockPublicPolicy": True,
    "RestrictPublicBuckets": True,
}


class BlockPublicAccess(Containment):
    """Turn on all four blocks of public access of a bucket."""

    risk: ClassVar[Risk] = Risk.medium
    permissions: ClassVar[tuple[str, ...]] = ("s3:GetBucketPublicAccessBlock, s3:PutBucketPublicAccessBlock BUCKET",)

    bucket: str = Field(description="The bucket, by its name in the playbook.")

    @classmethod
    def statements(cls, book: Playbook) -> tuple[Statement, ...]:
        """Read and set the blocks of each bucket; taking them away is setting them."""
        actions = ("s3:GetBucketPublicAccessBlock", "s3:PutBucketPublicAccessBlock")
        return tuple(Statement(actions=actions, resource=f"arn:aws:s3:::{it.bucket}") for it in book.buckets.values())

    def subject(self) -> str:
        """``bucket:feeds``."""
        return f"bucket:{self.bucket}"

    def target(self) -> str:
        """``public access:feeds``."""
        return f"public access:{self.bucket}"

    def seen(self) -> State:
        """The four blocks; None where none was ever set."""
        client = clients.s3()
        try:
            found = client.get_public_access_block(Bucket=real(self.bucket))["PublicAccessBlockConfiguration"]
        except client.exceptions.ClientError as error:
            if error.response["Error"]["Code"] != "NoSuchPublicAccessBlockConfiguration":
                raise
            return {"block": None}
        return {"block": cast(dict[str, JsonValue], found)}

    def wanted(self, seen: State) -> State:  # noqa: ARG002  # whatever it is
        """All four."""
        return {"block": _ALL}

    def set(self, wanted: State, expected: State) -> None:  # noqa: ARG002  # S3 has no conditional form of it
        """Set what is wanted, or take the setting away where there was none."""
        client, block = clients.s3(), wanted["block"]
        if block is None:
            client.delete_public_access_block(Bucket=real(self.bucket))
        else:
            client.put_public_access_block(Bucket=real(self.bucket), PublicAccessBlockConfiguration=cast(Any, block))

    def summary(self, before: State, after: State) -> str:
        """Whether it is open."""
        return f"{self.bucket} is closed to the public" + ("" if before != after else " already")


def real(bucket: str) -> str:
    """The bucket's name in S3.

    Raises:
        CannotPlan: the playbook does not declare it.
    """
    return declared("bucket", bucket, playbook().buckets).bucket
