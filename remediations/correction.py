"""A corrected copy of a dataset's current version: named before it is published, and published before it is current."""

from __future__ import annotations

import tempfile
from abc import abstractmethod
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

from incidents.leases import still_ours
from incidents.models import Plan
from remediations.base import CannotPlan, Conflict
from remediations.dataset_move import DatasetMove
from remediations.datasets import DatasetStore, open_store
from remediations.datasets.base import Pointer
from remediations.datasets.content import ContentStore
from remediations.datasets.layout import DataObject, Manifest


@dataclass
class Corrected:
    """The files of the corrected version, those of the rows that were taken out, and how many rows there are."""

    kept: list[Path] = field(default_factory=list)
    taken: list[Path] = field(default_factory=list)
    #: Before the correction, and how many of them it is about.
    rows: int = 0
    bad: int = 0


class Correction(DatasetMove):
    """An action that publishes the current version corrected, and moves the pointer there.

    Undone, the pointer is back at the version it was at. What was published stays: versions never change.
    """

    @abstractmethod
    def corrected(self, version: str, folder: Path) -> Corrected:
        """A version corrected, as files in an empty folder of this machine: the same bytes at every look.

        Raises:
            CannotPlan: it can't be corrected.
        """

    def apply(self, plan: Plan) -> None:
        """Publish what is left and keep what is not, and move the pointer, where it still is as the plan found it."""
        store, to, expect = self._content(), Pointer.model_validate(plan.after), Pointer.model_validate(plan.before)
        current = store.current()
        if current == to:
            return
        if current != expect:
            raise Conflict(f"{store} points at {current.version}, not at {expect.version} as expected; it was left so")
        with tempfile.TemporaryDirectory(prefix="lastgood-") as folder:
            found = self.corrected(expect.version, Path(folder))
            version = self._named(expect.version, found)
            if version != to.version:
                raise Conflict(f"corrected again it is {version}, and {to.version} was planned")
            at = self._time(expect.version)
            still_ours()
            if found.taken:
                self._beside().publish(found.taken, at=at)
            store.publish(found.kept, at=at)
        still_ours()
        store.move(to, expect=expect)

    def _fetched(self, version: str, folder: Path) -> list[Path]:
        """The files of a version, in a folder of their own in that folder."""
        source = folder / version
        source.mkdir()
        return sorted(self._content().fetch(version, source))

    def _named(self, source: str, found: Corrected) -> str:
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
            raise CannotPlan(f"{store} keeps plain keys: what is published there is read at once, before the pointer")
        return store

    def _beside(self) -> DatasetStore:
        return open_store(beside_of(self._declared().store), f"{self.dataset}.quarantine")


def beside_of(store: str) -> str:
    """Where the rows are kept that were taken out of a store's versions."""
    return f"{store.rstrip('/')}.quarantine"
