"""A dataset that is ordinary keys under a prefix of a bucket with S3 versioning, which other tools read and write.

A version of it is a version set: the exact VersionId of every key that was current at one moment. Beside the prefix,
where its readers don't look, stand::

    PREFIX.lastgood/manifests/<version>.json   version sets, never changed
    PREFIX.lastgood/copies/<version>/*.json    versions that are copies of that set's, where the ETag does not tell
    PREFIX.lastgood/current                    the head: the pointer, and the move that is under way

What is current is what is there: where plain writes changed the keys since the pointer was set, ``current`` gives a
pointer of its own to the state that they left. S3 must keep old versions as long as you want to go back: a lifecycle
rule that removes them ends that.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import TypeVar

from incidents.models import digest
from remediations import clients
from remediations.base import Conflict
from remediations.datasets.base import (
    Damaged,
    DatasetError,
    DatasetStore,
    NotPublished,
    Pointer,
    Preflight,
    refuse_twins,
    told,
)
from remediations.datasets.beside import Beside
from remediations.datasets.fetching import fetch_all
from remediations.datasets.history import History, holds, look
from remediations.datasets.key_move import KeyMove, differing
from remediations.datasets.restore import BATCH, Keys
from remediations.datasets.s3_files import download
from remediations.datasets.side_by_side import side_by_side
from remediations.datasets.version_set import Head, Move, ObjectVersion, VersionSet

Seen = TypeVar("Seen")

#: Requests of a move besides listing, copying and deleting: head, version sets, what are copies, whether it may.
FIXED = 8


class VersionedPrefix(DatasetStore):
    """The keys under ``s3+versions://bucket/prefix``.

    A move is not atomic: it changes key after key, and whoever reads by plain keys sees a mixture meanwhile. Whoever
    reads ``current`` and fetches that version gets the exact versions of one state, before, during and after.
    """

    atomic = False
    snapshot_reads = False
    reversible = True
    cost = "O(versions) to list, O(what differs) to copy"

    def __init__(self, name: str, bucket: str, prefix: str) -> None:
        super().__init__(name, f"s3+versions://{bucket}/{prefix}")
        self.bucket = bucket
        self.prefix = f"{prefix}/"
        self._keys = Keys(bucket, self.prefix)
        self._beside = Beside(name, bucket, f"{prefix}.lastgood/")
        #: States that were seen and are not on file.
        self._seen: dict[str, VersionSet] = {}

    def current(self) -> Pointer:
        """The pointer, where the keys still are as it says; or one made up for the state that plain writes left.

        While a move is under way, also one whose process was killed, it is the pointer from before that move.
        """
        return self._at_rest(self._current)[1]

    def manifest(self, version: str) -> VersionSet:
        """The version set of that name: on file, or the state that this store looked at."""
        return self._seen.get(version) or self._beside.kept(version)

    def versions(self) -> list[str]:
        """Every version set on file, oldest first."""
        return self._beside.versions()

    def publish(self, files: Sequence[Path], *, at: datetime | None = None) -> VersionSet:
        """Write these files to their plain keys, as any tool does, and put the state that results on file.

        Readers get them at once; no pointer is needed for that, and none is set. S3 itself says when it was.
        """
        if at is not None:
            raise ValueError("the time of a version under a versioned prefix is S3's own")
        refuse_twins(files)
        client = clients.s3()
        side_by_side(lambda file: client.upload_file(str(file), self.bucket, self.prefix + file.name), files)
        return self.snapshot()

    def snapshot(self, at: datetime | None = None) -> VersionSet:
        """Put on file the present state, or that at a moment: of each key the newest version of that second or before.

        S3 lists times in whole seconds; the set holds exact VersionIds, so from then on it is exact. A moment in the
        middle of somebody's writing, or of a move, is the mixture that was there.

        Raises:
            NotPublished: nothing was there.
            DatasetError: a move is under way; or S3's listing does not tell the state at that moment.
        """
        self._keys.must_be_versioned()
        head, history = self._at_rest(self._look)
        if at is None and head.moving:
            raise DatasetError(_under_way(self, head.moving))
        state = history.now() if at is None else history.at(at)
        if state is None:
            raise NotPublished(f"{self}: nothing was there")
        self._beside.keep(state)
        return state

    def preflight(self, version: str) -> Preflight:
        """Compare two states: every key that differs is one copy, a thousand keys that must go are one request."""
        self._keys.must_be_versioned()
        wanted = self.manifest(version)
        history = self._look(self._beside.head()[0])
        steps = differing(history.now() or wanted, wanted, self._beside)
        copies = [step.want for step in steps if step.want]
        self._keys.must_be_copyable(steps)
        return Preflight(
            missing=[one.path for one in wanted.objects if not history.has(one)],
            requests=FIXED + history.requests + len(copies) + -(-(len(steps) - len(copies)) // BATCH),
            bytes=sum(one.bytes for one in copies),
        )

    def move(self, to: Pointer, expect: Pointer | None) -> None:
        """Bring the keys to the state ``to`` from the state ``expect``, then set the pointer.

        Only what differs is touched, and each key only while it is as it was seen. It may be killed at any point:
        called again it does the rest. Without a pointer yet (``expect`` None) one can be set to what is there.

        Raises:
            Conflict: somebody wrote a key in between. It stays as it is, and what this call had changed was put back;
                not what an earlier call had changed that was killed.
            Damaged: a version that is needed is gone; nothing was changed.
            DatasetError, ClientError, BotoCoreError: S3 failed on the way. Call again to do the rest.
        """
        head, etag = self._beside.head()
        history = self._look(head)
        if head.moving is None:
            found = self._found(head, history)
            if found == to:
                return
            if expect is None and head.pointer is None and found.version == to.version:
                expect = found
            if found != expect:
                raise Conflict(f"{self} is at {told(found)}, not at {told(expect)} as expected; it was left so")
        elif expect is None or head.moving not in (Move(expect=expect, to=to), Move(expect=to, to=expect)):
            raise Conflict(f"{_under_way(self, head.moving)}: do that again, or take it back, and then this")
        before, after = self._kept(expect.version), self._kept(to.version)
        way = KeyMove(self._keys, self._beside, before, after)
        steps, changed = way.left(history.now() or before)
        if steps and not changed:
            self._keys.must_be_versioned()
            self._keys.must_be_copyable(steps)
            gone = [step.path for step in steps if step.want and not history.has(step.want)]
            if gone:
                raise Damaged(f"{self}: {len(gone)} versions that are needed are gone, that of {gone[0]} for one")
            if head.moving is None:
                etag = self._beside.set_head(Head(pointer=head.pointer, moving=Move(expect=expect, to=to)), etag)
            changed = way.run(steps)
        if changed:
            self._beside.set_head(Head(pointer=head.pointer), etag)
            raise Conflict(
                f"{self}: somebody else changed {len(changed)} keys, {changed[0]} for one; they were left so"
            )
        self._beside.set_head(Head(pointer=to), etag)

    def fetch(self, version: str, into: Path) -> list[Path]:
        """Download the exact versions of that set. A state that was only looked at goes on file: it can be judged now.

        Keys that end with a slash are marks of folders, and no files.
        """
        files = [one for one in self._kept(version).objects if not one.path.endswith("/")]
        for one in files:
            if any(part in ("", ".", "..") for part in one.path.split("/")) or set(one.path) & {"\\", "\0"}:
                raise DatasetError(f"{self}: the key {one.path!r} can't be a file's path")
        return fetch_all(files, self._get, into)

    def _get(self, wanted: ObjectVersion, place: Path) -> None:
        if not download(self.bucket, self.prefix + wanted.path, place, wanted.bytes, wanted.version_id):
            raise Damaged(f"{self}: the version {wanted.version_id} of {wanted.path} is gone")
        if place.stat().st_size != wanted.bytes:
            raise Damaged(f"{self}: {wanted.path} has {place.stat().st_size} bytes instead of {wanted.bytes}")

    def _at_rest(self, look: Callable[[Head], Seen]) -> tuple[Head, Seen]:
        """A look during which no move began or ended. While one is under way, it is at the mixture that it makes."""
        while True:
            head, etag = self._beside.head()
            seen = look(head)
            if self._beside.head()[1] == etag:
                return head, seen

    def _current(self, head: Head) -> Pointer:
        if head.moving:
            return head.moving.expect
        if head.pointer and holds(self.bucket, self.prefix, self.manifest(head.pointer.version)):
            return head.pointer
        return self._found(head, self._look(head))

    def _look(self, head: Head) -> History:
        known = self.manifest(head.pointer.version).objects if head.pointer else ()
        return look(self.name, self.bucket, self.prefix, [one.path for one in known])

    def _found(self, head: Head, history: History) -> Pointer:
        """The pointer to what is there: the one that was set, or one of its own for what plain writes left."""
        present = history.now()
        if present is None:
            raise NotPublished(f"{self}: nothing is there, and nothing was")
        if head.pointer and not differing(present, self.manifest(head.pointer.version), self._beside):
            return head.pointer
        self._seen[present.version] = present
        nonce = digest([head.model_dump(mode="json"), present.version])[:32]
        return Pointer(version=present.version, nonce=nonce, moved_by="plain writes")

    def _kept(self, version: str) -> VersionSet:
        """The version set, which is on file from here on."""
        found = self.manifest(version)
        if self._seen.pop(version, None):
            self._beside.keep(found)
        return found


def _under_way(store: DatasetStore, move: Move) -> str:
    return f"{store} is under way from {told(move.expect)} to {told(move.to)}"
