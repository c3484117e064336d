"""A Delta table as it was opened at one of its versions: what it consists of, and what the commit says of itself."""

from __future__ import annotations

import contextlib
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from pydantic import ValidationError

from incidents.models import Frozen, digest
from remediations.datasets.layout import Contents, Pointer

if TYPE_CHECKING:
    from deltalake import DeltaTable

#: Where in a commit's info the pointer stands.
OURS = "lastgood"


class DeltaFile(Frozen):
    """One data file of a version."""

    #: As the log has it: percent-encoded, relative to the table.
    path: str
    bytes: int
    #: SHA-256 over which rows of it are deleted by a deletion vector; empty where none is.
    deleted: str = ""


class DeltaVersion(Contents):
    """One state of a Delta table: its files, and the schema they are read by."""

    #: Delta's own number of it.
    number: int
    table: str
    files: tuple[DeltaFile, ...]
    columns: str
    partitioned_by: tuple[str, ...]


class Seen(NamedTuple):
    """A Delta table as it was opened at one of its versions."""

    table: DeltaTable
    state: DeltaVersion
    #: What the commit of that version says of itself; a writer need not say anything.
    info: dict[str, Any]

    @property
    def ours(self) -> Pointer | None:
        """The pointer in a commit that we made, where the content is as its version says."""
        with contextlib.suppress(ValidationError):
            pointer = Pointer.model_validate_json(self.info.get(OURS, ""))
            return pointer if pointer.version.endswith(self.state.digest[:12]) else None
        return None

    @property
    def restored(self) -> int | None:
        """The number of the version that the commit brought back, where it is a RESTORE that says so."""
        number = str((self.info.get("operationParameters") or {}).get("version"))
        return int(number) if self.info.get("operation") == "RESTORE" and number.isdecimal() else None


def state(table: DeltaTable, dataset: str, milliseconds: int) -> DeltaVersion:
    """What the table consists of, as it was opened."""
    import pyarrow as pa

    deleted: dict[str, str] = {}
    if "deletionVectors" in (table.protocol().reader_features or []):
        for row in pa.table(table.deletion_vectors()).to_pylist():
            deleted[row["filepath"].rpartition("/")[2]] = digest(row["selection_vector"])
    added = pa.table(table.get_add_actions()).select(["path", "size_bytes"]).to_pylist()
    files = tuple(
        DeltaFile(path=one["path"], bytes=one["size_bytes"], deleted=deleted.get(one["path"].rpartition("/")[2], ""))
        for one in sorted(added, key=lambda one: str(one["path"]))
    )
    described, columns, number = table.metadata(), table.schema().to_json(), table.version()
    partitions = tuple(described.partition_columns)
    whole = digest([described.id, columns, partitions, [[file.path, file.bytes, file.deleted] for file in files]])
    return DeltaVersion(
        dataset=dataset,
        version=f"{number:020d}-{whole[:12]}",
        created_at=datetime.fromtimestamp(milliseconds / 1000, UTC),
        digest=whole,
        number=number,
        table=str(described.id),
        files=files,
        columns=columns,
        partitioned_by=partitions,
    )
