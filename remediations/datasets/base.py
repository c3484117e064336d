"""What a dataset store is: versions that never change, and a pointer that says which is current.

Actions and checks know this interface and nothing else. There are two kinds of backend: ``content`` keeps a version's
objects where nothing else writes, so going back is one small write; ``versioned_prefix`` works on ordinary keys that
other tools read and write, and brings them back one by one.
"""

from __future__ import annotations

import secrets
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import ClassVar

from pydantic import ValidationError

from remediations.base import RemediationError
from remediations.datasets.layout import Contents, DataObject, Manifest, Pointer

__all__ = [
    "Contents",
    "Damaged",
    "DataObject",
    "DatasetError",
    "DatasetStore",
    "Manifest",
    "NoSuchVersion",
    "NotPublished",
    "Pointer",
    "Preflight",
]


class DatasetError(RemediationError):
    """A dataset store could not do what it was asked; the pointer is as it was."""


class NotPublished(DatasetError):
    """Nothing is current: the pointer was never set."""


class NoSuchVersion(DatasetError):
    """There is no manifest of that version."""


class Damaged(DatasetError):
    """What is stored is not what its name or its manifest says: missing, cut short or altered."""


@dataclass(frozen=True)
class Preflight:
    """What a move to a version would meet and cost, found without changing anything."""

    #: Paths of the version whose content is no longer there, or not as it was.
    missing: list[str]
    #: Requests that the move itself takes.
    requests: int
    #: Bytes that the storage copies within itself. None pass through here.
    bytes: int


class DatasetStore(ABC):
    """The versions of one dataset, and the pointer to the current one."""

    #: Whether a move happens wholly or not at all, also when the process is killed in the middle.
    atomic: ClassVar[bool]
    #: Whether every reader, however it reads, gets one version whole.
    snapshot_reads: ClassVar[bool]
    #: Whether a move can be taken back by another move.
    reversible: ClassVar[bool]
    #: What a move costs in terms of the dataset's size.
    cost: ClassVar[str]

    def __init__(self, name: str, uri: str) -> None:
        self.name = name
        self.uri = uri

    def __str__(self) -> str:
        return f"dataset {self.name} at {self.uri}"

    @abstractmethod
    def current(self) -> Pointer:
        """The pointer, as it is now.

        Raises:
            NotPublished: it was never set.
            Damaged: it can't be read.
        """

    @abstractmethod
    def manifest(self, version: str) -> Contents:
        """What ``version`` consists of.

        Raises:
            NoSuchVersion: it was never published here, or the name is not one that a version can have.
            Damaged: its manifest is altered, or is another dataset's.
        """

    @abstractmethod
    def versions(self) -> list[str]:
        """Every published version, oldest first; those of one second in the order of their digests."""

    @abstractmethod
    def publish(self, files: Sequence[Path], *, at: datetime | None = None) -> Contents:
        """Store these files as a version. A file is known by its name, its folder is not kept.

        Raises:
            ValueError: the files or ``at`` can't be a version.
            DatasetError: a file changed while it was stored.
        """

    def pointer_to(self, version: str, by: str) -> Pointer:
        """A new pointer to ``version``, not yet written, with a nonce that tells this move from every other."""
        return Pointer(version=version, nonce=secrets.token_hex(16), moved_by=by)

    @abstractmethod
    def move(self, to: Pointer, expect: Pointer | None) -> None:
        """Set the pointer to exactly ``to``, only where it still is exactly ``expect`` (None: never set).

        It already being ``to`` is success, so calling twice is safe.

        Raises:
            Conflict: the pointer is neither; nothing was written, and what is there stays.
            NoSuchVersion: there is no manifest of ``to.version``; nothing was written.
        """

    @abstractmethod
    def fetch(self, version: str, into: Path) -> list[Path]:
        """Download exactly ``version`` into the folder ``into``, and say where the files are.

        Files appear under their own names only after all of them were found good.

        Raises:
            NoSuchVersion: as ``manifest``.
            Damaged: an object is missing or altered; the message names its path. No file was put in place.
        """

    @abstractmethod
    def preflight(self, version: str) -> Preflight:
        """What a move to ``version`` would meet and cost; reads no content and writes nothing."""

    def missing(self, version: str) -> list[str]:
        """Paths of ``version`` whose content is absent or not as it was, found without reading any of it."""
        return self.preflight(version).missing

    def _pointer(self, body: bytes) -> Pointer:
        try:
            return Pointer.model_validate_json(body)
        except ValidationError as error:
            raise Damaged(f"{self}: the pointer can't be read: {error}") from error


def refuse_twins(files: Sequence[Path]) -> None:
    """A file is known by its name, so a version can't have two of one name.

    Raises:
        ValueError: two have one name; the message says which.
    """
    twice = [name for name, count in Counter(file.name for file in files).items() if count > 1]
    if twice:
        raise ValueError(f"two files of one name in one version: {', '.join(sorted(twice))}")


def told(pointer: Pointer | None) -> str:
    """The pointer in words."""
    if pointer is None:
        return "no version"
    return f"{pointer.version} (set by {pointer.moved_by})"
