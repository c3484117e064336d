"""Fill in what is missing in a dataset's current version, by the rules that the playbook declares."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import ClassVar

from incidents import known_good
from incidents.ledger import ledger
from incidents.models import Health, Plan, Risk
from incidents.playbook import Playbook
from incidents.upkeep import Impute
from remediations.base import CannotPlan
from remediations.correction import Correction
from remediations.datasets.access import to_move, to_publish, to_read
from remediations.imputing import Imputed, impute
from remediations.permissions import Statement


class ImputeMissing(Correction):
    """Publish the current version with its missing values filled in by the playbook's rules, and move the pointer.

    A rule is a constant, the median or the mode of the last good version, or its value for the same key. Undone, the
    pointer is back at the version it was at. What was published stays: versions never change.
    """

    risk: ClassVar[Risk] = Risk.medium
    permissions: ClassVar[tuple[str, ...]] = (
        "s3:ListBucket BUCKET",
        "s3:GetObject STORE/*",
        "s3:PutObject STORE/current, STORE/manifests/*, STORE/objects/*",
    )

    @classmethod
    def statements(cls, book: Playbook) -> tuple[Statement, ...]:
        """For each dataset in S3 that may be filled in: read it, publish there, move the pointer."""
        stores = [dataset.store for dataset in book.datasets.values() if dataset.impute]
        needed = ((*to_read(store), *to_publish(store), *to_move(store)) for store in stores if store.startswith("s3:"))
        return tuple(one for statements in needed for one in statements)

    def plan(self) -> Plan:
        """Count what would be filled in, and name the version that would be. Published is nothing yet."""
        declared = self._rules()
        current = self._content().current()
        with tempfile.TemporaryDirectory(prefix="lastgood-") as folder:
            found = self.corrected(current.version, Path(folder))
            share = found.bad / max(found.rows, 1)
            most = f"at most {declared.at_most:.2%} may"
            told = f"{found.bad} of {found.rows} rows ({share:.2%}) would get a value, and {most}"
            if share > declared.at_most:
                raise CannotPlan(f"too much of {self.dataset} is missing to make it up: {told}")
            version = self._named(current.version, found)
        after = current.successor(version, by=self.because or "lastgood") if found.bad else current
        return Plan(
            action=self.name(),
            parameters=self.model_dump(mode="json"),
            target=self.subject(),
            before=current.model_dump(mode="json"),
            after=after.model_dump(mode="json"),
            summary=f"{self.dataset}: {current.version} -> {version}, with {found.bad} of {found.rows} rows filled in"
            if found.bad
            else f"{self.dataset} stays at {current.version}: nothing of it is missing that could be filled in",
            because=(
                told,
                *(
                    f"{column}: {found.filled[column]} by {fill}, {found.left[column]} still missing"
                    for column, fill in declared.columns.items()
                ),
            ),
        )

    def corrected(self, version: str, folder: Path) -> Imputed:
        """The version with its missing values filled in."""
        rules = self._rules().columns
        good = self._last_good(version, folder) if any(fill.constant is None for fill in rules.values()) else []
        return impute(self._fetched(version, folder), rules, good, folder)

    def _last_good(self, before: str, folder: Path) -> list[Path]:
        found = known_good.versions(ledger(), self.subject(), Health.healthy)
        version = max((one for one in found if one < before), default=None)
        if version is None:
            raise CannotPlan(f"no version of {self.dataset} before {before} was verified good: nothing to fill in from")
        return self._fetched(version, folder)

    def _rules(self) -> Impute:
        rules = self._declared().impute
        if rules is None:
            raise CannotPlan(f"the playbook does not say how what is missing in {self.dataset} is filled in: impute")
        return rules
