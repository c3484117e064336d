"""What is Iceberg's own: snapshots that expire, a branch with its retention, rows that were deleted, columns added."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import settings
from hypothesis.stateful import initialize
from pyiceberg.table.refs import SnapshotRefType
from pyiceberg.table.update import RemoveSnapshotsUpdate, SetSnapshotRefUpdate
from pyiceberg.types import StringType

from remediations import QuarantineDataset, RollbackDataset
from remediations.base import CannotPlan, Conflict
from remediations.clients import iceberg
from remediations.datasets.base import NoSuchVersion
from remediations.datasets.iceberg import IcebergStore
from tests.remediations.store_kits import IcebergKit
from tests.remediations.test_delta import DeltaMoves, good

TABLE = "lake.transactions"


@pytest.fixture
def kit(tmp_path: Path) -> IcebergKit:
    """A table in a catalog of its own."""
    return IcebergKit(tmp_path)


def rows(kit: IcebergKit, version: str, folder: Path) -> list[int]:
    """A version's numbers, as a suite gets them."""
    return sorted(pq.ParquetFile(kit.store().fetch(version, folder / version)[0]).read()["number"].to_pylist())


def columns(kit: IcebergKit, version: str, folder: Path) -> list[str]:
    """A version's columns, as a suite gets them."""
    return list(pq.ParquetFile(kit.store().fetch(version, folder / version)[0]).schema_arrow.names)


def test_rows_that_were_deleted_are_not_there(kit: IcebergKit, tmp_path: Path) -> None:
    """Each version is fetched with the rows that it had."""
    kit.write(1)
    table = kit.catalog.load_table(TABLE)
    table.append(pa.table({"number": [8, 9], "part": ["a", "b"]}))
    whole = kit.store().current().version
    table.delete("number == 9")
    less = kit.store().current().version
    assert rows(kit, whole, tmp_path) == [1, 1, 1, 1, 1, 8, 9]
    assert rows(kit, less, tmp_path) == [1, 1, 1, 1, 1, 8]


def test_the_branch_keeps_its_retention(kit: IcebergKit) -> None:
    """A move changes which snapshot the branch is at, and not how long the branch keeps its snapshots."""
    good, _ = kit.written(1), kit.written(2)
    table = kit.catalog.load_table(TABLE)
    kept: dict[str, Any] = {"max_ref_age_ms": None, "max_snapshot_age_ms": 86_400_000, "min_snapshots_to_keep": 7}
    at = table.metadata.current_snapshot_id
    update = SetSnapshotRefUpdate(ref_name="main", type=SnapshotRefType.BRANCH, snapshot_id=at, **kept)
    table.catalog.commit_table(table, (), (update,))
    now = kit.store().current()
    kit.store().move(now.successor(good, by="INC-1"), expect=now)
    main = kit.catalog.load_table(TABLE).metadata.refs["main"]
    assert (main.max_snapshot_age_ms, main.min_snapshots_to_keep) == (86_400_000, 7)
    assert main.snapshot_id != at


def test_a_dropped_column_is_another_version(kit: IcebergKit, tmp_path: Path) -> None:
    """It makes no snapshot, and readers of the table no longer get the column: nor does a suite."""
    whole = kit.written(1)
    now = kit.store().current()
    with kit.catalog.load_table(TABLE).update_schema(allow_incompatible_changes=True) as change:
        change.delete_column("part")
    dropped = kit.store().current()
    assert (dropped.version != whole, dropped.moved_by) == (True, "an Iceberg change of the schema")
    assert kit.store().versions() == sorted([whole, dropped.version])
    assert [columns(kit, one, tmp_path) for one in (whole, dropped.version)] == [["number", "part"], ["number"]]
    assert kit.store().missing(dropped.version) == []
    with pytest.raises(Conflict):
        kit.store().move(now.successor(whole, by="INC-1"), expect=now)


def test_readers_get_the_columns_that_were_judged(kit: IcebergKit, tmp_path: Path) -> None:
    """Back across a change of columns, they come back as well; undone, readers get what they had."""
    good = kit.written(1)
    table = kit.catalog.load_table(TABLE)
    with table.update_schema(allow_incompatible_changes=True) as change:
        change.delete_column("part")
    before = kit.store().current()
    read = kit.catalog.load_table(TABLE).scan().to_arrow()
    after = before.successor(good, by="INC-1")
    kit.store().move(after, expect=before)
    assert kit.store().current() == after
    assert kit.catalog.load_table(TABLE).scan().to_arrow().column_names == columns(kit, good, tmp_path)
    kit.store().move(before, expect=after)
    assert kit.store().current() == before
    assert kit.catalog.load_table(TABLE).scan().to_arrow() == read


def test_columns_that_are_changed_at_the_same_moment_are_a_conflict(
    kit: IcebergKit, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody adds one after we have looked: theirs stays, and the snapshot as well."""
    good, _ = kit.written(1), kit.written(2)
    store = kit.store()
    assert isinstance(store, IcebergStore)
    before, commit = store.current(), store._commit

    def late(*arguments: Any) -> None:
        with kit.catalog.load_table(TABLE).update_schema() as change:
            change.add_column("more", StringType())
        commit(*arguments)

    monkeypatch.setattr(store, "_commit", late)
    with pytest.raises(Conflict, match="faster"):
        store.move(before.successor(good, by="INC-1"), expect=before)
    left = kit.catalog.load_table(TABLE).scan().to_arrow()
    assert (left.column_names, set(left["number"].to_pylist())) == (["number", "part", "more"], {2})


def test_a_schema_without_a_column_to_partition_by_is_passed_over(kit: IcebergKit, declare: Any) -> None:
    """The table was partitioned by a new column since: nobody could write to it with the old ones, so it says so."""
    declared(kit, declare)
    version = kit.written(1)
    good(version)
    with kit.catalog.load_table(TABLE).update_schema() as change:
        change.add_column("more", StringType())
    with kit.catalog.load_table(TABLE).update_spec() as change:
        change.add_identity("more")
    with pytest.raises(CannotPlan, match=f"not {version}: .* first change what the table is partitioned"):
        RollbackDataset(dataset="transactions").plan()


def test_an_expired_snapshot_is_passed_over(kit: IcebergKit, tmp_path: Path, declare: Any) -> None:
    """The newest that was verified good was expired: it goes back to the one before, and says so."""
    declared(kit, declare)
    versions = [kit.written(number) for number in range(3)]
    for version in versions[:2]:
        good(version)
    store = kit.store()
    assert isinstance(store, IcebergStore)
    expired = store.manifest(versions[1]).snapshot
    table = kit.catalog.load_table(TABLE)
    table.catalog.commit_table(table, (), (RemoveSnapshotsUpdate(snapshot_ids=[expired]),))
    with pytest.raises(NoSuchVersion, match="expired"):
        kit.store().manifest(versions[1])
    plan = RollbackDataset(dataset="transactions").plan()
    assert plan.after["version"] == versions[0]
    assert any(versions[1] in why for why in plan.because)


def test_a_version_is_shut_away_in_the_tables_properties(kit: IcebergKit, declare: Any) -> None:
    """The mark is a property, goes away again, and changes neither rows nor pointer."""
    declared(kit, declare)
    version = kit.written(1)
    before = kit.store().current()
    action = QuarantineDataset(dataset="transactions", version=version, because="a test")
    plan = action.plan()
    for _ in range(2):
        action.apply(plan)
    mark = f"lastgood.quarantine.{version}"
    assert before == kit.store().current()
    assert kit.store().manifest(version).digest in kit.catalog.load_table(TABLE).properties[mark]
    action.undo(plan)
    assert mark not in kit.catalog.load_table(TABLE).properties


def test_a_catalog_is_the_playbooks_and_pyicebergs_own(kit: IcebergKit) -> None:
    """What the playbook says of it is what it is opened with; made once."""
    kit.store()
    assert iceberg(kit.name) is iceberg(kit.name)
    assert iceberg(kit.name).properties["warehouse"] == kit.catalogs[kit.name]["warehouse"]


def declared(kit: IcebergKit, declare: Any) -> None:
    """The table, in the playbook."""
    where = ", ".join(f"{name}: '{value}'" for name, value in kit.catalogs[kit.name].items())
    stores = f"{{transactions: {{store: '{kit.address}'}}, labelled_transactions: {{store: 's3://none/rows'}}}}"
    declare(f"datasets: {stores}\ncatalogs: {{{kit.name}: {{{where}}}}}")


class IcebergMoves(DeltaMoves):
    """The law of every move, on an Iceberg table that others write too."""

    @initialize()
    def start(self) -> None:
        """A table with two versions."""
        self.home = tempfile.TemporaryDirectory(prefix="lastgood-law-")
        self.kit: Any = IcebergKit(Path(self.home.name))
        self.versions = [self.kit.written(number) for number in (0, 1)]
        self.store = self.kit.store()
        self.model = self.store.current()


TestIcebergMoves = IcebergMoves.TestCase
TestIcebergMoves.settings = settings(max_examples=8, stateful_step_count=12, deadline=None)
