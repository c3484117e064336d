"""Take the rows that break the dataset's rules out of its current version, and keep them beside the store."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import ClassVar

from pydantic import Field

from incidents.models import Plan
from incidents.playbook import Playbook
from remediations.base import CannotPlan
from remediations.correction import Correction, beside_of
from remediations.datasets.access import to_move, to_publish, to_read
from remediations.permissions import Statement, under
from remediations.row_rules import Divided, RowRule, divide


class QuarantineRows(Correction):
    """Publish the current version without the rows that break a rule, keep those beside, and move the pointer.

    Undone, the pointer is back at the version it was at. What was published stays: versions never change.
    """

    permissions: ClassVar[tuple[str, ...]] = (
        "s3:ListBucket BUCKET",
        "s3:GetObject STORE/*",
        "s3:PutObject STORE/current, STORE/manifests/*, STORE/objects/*",
        "s3:PutObject STORE.quarantine/manifests/*, STORE.quarantine/objects/*",
        "s3:GetObject STORE.quarantine/objects/*",
    )

    rules: tuple[RowRule, ...] = Field((), description="What each row has to meet. Empty: as the dataset's suite says.")

    @classmethod
    def statements(cls, book: Playbook) -> tuple[Statement, ...]:
        """For each dataset in S3 of which rows may go: read it, publish there and beside it, move the pointer."""
        needed: list[Statement] = []
        for dataset in book.datasets.values():
            store = dataset.store
            if dataset.quarantine and store.startswith("s3:"):  # plain keys are never divided
                beside = beside_of(store)
                needed += [*to_read(store), *to_publish(store), *to_move(store), *to_publish(beside)]
                needed.append(Statement(actions=("s3:GetObject",), resource=under(beside, "objects/*")))
        return tuple(needed)

    def plan(self) -> Plan:
        """Count the rows that would go, and name the version without them. Published is nothing yet."""
        declared = self._declared()
        if declared.quarantine is None:
            raise CannotPlan(f"the playbook does not say how many rows of {self.dataset} may go: quarantine.at_most")
        if not self.rules:
            raise CannotPlan(f"nothing is asked of single rows of {self.dataset}")
        current = self._content().current()
        with tempfile.TemporaryDirectory(prefix="lastgood-") as folder:
            found = self.corrected(current.version, Path(folder))
            share, most = found.bad / max(found.rows, 1), declared.quarantine.at_most
            told = f"{found.bad} of {found.rows} rows ({share:.2%}) break a rule, and at most {most:.2%} may go"
            if share > most or found.bad == found.rows > 0:
                raise CannotPlan(f"too much of {self.dataset} is bad to take it out: {told}")
            version = self._named(current.version, found)
        after = current.successor(version, by=self.because or "lastgood") if found.bad else current
        return Plan(
            action=self.name(),
            parameters=self.model_dump(mode="json"),
            target=self.subject(),
            before=current.model_dump(mode="json"),
            after=after.model_dump(mode="json"),
            summary=f"{self.dataset}: {current.version} -> {version}, without {found.bad} of {found.rows} rows"
            if found.bad
            else f"{self.dataset} stays at {current.version}: no row of it breaks a rule",
            because=(
                told,
                *(f"not {rule}: {count} rows" for rule, count in found.broken.most_common()),
                f"what is taken out is kept in {self._beside().uri}",
            ),
        )

    def corrected(self, version: str, folder: Path) -> Divided:
        """The rows of a version apart."""
        return divide(self._fetched(version, folder), self.rules, folder)
