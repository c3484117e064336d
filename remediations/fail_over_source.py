"""Let a data pipeline read from its standby source. An object in S3 names the source; it is compared, then set."""

from __future__ import annotations

from typing import Any, ClassVar

import httpx
from botocore.exceptions import ClientError
from pydantic import Field

from incidents.assets import Pipeline
from incidents.leases import still_ours
from incidents.models import Category, Health, Plan, Risk, Verdict
from incidents.playbook import Playbook, playbook
from remediations.base import CannotPlan, Conflict, Remediation, declared
from remediations.clients import http, s3
from remediations.permissions import Statement


class FailOverSource(Remediation):
    """Point a data pipeline at its standby source, or back at its primary."""

    category: ClassVar[Category] = Category.infrastructure
    risk: ClassVar[Risk] = Risk.medium
    permissions: ClassVar[tuple[str, ...]] = ("s3:GetObject, s3:PutObject SOURCE",)

    pipeline: str = Field(description="The pipeline, as the playbook declares it.")
    back: bool = Field(False, description="To the primary source, and not to the standby.")

    @classmethod
    def statements(cls, book: Playbook) -> tuple[Statement, ...]:
        """Read and replace each pipeline's object."""
        sources = [pipeline.source.removeprefix("s3://") for pipeline in book.pipelines.values()]
        actions = ("s3:GetObject", "s3:PutObject")
        return tuple(Statement(actions=actions, resource=f"arn:aws:s3:::{source}") for source in sources)

    def subject(self) -> str:
        """``pipeline:cards``."""
        return f"pipeline:{self.pipeline}"

    def plan(self) -> Plan:
        """See where it reads from, and that the other source is there."""
        declared = self._declared()
        found = _read(declared)[0]
        wanted = declared.primary if self.back else declared.standby
        if found.strip() not in {declared.primary, declared.standby}:
            raise CannotPlan(f"{self.pipeline} reads from {found.strip()!r}, which the playbook does not declare")
        after = found if found.strip() == wanted else found.replace(found.strip(), wanted)
        return Plan(
            action=self.name(),
            parameters=self.model_dump(mode="json"),
            target=f"{self.subject()}@source",
            before={"source": found},
            after={"source": after},
            summary=f"{self.pipeline} goes on reading from {wanted}"
            if after == found
            else f"{self.pipeline}: {found.strip()} -> {wanted}",
            because=() if self.back else (_alive(declared),),
        )

    def apply(self, plan: Plan) -> None:
        """Replace the object, where it still is as the plan found it."""
        self._move(str(plan.before["source"]), str(plan.after["source"]))

    def verify(self, plan: Plan) -> Verdict:
        """Read the object again."""
        found = _read(self._declared())[0]
        health = Health.healthy if found == plan.after["source"] else Health.unhealthy
        return Verdict(health=health, why=f"{self.pipeline} reads from {found.strip()}")

    def undo(self, plan: Plan) -> None:
        """Replace it back, byte for byte, where it still is as the plan left it."""
        self._move(str(plan.after["source"]), str(plan.before["source"]))

    def _declared(self) -> Pipeline:
        return declared("pipeline", self.pipeline, playbook().pipelines)

    def _move(self, expected: str, wanted: str) -> None:
        declared = self._declared()
        found, tag = _read(declared)
        if found == wanted:
            return
        if found != expected:
            raise Conflict(f"{self.pipeline} reads from {found.strip()}, and not {expected.strip()}: left as it is")
        still_ours()
        try:
            s3().put_object(**_place(declared), Body=wanted.encode(), IfMatch=tag)
        except ClientError as error:
            if error.response["ResponseMetadata"]["HTTPStatusCode"] not in {409, 412}:
                raise
            seen = _read(declared)[0]  # a PUT that landed, and whose answer was lost, is sent again and refused
            if seen != wanted:
                raise Conflict(f"somebody else set {self.pipeline} to {seen.strip()} at this very moment") from None


def _place(declared: Pipeline) -> dict[str, Any]:
    bucket, _, key = declared.source.removeprefix("s3://").partition("/")
    return {"Bucket": bucket, "Key": key}


def _read(declared: Pipeline) -> tuple[str, str]:
    """What the object says, and its ETag."""
    try:
        answer = s3().get_object(**_place(declared))
    except ClientError as error:
        if error.response["Error"]["Code"] == "NoSuchKey":
            raise CannotPlan(f"there is no {declared.source}, so nothing says where the pipeline reads from") from None
        raise
    return answer["Body"].read().decode(), answer["ETag"]


def _alive(declared: Pipeline) -> str:
    """That the standby answers, or that the playbook gives no way to tell."""
    if declared.standby_url is None:
        return "the playbook names no standby_url, so whether the standby is there was not looked at"
    try:
        status = http().get(declared.standby_url).status_code
    except httpx.HTTPError as error:
        raise CannotPlan(f"the standby does not answer: {type(error).__name__}") from None
    if not httpx.codes.is_success(status):
        raise CannotPlan(f"the standby answers with {status}")
    return f"the standby answers with {status}"
