"""A dataset that is an Iceberg table: going back sets the branch ``main`` to an older snapshot.

A version is a snapshot, named by its time and the first 12 hex digits of its digest. The catalog takes the commit only
where ``main`` still is at the snapshot that was looked at (``assert-ref-snapshot-id``); the pointer goes with it, as a
property of the table. Rows come back, columns do not: the table's schema stays as it is.

A snapshot that others left and came back to, with no commit of ours between, is the same pointer.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from pydantic import ValidationError

from incidents.models import digest
from remediations import clients
from remediations.datasets.base import Damaged, NoSuchVersion, NotPublished, Pointer, Preflight
from remediations.datasets.layout import Contents
from remediations.datasets.side_by_side import side_by_side
from remediations.datasets.tables import TableStore

if TYPE_CHECKING:
    import pyarrow as pa
    from pyiceberg.table import Table
    from pyiceberg.table.snapshots import Snapshot

#: The property of the table that the pointer stands in.
OURS = "lastgood.pointer"
MAIN = "main"


class IcebergVersion(Contents):
    """One snapshot of an Iceberg table."""

    snapshot: int
    table: str
    #: Where Iceberg says which files it is made of.
    manifest_list: str
    schema_id: int | None


class IcebergStore(TableStore["Table"]):
    """The table ``iceberg://catalog/namespace.table``; the catalog is one of the playbook's, or of pyiceberg's own."""

    cost = "O(files) to see that they are there, one commit"

    def __init__(self, name: str, catalog: str, table: str) -> None:
        super().__init__(name, f"iceberg://{catalog}/{table}")
        self.catalog, self.table = catalog, table

    def manifest(self, version: str) -> IcebergVersion:
        """The snapshot of that name.

        Raises:
            NoSuchVersion: it was expired, or never was one of the table's.
        """
        return self._at(self._look(), version)

    def versions(self) -> list[str]:
        """Every snapshot that was not expired, oldest first."""
        return sorted(found.version for found in self._all(self._look()))

    def preflight(self, version: str) -> Preflight:
        """Whether each data and delete file is there, with the size that it should have."""
        table = self._look()
        planned = table.scan(snapshot_id=self._at(table, version).snapshot).plan_files()
        files = {file.file_path: file for task in planned for file in (task.file, *task.delete_files)}

        def there(path: str) -> bool:
            found = table.io.new_input(path)
            return bool(found.exists()) and len(found) == files[path].file_size_in_bytes

        found = side_by_side(there, list(files))
        missing = sorted(path for path, whole in zip(files, found, strict=True) if not whole)
        return Preflight(missing=missing, requests=len(files) + 3, bytes=0)

    def _look(self) -> Table:
        from pyiceberg.exceptions import NoSuchTableError

        try:
            return clients.iceberg(self.catalog).load_table(self.table)
        except NoSuchTableError:
            raise NotPublished(f"{self}: there is no Iceberg table") from None

    def _pointer_at(self, table: Table) -> Pointer:
        snapshot = table.current_snapshot()
        if snapshot is None:
            raise NotPublished(f"{self}: the table never had rows")
        state = _state(table, snapshot, self.name)
        with contextlib.suppress(ValidationError):
            ours = Pointer.model_validate_json(table.properties.get(OURS, ""))
            if ours.version == state.version:
                return ours
        log = [entry.timestamp_ms for entry in table.metadata.snapshot_log[-1:]]
        return Pointer(
            version=state.version, nonce=digest([state.digest, log])[:32], moved_by=f"an Iceberg {_operation(snapshot)}"
        )

    def _all(self, table: Table) -> Iterator[IcebergVersion]:
        return (_state(table, snapshot, self.name) for snapshot in table.metadata.snapshots)

    def _at(self, table: Table, version: str) -> IcebergVersion:
        for found in self._all(table):
            if found.version == version:
                return found
        raise NoSuchVersion(f"{self}: there is no snapshot {version}; it may have been expired")

    def _commit(self, table: Table, to: Pointer) -> None:
        from pyiceberg.table.refs import SnapshotRefType
        from pyiceberg.table.update import (
            AssertRefSnapshotId,
            AssertTableUUID,
            SetPropertiesUpdate,
            SetSnapshotRefUpdate,
        )

        wanted, main = self._at(table, to.version).snapshot, table.metadata.refs[MAIN]
        if missing := self.missing(to.version):
            raise Damaged(f"{self}: {len(missing)} files of {to.version} are gone, {missing[0]} for one")
        table.catalog.commit_table(
            table,
            (
                AssertTableUUID(uuid=table.metadata.table_uuid),
                AssertRefSnapshotId(ref=MAIN, snapshot_id=table.metadata.current_snapshot_id),
            ),
            (
                SetSnapshotRefUpdate(  # with the retention that the branch has
                    ref_name=MAIN,
                    type=SnapshotRefType.BRANCH,
                    snapshot_id=wanted,
                    max_ref_age_ms=main.max_ref_age_ms,
                    max_snapshot_age_ms=main.max_snapshot_age_ms,
                    min_snapshots_to_keep=main.min_snapshots_to_keep,
                ),
                SetPropertiesUpdate(updates={OURS: to.model_dump_json()}),
            ),
        )

    def _overwrite(self, rows: pa.RecordBatchReader) -> None:
        new = rows.read_all()
        try:
            table = self._look()
        except NotPublished:
            table = clients.iceberg(self.catalog).create_table(self.table, schema=new.schema)
        table.overwrite(new)

    def _read(self, version: str) -> pa.RecordBatchReader:
        table = self._look()
        return table.scan(snapshot_id=self._at(table, version).snapshot).to_arrow_batch_reader()


def _state(table: Table, snapshot: Snapshot, dataset: str) -> IcebergVersion:
    at = datetime.fromtimestamp(snapshot.timestamp_ms / 1000, UTC)
    uuid = str(table.metadata.table_uuid)
    whole = digest([uuid, snapshot.snapshot_id, snapshot.manifest_list, snapshot.schema_id])
    return IcebergVersion(
        dataset=dataset,
        version=f"{at:%Y%m%dT%H%M%S}.{snapshot.timestamp_ms % 1000:03d}Z-{whole[:12]}",
        created_at=at,
        digest=whole,
        snapshot=snapshot.snapshot_id,
        table=uuid,
        manifest_list=snapshot.manifest_list,
        schema_id=snapshot.schema_id,
    )


def _operation(snapshot: Snapshot) -> str:
    return snapshot.summary.operation.value if snapshot.summary else "commit"
