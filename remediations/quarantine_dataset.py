"""Shut a version of a dataset away: marked in its store, and bad on the record until two people say otherwise."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from incidents import quarantine
from incidents.models import Risk
from incidents.playbook import Dataset, Playbook, playbook
from remediations.base import CannotPlan, declared
from remediations.containment import Containment, State
from remediations.datasets import open_store
from remediations.datasets.access import to_mark
from remediations.datasets.base import NoSuchVersion
from remediations.datasets.layout import Version
from remediations.marks import open_marks
from remediations.permissions import Statement


class QuarantineDataset(Containment):
    """Mark a version as quarantined: no action goes back to it, nor to a model that learned from it.

    The pointer stays where it is: `rollback_dataset` moves it, to a version verified good.
    """

    risk: ClassVar[Risk] = Risk.medium
    permissions: ClassVar[tuple[str, ...]] = (
        "s3:ListBucket BUCKET",
        "s3:GetObject STORE/manifests/*, or STORE.lastgood/manifests/*",
        "s3:GetObject, s3:PutObject, s3:DeleteObject STORE/quarantine/*, or STORE.lastgood/quarantine/*",
        "iceberg: set properties of the table, for iceberg",
        "git: push to refs/lastgood/quarantine/*, for dvc",
        "lakefs: ReadTag, CreateTag, DeleteTag, CreateBranch, DeleteBranch, CreateCommit",
    )

    dataset: str = Field(description="The dataset, as the playbook declares it.")
    version: Version = Field(description="The version that is shut away.")

    @classmethod
    def statements(cls, book: Playbook) -> tuple[Statement, ...]:
        """Mark versions of each dataset in S3."""
        return tuple(one for dataset in book.datasets.values() for one in to_mark(dataset.store))

    def subject(self) -> str:
        """``dataset:transactions``."""
        return f"dataset:{self.dataset}"

    def thing(self) -> str:
        """The version."""
        return f"{self.subject()} {self.version}"

    def target(self) -> str:
        """``quarantine:dataset:transactions``."""
        return quarantine.target(self.subject())

    def seen(self) -> State:
        """What its mark says; None where it has none."""
        return {"tag": open_marks(self._declared().store).read(self.version)}

    def wanted(self, seen: State) -> State:
        """Why, and the digest that the version's own name ends with."""
        try:
            digest = open_store(self._declared().store, self.dataset).manifest(self.version).digest
        except NoSuchVersion as error:
            raise CannotPlan(str(error)) from None
        return seen if seen["tag"] is not None else {"tag": f"{self.because or 'by hand'}; sha256 {digest}"}

    def set(self, wanted: State, expected: State) -> None:  # noqa: ARG002  # it is created only where there is none
        """Put the mark, or take it away where there was none."""
        marks = open_marks(self._declared().store)
        if wanted["tag"] is None:
            marks.remove(self.version)
        else:
            marks.put(self.version, str(wanted["tag"]))

    def summary(self, before: State, after: State) -> str:
        """Which version."""
        return f"{self.dataset} {self.version} is quarantined" + ("" if before != after else " already")

    def _declared(self) -> Dataset:
        return declared("dataset", self.dataset, playbook().datasets)
