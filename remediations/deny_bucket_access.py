"""Let nobody read what is in a bucket, but for those who investigate."""

from __future__ import annotations

import json
from typing import Any, ClassVar

from pydantic import Field, JsonValue

from incidents.models import Risk, canonical, digest
from incidents.playbook import Playbook, playbook
from remediations import clients
from remediations.base import CannotPlan
from remediations.block_public_access import real
from remediations.containment import Containment, State
from remediations.permissions import Statement

#: Denying GetObject alone still lets ?versionId= through. The policy itself stays in reach, so the way back does too.
_DENIED = ["s3:GetObject*", "s3:PutObject*", "s3:DeleteObject*"]


class DenyBucketAccess(Containment):
    """Add one statement of our own to a bucket's policy, which denies objects to all but those the playbook exempts."""

    risk: ClassVar[Risk] = Risk.high
    permissions: ClassVar[tuple[str, ...]] = ("s3:GetBucketPolicy, s3:PutBucketPolicy, s3:DeleteBucketPolicy BUCKET",)

    bucket: str = Field(description="The bucket, by its name in the playbook.")
    prefix: str = Field("", pattern=r"^[^*?\s]*$", description="Only what is under this. Empty: all of it.")

    @classmethod
    def statements(cls, book: Playbook) -> tuple[Statement, ...]:
        """Read, set and take away the policy of each bucket."""
        actions = ("s3:GetBucketPolicy", "s3:PutBucketPolicy", "s3:DeleteBucketPolicy")
        return tuple(Statement(actions=actions, resource=f"arn:aws:s3:::{it.bucket}") for it in book.buckets.values())

    def subject(self) -> str:
        """``bucket:feeds``."""
        return f"bucket:{self.bucket}"

    def thing(self) -> str:
        """The bucket and the prefix."""
        return f"{self.subject()}/{self.prefix}"

    def target(self) -> str:
        """``bucket policy:feeds``."""
        return f"bucket policy:{self.bucket}"

    def seen(self) -> State:
        """The policy's own text; None where there is none."""
        client = clients.s3()
        try:
            return {"policy": client.get_bucket_policy(Bucket=real(self.bucket))["Policy"]}
        except client.exceptions.ClientError as error:
            if error.response["Error"]["Code"] != "NoSuchBucketPolicy":
                raise
            return {"policy": None}

    def wanted(self, seen: State) -> State:
        """What is there, and our statement at the end."""
        ours = self._statement()
        nothing: dict[str, Any] = {"Version": "2012-10-17", "Statement": []}
        policy = json.loads(str(seen["policy"])) if seen["policy"] else nothing
        there = policy["Statement"] if isinstance(policy["Statement"], list) else [policy["Statement"]]
        same = [one for one in there if one.get("Sid") == ours["Sid"]]
        if same and _plain(same) != _plain([ours]):
            raise CannotPlan(f"the policy of {self.bucket} has another statement with our Sid, {ours['Sid']}")
        if same:
            return seen
        return {"policy": json.dumps({**policy, "Statement": [*there, ours]}, separators=(",", ":"))}

    def same(self, one: JsonValue, other: JsonValue) -> bool:
        """Policies are the same that say the same: servers put them down in an order and a spacing of their own."""
        if one is None or other is None:
            return one is other
        return bool(_plain(json.loads(str(one))) == _plain(json.loads(str(other))))

    def set(self, wanted: State, expected: State) -> None:  # noqa: ARG002  # S3 has no conditional form of it
        """Put the text, or take the policy away where there was none."""
        if wanted["policy"] is None:
            clients.s3().delete_bucket_policy(Bucket=real(self.bucket))
        else:
            clients.s3().put_bucket_policy(Bucket=real(self.bucket), Policy=str(wanted["policy"]))

    def summary(self, before: State, after: State) -> str:
        """Who still gets in."""
        where = f"{self.bucket}/{self.prefix}".rstrip("/")
        return f"objects of {where} are denied to all but the exempt" + ("" if before != after else " already")

    def _statement(self) -> dict[str, Any]:
        exempt = list(playbook().buckets[self.bucket].exempt)
        if not exempt:
            raise CannotPlan(f"buckets.{self.bucket} exempts nobody, so nobody could recover what is in it")
        return {
            "Sid": f"LastgoodDeny{digest([self.bucket, self.prefix])[:12]}",
            "Effect": "Deny",
            "Principal": "*",
            "Action": _DENIED,
            "Resource": f"arn:aws:s3:::{real(self.bucket)}/{self.prefix}*",
            "Condition": {"StringNotLike": {"aws:PrincipalArn": exempt}},
        }


def _plain(value: Any) -> Any:
    """A policy without the freedoms of how it is written: a list of one is the one, and lists have no order."""
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, list):
        inside = sorted((_plain(inner) for inner in value), key=canonical)
        return inside[0] if len(inside) == 1 else inside
    return value
