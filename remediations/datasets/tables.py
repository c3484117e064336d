"""Stores that are tables of a format that keeps its own versions. What is read of them goes through its own library."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from remediations.datasets.base import Contents, Damaged, refuse_twins
from remediations.datasets.fetching import fetch_all
from remediations.datasets.heads import HeadStore, Seen

if TYPE_CHECKING:
    import pyarrow as pa


class Rows(NamedTuple):
    """The one file that a version is fetched as."""

    path: str = "rows.parquet"


class TableStore(HeadStore[Seen]):
    """A table whose format keeps its versions."""

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
    def _overwrite(self, rows: pa.RecordBatchReader) -> None:
        """Replace all rows in one commit; make the table where there is none."""

    @abstractmethod
    def _read(self, version: str) -> pa.RecordBatchReader:
        """The rows of a version, whole and as its readers get them."""
