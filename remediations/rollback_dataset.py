"""Bring a dataset's current version back to the one last verified good."""

from __future__ import annotations

from typing import ClassVar

from pydantic import AwareDatetime, Field

from incidents import known_good
from incidents.ledger import ledger
from incidents.models import Health, Plan
from incidents.playbook import Playbook
from remediations.base import CannotPlan
from remediations.dataset_move import DatasetMove
from remediations.datasets.access import to_move, to_read
from remediations.datasets.base import NoSuchVersion, Pointer, Preflight
from remediations.permissions import Statement


class RollbackDataset(DatasetMove):
    """Move the dataset's ``current`` pointer to the newest version verified good. Nothing is copied but plain keys.

    Plain keys are those of a store under ``s3+versions``: the ones that differ are brought back before the pointer.
    """

    permissions: ClassVar[tuple[str, ...]] = (
        "s3:ListBucket BUCKET",
        "s3:GetObject STORE/*",
        "s3:PutObject STORE/current",
        "s3:ListBucketVersions, s3:GetBucketVersioning BUCKET, for s3+versions",
        "s3:GetObjectVersion, s3:PutObject, s3:DeleteObject STORE/*, for s3+versions",
        "s3:GetObject, s3:PutObject STORE.lastgood/*, for s3+versions",
        "s3:PutObject STORE/_delta_log/*, for s3+delta",
        "iceberg: read the table's files, and commit to the table in its catalog, for iceberg",
        "git: push to the branch; s3:GetObject, s3:ListBucket of DVC's remote, for dvc",
        "lakefs: ReadBranch, ReadCommit, ListObjects, ReadObject, WriteObject, DeleteObject, "
        "CreateBranch, DeleteBranch, CreateCommit, RevertBranch",
    )

    to: str | None = Field(None, description="A version that was verified good. Empty: the newest of them.")
    only_from: str | None = Field(None, description="Only where this version is current. Empty: whichever is.")
    even_if_good: bool = Field(False, description="Leave the current version even where it was verified good.")
    good_before: AwareDatetime | None = Field(
        None, description="Only what was verified good before this: the first sign of a breach."
    )

    @classmethod
    def statements(cls, book: Playbook) -> tuple[Statement, ...]:
        """For each dataset in S3: read its versions and move its pointer; for plain keys, also bring them back."""
        stores = [dataset.store for dataset in book.datasets.values()]
        return tuple(one for store in stores for one in (*to_read(store), *to_move(store)))

    def plan(self) -> Plan:
        """Look for the version to go back to; one with an object missing is passed over."""
        return self.plan_without(set())

    def plan_without(self, bad: set[str]) -> Plan:
        """As ``plan``, where these versions are known to be bad, though the record does not say so."""
        store = self._store()
        current = store.current()
        if self.only_from is not None and current.version not in (self.only_from, self.to):
            raise CannotPlan(f"{self.dataset} is at {current.version} now, and only {self.only_from} was to be left")
        passed_over: list[str] = []
        for candidate in self._candidates(current.version, bad):
            try:
                found = store.preflight(candidate)
            except NoSuchVersion as gone:
                passed_over.append(f"not {candidate}: {gone}")
                continue
            if not found.missing:
                return self._plan(current, candidate, [*passed_over, _cost(found)])
            one = f"{len(found.missing)} of its objects are missing, {found.missing[0]} for one"
            passed_over.append(f"not {candidate}: {one}")
        seen = "; ".join(passed_over) or "no version of it was ever verified good"
        raise CannotPlan(f"{self.dataset} has no version to go back to: {seen}")

    def _candidates(self, current: str, bad: set[str]) -> list[str]:
        """The versions to try, best first: what is asked for; or the current one if it is good, then the newest."""
        good = (
            known_good.good_before(ledger(), self.subject(), self.good_before)
            if self.good_before
            else known_good.versions(ledger(), self.subject(), Health.healthy)
        ) - bad
        if self.to is not None:
            if self.to not in good:
                raise CannotPlan(f"version {self.to} of {self.dataset} was never verified good, or is quarantined")
            return [self.to]
        others = sorted(good - {current}, reverse=True)  # a version begins with when it was published
        return [current, *others] if current in good and not self.even_if_good else others

    def _plan(self, current: Pointer, wanted: str, seen: list[str]) -> Plan:
        same = current.version == wanted
        after = current if same else current.successor(wanted, by=self.because or "lastgood")
        return Plan(
            action=self.name(),
            parameters=self.model_dump(mode="json"),
            target=self.subject(),
            before=current.model_dump(mode="json"),
            after=after.model_dump(mode="json"),
            summary=f"{self.dataset} stays at {wanted}, which is good"
            if same
            else f"{self.dataset}: {current.version} -> {wanted}",
            because=(*seen, f"{wanted} was verified good, and all of its objects are there"),
        )


def _cost(found: Preflight) -> str:
    return f"going back takes about {found.requests} requests and copies {found.bytes} bytes inside the storage"
