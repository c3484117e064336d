"""Stores that are tables of a format that keeps its own versions, and whose pointer is the table's own head.

A move is one commit of that format, made only on top of the very state that was looked at, so a writer who is faster
is never overwritten. Other writers commit without asking us: what they leave has a pointer of its own.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Generic, NamedTuple, TypeVar

from remediations.base import Conflict
from remediations.datasets.base import Contents, Damaged, DatasetStore, Pointer, refuse_twins, told
from remediations.datasets.fetching import fetch_all

if TYPE_CHECKING:
    import pyarrow as pa

Table = TypeVar("Table")


class Rows(NamedTuple):
    """The one file that a version is fetched as."""

    path: str = "rows.parquet"


class TableStore(DatasetStore, Generic[Table]):
    """A table whose format keeps its versions."""

    atomic = True
    snapshot_reads = True
    reversible = True

    def current(self) -> Pointer:
        """The pointer: the one set last, or one made up for what another writer committed since.

        Raises:
            NotPublished: there is no such table, or it never had rows.
        """
        return self._pointer_at(self._table())

    def move(self, to: Pointer, expect: Pointer | None) -> None:
        """Commit the content of ``to`` on top of ``expect``. A commit whose answer was lost is known by its nonce.

        Raises:
            Conflict: somebody else committed; theirs stays.
            NoSuchVersion: the format no longer keeps that version.
        """
        table = self._table()
        found = self._pointer_at(table)
        if found == to:
            return
        if found != expect:
            raise Conflict(f"{self} is at {told(found)}, not at {told(expect)} as expected; it was left so")
        try:
            self._commit(table, to)
        except Exception as error:
            try:
                found = self.current()
            except Exception:
                raise error from None
            if found == to:
                return
            if found != expect:
                raise Conflict(f"{self}: somebody else was faster, and set it to {told(found)}") from error
            raise

    def publish(self, files: Sequence[Path], *, at: datetime | None = None) -> Contents:
        """Overwrite the table with the rows of these Parquet files, as any writer does; readers get them at once."""
        import pyarrow.dataset as ds

        if at is not None:
            raise ValueError("the time of a table's version is that of its commit")
        refuse_twins(files)
        self._overwrite(ds.dataset([str(file) for file in files], format="parquet").scanner().to_reader())
        return self.manifest(self.current().version)

    def fetch(self, version: str, into: Path) -> list[Path]:
        """Write the rows of ``version`` as one Parquet file.

        They are read through the format's own library: its files alone lack partition columns, hold rows that are
        deleted, and may name columns otherwise.
        """
        self.manifest(version)
        return fetch_all([Rows()], lambda _, place: self._write(version, place), into)

    def _write(self, version: str, place: Path) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            batches = self._read(version)
            with pq.ParquetWriter(place, batches.schema, store_schema=False) as writer:
                for batch in batches:
                    writer.write_batch(batch)
        except (pa.ArrowInvalid, FileNotFoundError) as error:
            raise Damaged(f"{self}: the rows of {version} can't be read: {str(error)[:300]}") from error

    @abstractmethod
    def _table(self) -> Table:
        """The table as it is now."""

    @abstractmethod
    def _pointer_at(self, table: Table) -> Pointer:
        """The pointer of the table as it was looked at."""

    @abstractmethod
    def _commit(self, table: Table, to: Pointer) -> None:
        """Commit the content of ``to``, with the pointer in the commit, only where the table still is as given."""

    @abstractmethod
    def _overwrite(self, rows: pa.RecordBatchReader) -> None:
        """Replace all rows in one commit; make the table where there is none."""

    @abstractmethod
    def _read(self, version: str) -> pa.RecordBatchReader:
        """The rows of a version, whole and as its readers get them."""
