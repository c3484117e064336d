"""A dataset that is an Iceberg table: going back sets the branch ``main`` to an older snapshot, and the schema with it.

Readers of ``main`` get its snapshot with the table's current schema, not with the one that it was written with. So a
version is a snapshot and a schema, named by the snapshot's time and the first 12 hex digits of the digest of both: a
dropped column is another version, though it makes no snapshot. The catalog takes the commit only where ``main`` and the
current schema still are those that were looked at (``assert-ref-snapshot-id``, ``assert-current-schema-id``); the
pointer goes with it, as a property of the table.

A version that others left and came back to, with no commit of ours between, is the same pointer.
"""

from __future__ import annotations

import contextlib
from datetime import UTC, datetime
from itertools import product
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
    """One snapshot of an Iceberg table, as it is read with one of the table's schemas."""

    snapshot: int
    table: str
    #: Where Iceberg says which files it is made of.
    manifest_list: str
    schema_id: int


class IcebergStore(TableStore["Table"]):
    """The table ``iceberg://catalog/namespace.table``; the catalog is one of the playbook's, or of pyiceberg's own."""

    cost = "O(files) to see that they are there, one commit"

    def __init__(self, name: str, catalog: str, table: str) -> None:
        super().__init__(name, f"iceberg://{catalog}/{table}")
        self.catalog, self.table = catalog, table

    def manifest(self, version: str) -> IcebergVersion:
        """The snapshot of that name, and the schema that it is read with.

        Raises:
            NoSuchVersion: one of them was expired, or never was the table's.
        """
        return self._at(self._look(), version)

    def versions(self) -> list[str]:
        """Every snapshot that was not expired with the schema that it was written with, and the current version."""
        table = self._look()
        now = table.metadata
        pairs = [(one, _written_with(table, one)) for one in now.snapshots]
        pairs += [(one, now.current_schema_id) for one in now.snapshots if one.snapshot_id == now.current_snapshot_id]
        return sorted({_state(table, one, schema, self.name).version for one, schema in pairs})

    def preflight(self, version: str) -> Preflight:
        """Whether each data and delete file is there, with the size that it should have.

        Raises:
            NoSuchVersion: as ``manifest``; or the table is partitioned or sorted by a column that its schema lacks.
        """
        table = self._look()
        wanted = self._at(table, version)
        self._refuse_lost_columns(_as_at(table, wanted), version)
        planned = _as_at(table, wanted).scan(snapshot_id=wanted.snapshot).plan_files()
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
        state = _state(table, snapshot, table.metadata.current_schema_id, self.name)
        with contextlib.suppress(ValidationError):
            ours = Pointer.model_validate_json(table.properties.get(OURS, ""))
            if ours.version == state.version:
                return ours
        log = [entry.timestamp_ms for entry in table.metadata.snapshot_log[-1:]]
        by = _operation(snapshot) if state.schema_id == _written_with(table, snapshot) else "change of the schema"
        return Pointer(version=state.version, nonce=digest([state.digest, log])[:32], moved_by=f"an Iceberg {by}")

    def _at(self, table: Table, version: str) -> IcebergVersion:
        """Any snapshot with any schema: which of them readers ever got together, Iceberg does not keep."""
        snapshots = [one for one in table.metadata.snapshots if version.startswith(_moment(one))]
        for snapshot, schema in product(snapshots, table.metadata.schemas):
            found = _state(table, snapshot, schema.schema_id, self.name)
            if found.version == version:
                return found
        raise NoSuchVersion(f"{self}: there is no snapshot {version}; it, or its schema, may have been expired")

    def _refuse_lost_columns(self, then: Table, version: str) -> None:
        from pyiceberg.exceptions import ValidationError as Incompatible

        try:
            then.spec().check_compatible(then.schema())
            then.sort_order().check_compatible(then.schema())
        except Incompatible as error:
            change = "first change what the table is partitioned and sorted by"
            raise NoSuchVersion(f"{self}: its schema of {version} does not go with that, {change}: {error}") from None

    def _commit(self, table: Table, to: Pointer) -> None:
        from pyiceberg.table.refs import SnapshotRefType
        from pyiceberg.table.update import (
            AssertCurrentSchemaId,
            AssertRefSnapshotId,
            AssertTableUUID,
            SetCurrentSchemaUpdate,
            SetPropertiesUpdate,
            SetSnapshotRefUpdate,
        )

        wanted, main = self._at(table, to.version), table.metadata.refs[MAIN]
        if missing := self.missing(to.version):
            raise Damaged(f"{self}: {len(missing)} files of {to.version} are gone, {missing[0]} for one")
        table.catalog.commit_table(
            table,
            (
                AssertTableUUID(uuid=table.metadata.table_uuid),
                AssertRefSnapshotId(ref=MAIN, snapshot_id=table.metadata.current_snapshot_id),
                AssertCurrentSchemaId(current_schema_id=table.metadata.current_schema_id),
            ),
            (
                SetCurrentSchemaUpdate(schema_id=wanted.schema_id),
                SetSnapshotRefUpdate(  # with the retention that the branch has
                    ref_name=MAIN,
                    type=SnapshotRefType.BRANCH,
                    snapshot_id=wanted.snapshot,
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
        wanted = self._at(table, version)
        return _as_at(table, wanted).scan(snapshot_id=wanted.snapshot).to_arrow_batch_reader()


def _as_at(table: Table, version: IcebergVersion) -> Table:
    """The table as it is where that version is current. Iceberg's own time travel takes the snapshot's own schema.

    A scan of it has to name the snapshot: a catalog that plans scans itself knows nothing of this copy.
    """
    from pyiceberg.table import Table

    number, schema = version.snapshot, {"schema_id": version.schema_id}
    known = table.metadata.snapshots
    snapshots = [one.model_copy(update=schema) if one.snapshot_id == number else one for one in known]
    at = {"current_snapshot_id": number, "current_schema_id": version.schema_id, "snapshots": snapshots}
    metadata = table.metadata.model_copy(update=at)
    return Table(table.name(), metadata, table.metadata_location, table.io, table.catalog)


def _written_with(table: Table, snapshot: Snapshot) -> int:
    """A snapshot's own schema; where it names none, as in the format's first version, or one that is gone, the table's.

    So does every reader that travels in time.
    """
    known = {schema.schema_id for schema in table.metadata.schemas}
    return snapshot.schema_id if snapshot.schema_id in known else table.metadata.current_schema_id


def _moment(snapshot: Snapshot) -> str:
    """How the name of each of its versions begins."""
    at = datetime.fromtimestamp(snapshot.timestamp_ms / 1000, UTC)
    return f"{at:%Y%m%dT%H%M%S}.{snapshot.timestamp_ms % 1000:03d}Z-"


def _state(table: Table, snapshot: Snapshot, schema_id: int, dataset: str) -> IcebergVersion:
    uuid = str(table.metadata.table_uuid)
    whole = digest([uuid, snapshot.snapshot_id, snapshot.manifest_list, schema_id])
    return IcebergVersion(
        dataset=dataset,
        version=f"{_moment(snapshot)}{whole[:12]}",
        created_at=datetime.fromtimestamp(snapshot.timestamp_ms / 1000, UTC),
        digest=whole,
        snapshot=snapshot.snapshot_id,
        table=uuid,
        manifest_list=snapshot.manifest_list,
        schema_id=schema_id,
    )


def _operation(snapshot: Snapshot) -> str:
    return snapshot.summary.operation.value if snapshot.summary else "commit"
