"""A dataset that is a Delta table: going back is Delta's own RESTORE.

A version is a state of the table, named ``<table version, 20 digits>-<first 12 hex digits of its digest>``. RESTORE
makes a new table version with the content of an old one: that has the old one's name, since it is the same data. Our
commits carry the pointer in their commit info, so two moves to one version are told apart.

In S3 a commit is a conditional PUT. A server that ignores ``If-None-Match`` lets two writers overwrite each other, so
it is not for this. Writers that lock with DynamoDB need us to do it as well: ``AWS_S3_LOCKING_PROVIDER=dynamodb``.
"""

from __future__ import annotations

import contextlib
import json
import re
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from incidents.models import digest
from remediations import clients
from remediations.datasets.base import NoSuchVersion, NotPublished, Pointer, Preflight
from remediations.datasets.delta_state import OURS, DeltaVersion, Seen, state
from remediations.datasets.tables import TableStore

if TYPE_CHECKING:
    import pyarrow as pa
    from pyarrow import fs

_LOG = "_delta_log/{:020d}.json"
_NAME = re.compile(r"([0-9]{20})-[0-9a-f]{12}")


class DeltaStore(TableStore[Seen]):
    """The Delta table at ``address``, which is ``s3://bucket/prefix`` or ``file:///absolute/path``."""

    cost = "O(files that differ) to look for them, one commit"

    def __init__(self, name: str, address: str) -> None:
        scheme, _, place = address.partition("://")
        super().__init__(name, f"{scheme}+delta://{place}")
        self.address = address

    def manifest(self, version: str) -> DeltaVersion:
        """The files of that version.

        Raises:
            NoSuchVersion: Delta's log does not reach back to it any more, or the table was made anew since.
        """
        return self._at(version).state

    def versions(self) -> list[str]:
        """Every version that the log still has, oldest first. Each is opened, which takes a while for a long log."""
        from pyarrow import fs

        found: set[str] = set()
        for commit in self._files().get_file_info(fs.FileSelector("_delta_log", allow_not_found=True)):
            with contextlib.suppress(NoSuchVersion, ValueError):  # a checkpoint, or what came before one
                found.add(self._name(self._open(int(commit.base_name.removesuffix(".json")))))
        return sorted(found)

    def preflight(self, version: str) -> Preflight:
        """Whether VACUUM has left all of its files, by a listing of the table's folder."""
        from pyarrow import fs

        wanted = self.manifest(version).files
        there = {found.path: found.size for found in self._files().get_file_info(fs.FileSelector("", recursive=True))}
        missing = sorted(file.path for file in wanted if there.get(unquote(file.path)) != file.bytes)
        return Preflight(missing=missing, requests=len(wanted) + 2, bytes=0)

    def _look(self) -> Seen:
        return self._open(None)

    def _open(self, number: int | None) -> Seen:
        from deltalake import DeltaTable
        from deltalake.exceptions import DeltaError, TableNotFoundError

        try:
            table = DeltaTable(self.address, version=number, storage_options=self._options())
        except DeltaError as error:
            if number is not None:
                why = str(error)[:200]
                raise NoSuchVersion(f"{self}: Delta's log has no version {number} any more: {why}") from error
            if isinstance(error, TableNotFoundError):
                raise NotPublished(f"{self}: there is no Delta table") from None
            raise
        info = self._info(table.version())
        return Seen(table, state(table, self.name, info.get("timestamp", 0)), info)

    def _info(self, number: int) -> dict[str, Any]:
        """What a commit says of itself. ``history`` counts from the newest one, whatever a table was opened at."""
        with contextlib.suppress(FileNotFoundError), self._files().open_input_stream(_LOG.format(number)) as log:
            for line in log.read().splitlines():
                if "commitInfo" in (action := json.loads(line)):
                    return dict(action["commitInfo"])
        return {}

    def _files(self) -> fs.PyFileSystem:
        from deltalake.fs import DeltaStorageHandler
        from pyarrow import fs

        return fs.PyFileSystem(DeltaStorageHandler(self.address, self._options()))

    def _options(self) -> dict[str, str]:
        return clients.object_store() if self.address.startswith("s3:") else {}

    def _pointer_at(self, table: Seen) -> Pointer:
        if table.ours is not None:
            return table.ours
        nonce = digest([table.state.table, table.state.number, table.state.digest])[:32]
        by = f"a Delta {table.info.get('operation', 'commit')}"
        return Pointer(version=self._name(table), nonce=nonce, moved_by=by)

    def _name(self, seen: Seen) -> str:
        """The name of what the table holds: that of the version that a RESTORE brought back, or its own."""
        if seen.ours is not None:
            return seen.ours.version
        if seen.restored is not None and seen.restored < seen.state.number:
            with contextlib.suppress(NoSuchVersion):
                earlier = self._open(seen.restored)
                if earlier.state.digest == seen.state.digest:
                    return self._name(earlier)
        return seen.state.version

    def _at(self, version: str) -> Seen:
        """The table at that version: by its number, or as it is now where it was brought back to it."""
        known = _NAME.fullmatch(version)
        if known is None:
            raise NoSuchVersion(f"{self}: {version!r} is not the name of a Delta version")
        with contextlib.suppress(NoSuchVersion):
            found = self._open(int(known[1]))
            if found.state.version == version:
                return found
        found = self._look()
        if self._name(found) != version:
            raise NoSuchVersion(f"{self}: Delta's log does not have {version} any more, or has something else there")
        return found._replace(state=found.state.model_copy(update={"version": version}))

    def _commit(self, table: Seen, to: Pointer) -> None:
        from deltalake import CommitProperties, PostCommitHookProperties

        wanted, delta = self._at(to.version), table.table
        # Without retries a commit is refused if anybody else has committed since the table was looked at.
        properties = CommitProperties(custom_metadata={OURS: to.model_dump_json()}, max_commit_retries=0)
        # A checkpoint is somebody else's to make, and an old log is not ours to delete: it is the way back.
        nothing_more = PostCommitHookProperties(create_checkpoint=False, cleanup_expired_logs=False)
        if wanted.state.digest != table.state.digest:
            delta.restore(wanted.state.number, commit_properties=properties, post_commithook_properties=nothing_more)
            return
        # There is nothing for RESTORE to do, and it would make no commit.
        partitions = delta.metadata().partition_columns
        delta.create_write_transaction(
            [],
            mode="append",
            schema=delta.schema(),
            partition_by=partitions,
            commit_properties=properties,
            post_commithook_properties=nothing_more,
        )

    def _overwrite(self, rows: pa.RecordBatchReader) -> None:
        from deltalake import write_deltalake

        options = self._options()
        write_deltalake(self.address, rows, mode="overwrite", schema_mode="overwrite", storage_options=options)

    def _read(self, version: str) -> pa.RecordBatchReader:
        import pyarrow as pa

        return pa.RecordBatchReader.from_stream(self._at(version).table.scan())
