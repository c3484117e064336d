"""Take the rows that break the dataset's rules out of its current version, and keep them beside the store."""

from __future__ import annotations

import tempfile
from datetime import datetime, timedelta
from pathlib import Path
from typing import ClassVar

from pydantic import Field

from incidents.leases import still_ours
from incidents.models import Plan
from incidents.playbook import Playbook
from remediations.base import CannotPlan, Conflict
from remediations.dataset_move import DatasetMove
from remediations.datasets import DatasetStore, open_store
from remediations.datasets.access import to_move, to_publish, to_read
from remediations.datasets.base import Pointer
from remediations.datasets.content import ContentStore
from remediations.datasets.layout import DataObject, Manifest
from remediations.permissions import Statement, under
from remediations.row_rules import Divided, RowRule, divide


class QuarantineRows(DatasetMove):
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
                beside = _beside(store)
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
            found = self.divided(current.version, Path(folder))
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

    def apply(self, plan: Plan) -> None:
        """Keep what goes, publish what stays, and move the pointer, where it still is as the plan found it."""
        store, to, expect = self._content(), Pointer.model_validate(plan.after), Pointer.model_validate(plan.before)
        current = store.current()
        if current == to:
            return
        if current != expect:
            raise Conflict(f"{store} points at {current.version}, not at {expect.version} as expected; it was left so")
        with tempfile.TemporaryDirectory(prefix="lastgood-") as folder:
            found = self.divided(expect.version, Path(folder))
            version = self._named(expect.version, found)
            if version != to.version:
                raise Conflict(f"divided again it is {version}, and {to.version} was planned")
            at = self._time(expect.version)
            still_ours()
            self._beside().publish(found.taken, at=at)
            store.publish(found.kept, at=at)
        still_ours()
        store.move(to, expect=expect)

    def divided(self, version: str, folder: Path) -> Divided:
        """The rows of a version apart, as files in an empty folder of this machine."""
        source = folder / "source"
        source.mkdir()
        return divide(sorted(self._content().fetch(version, source)), self.rules, folder)

    def _named(self, source: str, found: Divided) -> str:
        """The name of the version that is left. Its time is the source's and a second: the same at every look."""
        if not found.bad:
            return source
        objects = [DataObject.of(file) for file in found.kept]
        return Manifest.of(self.dataset, objects, self._time(source)).version

    def _time(self, source: str) -> datetime:
        return self._content().manifest(source).created_at + timedelta(seconds=1)

    def _content(self) -> ContentStore:
        store = self._store()
        if not isinstance(store, ContentStore):
            raise CannotPlan(f"{store} is not for this: what is written there is read at once, before the pointer")
        return store

    def _beside(self) -> DatasetStore:
        return open_store(_beside(self._declared().store), f"{self.dataset}.quarantine")


def _beside(store: str) -> str:
    return f"{store.rstrip('/')}.quarantine"
