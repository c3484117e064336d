"""A dataset in a DVC repository: going back is a commit on the branch that brings the old ``.dvc`` file back.

A version is a content of the ``.dvc`` file, named by when the branch first had it and the first 12 hex digits of its
digest. History is never rewritten: the commit goes on top, and is pushed only where the branch still is as it was
looked at (``--force-with-lease``). The data is content addressed in DVC's remote, so it is where it was. Git itself
lets us in: by an SSH key, or by the credential helper of the machine.
"""

from __future__ import annotations

import contextlib
import json
import tempfile
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from pydantic import ValidationError

from incidents.models import digest
from remediations.datasets import dvc_files
from remediations.datasets.base import (
    Damaged,
    DatasetError,
    NoSuchVersion,
    NotPublished,
    Pointer,
    Preflight,
    refuse_twins,
)
from remediations.datasets.dvc_files import Remote, Stored
from remediations.datasets.fetching import fetch_all
from remediations.datasets.git_branch import FILE, POINTER, Change, GitBranch
from remediations.datasets.heads import HeadStore
from remediations.datasets.layout import Contents, named
from remediations.datasets.side_by_side import side_by_side

#: How often a commit is made anew because others pushed what has nothing to do with this file.
TRIES = 5


class DvcVersion(Contents):
    """One content of a ``.dvc`` file."""

    #: Git's id of that content.
    blob: str
    text: str


class Seen(NamedTuple):
    """The branch at one moment."""

    head: str
    change: Change
    state: DvcVersion


class DvcStore(HeadStore[Seen]):
    """The file ``path``, which ends with ``.dvc``, on ``branch`` of the Git repository at ``url``."""

    cost = "one commit and a push"

    def __init__(self, name: str, url: str, branch: str, path: str) -> None:
        super().__init__(name, f"dvc+{url}#{branch}:{path}")
        self.git = GitBranch(url, branch, path)

    def manifest(self, version: str) -> DvcVersion:
        """The ``.dvc`` file of that version.

        Raises:
            NoSuchVersion: the branch never had it.
        """
        return self._at(self.git.fetch(), version)

    def versions(self) -> list[str]:
        """Every content that the ``.dvc`` file had on the branch, oldest first."""
        return [named(at, self._digest(blob)) for at, blob in self.git.versions(self.git.fetch())]

    def publish(self, files: Sequence[Path], *, at: datetime | None = None) -> DvcVersion:
        """Store these files in DVC's remote, and commit and push the ``.dvc`` file, as ``dvc add`` and ``push`` do."""
        if at is not None:
            raise ValueError("the time of a version in a DVC repository is that of its commit")
        refuse_twins(files)
        head = self.git.fetch()
        remote = self._remote(head)
        stored = [(Stored(file.name, dvc_files.md5_of(file)), file) for file in files]
        whole, body, text = dvc_files.written(Path(self.git.path).stem, stored)
        for one, file in stored:
            remote.put(dvc_files.key(one.md5), file)
        with tempfile.TemporaryDirectory(prefix="lastgood-") as folder:
            (Path(folder) / "listing").write_text(body)
            remote.put(dvc_files.key(whole), Path(folder) / "listing")
        self.git.push(head, self.git.add(text), f"Publish {self.name}\n")
        return self._look().state

    def fetch(self, version: str, into: Path) -> list[Path]:
        """Download the files from DVC's remote, and check each one's MD5, and that of the list of them."""
        head = self.git.fetch()
        remote = self._remote(head)

        def get(wanted: Stored, place: Path) -> None:
            if not remote.get(dvc_files.key(wanted.md5), place):
                raise Damaged(f"{self}: the object of {wanted.path} is missing ({wanted.md5})")
            if dvc_files.md5_of(place) != wanted.md5:
                raise Damaged(f"{self}: the object of {wanted.path} was altered: its MD5 is not {wanted.md5}")

        return fetch_all(self._files(remote, self._at(head, version)), get, into)

    def preflight(self, version: str) -> Preflight:
        """Whether DVC's remote has each of its objects, which were never pushed or were collected as garbage."""
        head = self.git.fetch()
        remote, state = self._remote(head), self._at(head, version)
        try:
            files = self._files(remote, state)
        except Damaged:
            return Preflight(missing=[dvc_files.output(state.text).path], requests=2, bytes=0)
        there = side_by_side(lambda one: remote.has(dvc_files.key(one.md5)), files)
        missing = sorted(one.path for one, found in zip(files, there, strict=True) if not found)
        return Preflight(missing=missing, requests=2, bytes=0)

    def _look(self) -> Seen:
        head = self.git.fetch()
        change, blob = self.git.last_change(head), self.git.blob(head)
        if change is None or blob is None:
            raise NotPublished(f"{self}: there is no such file on the branch")
        first = next(at for at, known in self.git.versions(head) if known == blob)
        return Seen(head, change, self._state(first, blob))

    def _pointer_at(self, seen: Seen) -> Pointer:
        with contextlib.suppress(ValidationError):
            ours = Pointer.model_validate_json(seen.change.pointer)
            if ours.version == seen.state.version:
                return ours
        nonce = digest([self.uri, seen.change.commit])[:32]
        return Pointer(version=seen.state.version, nonce=nonce, moved_by=f"{seen.change.author} with Git")

    def _commit(self, seen: Seen, to: Pointer) -> None:
        wanted, before = self._at(seen.head, to.version), self._pointer_at(seen)
        if missing := self.missing(to.version):
            raise Damaged(f"{self}: {len(missing)} files of {to.version} are gone, {missing[0]} for one")
        message = f"Bring {self.name} back to {to.version}: {to.moved_by}\n\n{FILE}: {self.git.path}\n"
        message += f"{POINTER}: {to.model_dump_json()}\n"
        for left in reversed(range(TRIES)):
            try:
                self.git.push(seen.head, wanted.blob, message)
                return
            except DatasetError:
                seen = self._look()
                if not left or self._pointer_at(seen) != before:
                    raise

    def _at(self, head: str, version: str) -> DvcVersion:
        for at, blob in self.git.versions(head):
            if named(at, self._digest(blob)) == version:
                return self._state(at, blob)
        raise NoSuchVersion(f"{self}: the branch never had a version {version}")

    def _state(self, at: datetime, blob: str) -> DvcVersion:
        whole, text = self._digest(blob), self.git.read(blob)
        return DvcVersion(
            dataset=self.name, version=named(at, whole), created_at=at, digest=whole, blob=blob, text=text
        )

    def _digest(self, blob: str) -> str:
        return digest([self.git.path, blob])

    def _remote(self, head: str) -> Remote:
        blob = self.git.blob(head, ".dvc/config")
        return dvc_files.remote(self.git.read(blob) if blob else "")

    def _files(self, remote: Remote, state: DvcVersion) -> list[Stored]:
        whole = dvc_files.output(state.text)
        if not whole.md5.endswith(".dir"):
            return [whole]
        with tempfile.TemporaryDirectory(prefix="lastgood-") as folder:
            place = Path(folder) / "listing"
            if not remote.get(dvc_files.key(whole.md5), place):
                raise Damaged(f"{self}: the list of what is in {whole.path} is missing ({whole.md5})")
            if f"{dvc_files.md5_of(place)}.dir" != whole.md5:
                raise Damaged(f"{self}: the list of what is in {whole.path} was altered: its MD5 is not {whole.md5}")
            return [Stored(one["relpath"], one["md5"]) for one in json.loads(place.read_text())]
