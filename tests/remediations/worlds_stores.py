"""Rolling back in each kind of store that a format of its own keeps, for ``test_contract``."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any, ClassVar

from incidents.events import Judged
from incidents.ledger import Ledger
from incidents.models import Health, Verdict
from remediations import RollbackDataset
from tests.remediations.contract import World
from tests.remediations.store_kits import DeltaInS3Kit, DvcKit, IcebergKit, Kit, LakeFSKit


class StoreWorld(World):
    """A dataset with two versions, of which the first was verified good and the second is current."""

    action = RollbackDataset
    kit: ClassVar[type[Kit]]

    def __init__(self, ledger: Ledger, fixtures: dict[str, Any]) -> None:
        super().__init__(ledger, fixtures)
        self.folder = tempfile.TemporaryDirectory(prefix="lastgood-world-")
        self.place = self.kit(Path(self.folder.name))

    def declare(self, book: dict[str, Any]) -> None:
        """A dataset in a place of this test alone."""
        book["datasets"] = {"transactions": {"store": self.place.address}}
        book["catalogs"] = dict(self.place.catalogs)
        book["lakefs"] = {name: server.model_dump() for name, server in self.place.lakefs.items()}

    def build(self) -> RollbackDataset:
        """Written as a pipeline does."""
        good, _ = self.place.written(1), self.place.written(2)
        seen = Judged(version=good, verdict=Verdict(health=Health.healthy, why="seen"))
        self.ledger.append(seen, actor="test", subject="dataset:transactions")
        return RollbackDataset(dataset="transactions", because="a test")

    def state(self) -> Any:
        """What a reader gets, and the pointer, whose version ends with the digest of what the table consists of."""
        return self.place.read(), self.place.store().current()

    def meddle(self) -> None:
        """A pipeline commits."""
        self.place.write(3)


class DeltaWorld(StoreWorld):
    """A Delta table in S3."""

    kit = DeltaInS3Kit
    needs = DeltaInS3Kit.needs


class IcebergWorld(StoreWorld):
    """An Iceberg table in an SQL catalog."""

    kit = IcebergKit


class DvcWorld(StoreWorld):
    """A DVC repository."""

    kit = DvcKit


class LakeFSWorld(StoreWorld):
    """A branch in lakeFS."""

    kit = LakeFSKit
    needs = LakeFSKit.needs

    def build(self) -> RollbackDataset:
        """In a repository without a past."""
        assert isinstance(self.place, LakeFSKit)
        self.place.delete()
        return super().build()


STORES: tuple[type[World], ...] = (DeltaWorld, IcebergWorld, DvcWorld, LakeFSWorld)
