"""Keep a copy of everything that an incident is about, before anything changes."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from incidents.models import Category, Health, Plan, Risk, Verdict
from incidents.playbook import Playbook, playbook
from remediations.base import CannotPlan, Conflict, Remediation
from remediations.evidence import Exhibit, Locker, to_keep
from remediations.exhibits import gather, to_gather
from remediations.permissions import Statement


class PreserveEvidence(Remediation):
    """Copy an asset's state, content, record and access logs to the bucket for evidence, with a SHA-256 manifest.

    Production is only read. Evidence is never taken back, so undoing leaves it where it is.
    """

    category: ClassVar[Category] = Category.security
    risk: ClassVar[Risk] = Risk.low
    heals: ClassVar[bool] = False
    permissions: ClassVar[tuple[str, ...]] = (
        "s3:ListBucket, s3:GetBucketObjectLockConfiguration EVIDENCE",
        "s3:GetObject, s3:PutObject, s3:PutObjectRetention EVIDENCE/*",
        "s3:ListBucket, s3:GetObject of the stores and of the access records",
        "s3:ListBucketVersions, s3:GetObjectVersion, s3:PutObject of the stores, for s3+versions",
        "s3:GetBucketPolicy, s3:GetBucketPublicAccessBlock, s3:GetBucketAcl BUCKET",
        "iam:ListAccessKeys, iam:GetAccessKeyLastUsed USER",
        "secretsmanager:DescribeSecret SECRET",
        "mlflow: read registered models, model versions and artifacts",
    )

    asset: str = Field(description="A declared asset: model:fraud, dataset:transactions, bucket:feeds.")
    incident: str = Field(pattern=r"^INC-\d+$", description="The incident that it is evidence of, INC-7 for instance.")

    @classmethod
    def statements(cls, book: Playbook) -> tuple[Statement, ...]:
        """Read every declared asset, and keep what was read, where the playbook names a place for it."""
        place = book.evidence
        return (*to_keep(place), *to_gather(book, place.access_records)) if place else ()

    def subject(self) -> str:
        """The asset."""
        return self.asset

    def plan(self) -> Plan:
        """Look what there is to be kept, and whether the bucket can keep it. Nothing is read but names and sizes."""
        locker = self._locker()
        locker.ready()
        try:
            there = locker.manifest()
        except Conflict as taken:
            raise CannotPlan(str(taken)) from taken
        after = {"manifest": locker.address}
        parts = [f"{len(there.kept)} exhibits are kept"] if there else []
        if there is None:
            exhibits, left_out = self._gathered()
            size = sum(exhibit.bytes for exhibit in exhibits)
            parts = [f"{len(exhibits)} exhibits, at least {size} bytes", *(f"left out: {one}" for one in left_out)]
        return Plan(
            action=self.name(),
            parameters=self.model_dump(mode="json"),
            target=f"evidence:{self.incident}:{self.asset}",
            before=after if there else {"manifest": None},
            after=after,
            summary=f"evidence of {self.asset} {'is' if there else 'goes'} to {locker.address}",
            because=tuple(parts[:20]),
        )

    def apply(self, plan: Plan) -> None:
        """Keep what is not kept yet; the manifest comes last. Production is only read."""
        locker = self._locker()
        if plan.after != {"manifest": locker.address}:
            raise Conflict(f"evidence was to go to {plan.after['manifest']}, and now goes to {locker.address}")
        if locker.manifest() is None:
            locker.keep(*self._gathered())

    def verify(self, plan: Plan) -> Verdict:  # noqa: ARG002  # the place is the playbook's
        """Read every exhibit back, and compare its SHA-256 with the manifest's."""
        from botocore.exceptions import BotoCoreError, ClientError

        locker = self._locker()
        try:
            manifest = locker.manifest()
            problems = locker.problems(manifest) if manifest else [f"there is no {locker.address}"]
        except Conflict as theirs:
            return Verdict(health=Health.unhealthy, why=str(theirs))
        except (ClientError, BotoCoreError) as error:
            return Verdict(health=Health.inconclusive, why=f"the evidence could not be read back: {error}")
        if manifest is None or problems:
            return Verdict(health=Health.unhealthy, why="; ".join(problems[:5]))
        left_out = f"; left out: {'; '.join(manifest.left_out)}" if manifest.left_out else ""
        why = f"{len(manifest.kept)} exhibits at {locker.address} are as they were read{left_out}"
        return Verdict(health=Health.healthy, why=why[:2000], evidence={"manifest": locker.address})

    def undo(self, plan: Plan) -> None:
        """Leave it: production was only read, and evidence is never taken back."""

    def _locker(self) -> Locker:
        declared = playbook()
        if declared.asset(self.asset) is None:
            raise CannotPlan(f"the playbook declares no asset {self.asset!r}")
        if declared.evidence is None:
            raise CannotPlan("the playbook names no place for evidence")
        return Locker(declared.evidence, self.incident, self.asset)

    def _gathered(self) -> tuple[list[Exhibit], list[str]]:
        place = playbook().evidence
        assert place is not None
        return gather(self.incident, self.asset, place.at_most_bytes, place.access_records)
