"""A dataset on a branch of a lakeFS repository: going back is a commit on the branch that brings old objects back.

A version is what is under the prefix: its name tells when the branch first had that, and the first 12 hex digits of the
digest of its paths, checksums and sizes. Only what is committed counts; what was merged in counts from the merge on.

lakeFS has no request that commits only where a branch is at a given commit: a merge that loses a race is made again on
top of the winner. So the wanted content is made on a branch of our own, which begins at the very commit that was looked
at; it is seen to be right there, and then merged, in one step for readers, and also where the branch is protected:

- History only grows. A path that somebody else changed meanwhile, and we as well, each in another way, is a conflict,
  and lakeFS refuses the merge; so it does where the branch has changes that are not committed. Every move also writes
  ``PREFIX.lastgood/current``, so that of two of our own moves one is refused.
- The window that stays: a commit between look and merge that changes only other paths under the prefix is merged with
  ours, and readers get a mixture of both. Our commit tells what it is meant to come after and to leave, so that is seen
  at once, or by the next move where the process was killed: it is reverted by one more, theirs stays, it is a conflict.
  Where they changed the same paths once more before that, it can't be reverted: a conflict for a person to look at.

Source: api/swagger.yml, and Merge and Revert in pkg/graveler/graveler.go, of treeverse/lakeFS.
"""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path

from incidents.models import digest
from remediations.base import Conflict
from remediations.datasets.base import (
    Damaged,
    DatasetError,
    NoSuchVersion,
    NotPublished,
    Pointer,
    Preflight,
    refuse_twins,
)
from remediations.datasets.dvc_files import md5_of
from remediations.datasets.fetching import fetch_all
from remediations.datasets.heads import HeadStore
from remediations.datasets.lakefs_branch import LakeFSBranch, LakeFSObject
from remediations.datasets.lakefs_history import NOTHING, History, Note, digest_of, history
from remediations.datasets.layout import Contents
from remediations.datasets.side_by_side import side_by_side


class LakeFSVersion(Contents):
    """What the branch had under the prefix."""

    #: The first commit of the branch that had it.
    commit: str


class LakeFSStore(HeadStore[History]):
    """``lakefs://server/repository@branch/prefix``; where the server is, the playbook says."""

    cost = "one listing a commit of the branch, once a process; a copy inside the storage of each object that differs"

    def __init__(self, name: str, server: str, repository: str, branch: str, prefix: str) -> None:
        super().__init__(name, f"lakefs://{server}/{repository}@{branch}/{prefix}")
        self.branch = LakeFSBranch(server, repository, branch, prefix)
        self._read: History | None = None

    def manifest(self, version: str) -> LakeFSVersion:
        """The content of that name.

        Raises:
            NoSuchVersion: the branch never had it.
        """
        return self._in(self._history(), version)

    def versions(self) -> list[str]:
        """Every content that the branch had under the prefix, oldest first."""
        return sorted({one.version for one in self._history().changes if one.digest != NOTHING})

    def publish(self, files: Sequence[Path], *, at: datetime | None = None) -> LakeFSVersion:
        """Have these files under the prefix and nothing else, by one commit.

        Raises:
            Conflict: somebody else committed meanwhile; theirs stays.
        """
        if at is not None:
            raise ValueError("the time of a version in lakeFS is that of its commit")
        refuse_twins(files)
        seen, nonce = self._history(), secrets.token_hex(16)
        with self._tidied(nonce):
            made, new = self.branch.branch_off(self._own(nonce), seen.head), {file.name for file in files}
            made.delete([one.path for one in made.objects(seen.head) if one.path not in new])
            stored = side_by_side(made.upload, files)
            note = Note(on=seen.top, digest=digest_of(stored))
            self._land(made, seen.head, nonce, f"Publish {self.name}", note)
        return self.manifest(self.current().version)

    def move(self, to: Pointer, expect: Pointer | None) -> None:
        """As every ``HeadStore``; a mixture that a move of ours left when it was killed is taken back first."""
        self._settle()
        with self._tidied(to.nonce):
            try:
                super().move(to, expect)
            except Conflict:
                self._settle()  # the merge may have landed although its answer was lost
                raise

    def fetch(self, version: str, into: Path) -> list[Path]:
        """Download the objects, and check the size of each, and its MD5 where that is what lakeFS has."""
        commit = self.manifest(version).commit

        def get(wanted: LakeFSObject, place: Path) -> None:
            if not self.branch.get(commit, wanted.path, place):
                raise Damaged(f"{self}: the object of {wanted.path} is missing")
            if place.stat().st_size != wanted.bytes:
                raise Damaged(f"{self}: the object of {wanted.path} was altered: it has not {wanted.bytes} bytes")
            if len(wanted.checksum) == 32 and md5_of(place) != wanted.checksum:  # other checksums are of parts
                raise Damaged(f"{self}: the object of {wanted.path} was altered: its MD5 is not {wanted.checksum}")

        # A name that ends with a slash is what some tools leave for a folder.
        return fetch_all([one for one in self.branch.objects(commit) if not one.path.endswith("/")], get, into)

    def preflight(self, version: str) -> Preflight:
        """Whether the storage has each of its objects; garbage collection may have taken what old commits hold."""
        seen = self._history()
        commit = self._in(seen, version).commit
        objects, now = self.branch.objects(commit), set(self.branch.objects(seen.head))
        differ = [one for one in objects if one not in now]
        return Preflight(
            missing=self._gone(commit, objects), requests=len(differ) + 10, bytes=sum(one.bytes for one in differ)
        )

    def _history(self) -> History:
        head = self.branch.head()
        if self._read is None or self._read.head != head:
            self._read = history(self.branch, head)
        return self._read

    def _look(self) -> History:
        seen = self._history()
        if seen.newest is None or seen.newest.digest == NOTHING:
            raise NotPublished(f"{self}: there is nothing under the prefix")
        return seen

    def _pointer_at(self, seen: History) -> Pointer:
        change = seen.changes[-1]
        if change.note and change.note.pointer and not change.mixed:
            return change.note.pointer
        nonce = digest([self.uri, change.commit.id])[:32]
        return Pointer(version=change.version, nonce=nonce, moved_by=f"{change.commit.committer} with lakeFS")

    def _commit(self, seen: History, to: Pointer) -> None:
        wanted = self._in(seen, to.version)
        objects = self.branch.objects(wanted.commit)
        if missing := self._gone(wanted.commit, objects):
            raise Damaged(f"{self}: {len(missing)} objects of {to.version} are gone, {missing[0]} for one")
        made, now = self.branch.branch_off(self._own(to.nonce), seen.head), set(self.branch.objects(seen.head))
        made.delete(sorted({one.path for one in now} - {one.path for one in objects}))
        side_by_side(lambda one: made.copy(one.path, wanted.commit), [one for one in objects if one not in now])
        message = f"Bring {self.name} back to {to.version}: {to.moved_by}"
        self._land(made, seen.head, to.nonce, message, Note(on=seen.top, digest=wanted.digest, pointer=to))

    def _land(self, made: LakeFSBranch, head: str, nonce: str, message: str, note: Note) -> None:
        """Commit what was made aside, see that it is right, merge it, and see that the branch has just that."""
        made.put(f"{self.branch.prefix}.lastgood/current", f"{nonce} on {head}\n".encode())
        commit = made.commit(message, {})
        if digest_of(made.objects(commit.id)) != note.digest:
            raise DatasetError(f"{self}: lakeFS did not make what was asked; the branch was left as it was")
        merged = self.branch.merge(commit.id, message, note.beside(self.branch.prefix))
        if any(one.mixed for one in self._history().changes if one.commit.id == merged):
            self._take_back(merged)
            raise Conflict(f"{self}: somebody else was faster, and changed other objects; ours was taken back")

    def _settle(self) -> None:
        """Take our newest commit back where somebody's fell into its window, and nobody was told."""
        newest = self._history().newest
        if newest and newest.mixed:
            self._take_back(newest.commit.id)

    def _take_back(self, commit: str) -> None:
        message = f"Take back what was merged with another change to {self.name}"
        self.branch.revert(commit, message, Note().beside(self.branch.prefix))

    @contextlib.contextmanager
    def _tidied(self, nonce: str) -> Iterator[None]:
        """At the end the branch of our own goes, if there is one; where the process is killed, the next time."""
        try:
            yield
        except Exception:
            self._drop(nonce)
            raise
        self._drop(nonce)

    def _drop(self, nonce: str) -> None:
        with contextlib.suppress(DatasetError):
            self.branch.drop(self._own(nonce))

    def _own(self, nonce: str) -> str:
        return f"lastgood-{digest([self.uri, nonce])[:32]}"

    def _gone(self, commit: str, objects: Sequence[LakeFSObject]) -> list[str]:
        there = side_by_side(lambda one: self.branch.has(commit, one), objects)
        return [one.path for one, found in zip(objects, there, strict=True) if not found]

    def _in(self, seen: History, version: str) -> LakeFSVersion:
        found = seen.find(version)
        if found is None:
            raise NoSuchVersion(f"{self}: the branch never had a version {version}")
        at, commit = found.first.at, found.first.id
        return LakeFSVersion(dataset=self.name, version=version, created_at=at, digest=found.digest, commit=commit)
