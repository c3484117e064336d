"""What a dataset store is: immutable objects, one manifest a version, and a pointer that says which is current.

The layout under a store's root is the same in every backend::

    objects/<sha256>           what a version consists of, named by its content, never changed
    manifests/<version>.json   which objects make up that version, never changed
    current                    the pointer: which version readers get

So going back is one small write whatever the size, and a reader who follows the pointer once never sees a mixture.
A backend is ``move`` and the small functions at the end; all else is here.
"""

from __future__ import annotations

import secrets
import tempfile
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from pydantic import ValidationError

from incidents.models import now
from remediations.base import Conflict, RemediationError
from remediations.clients import S3_THREADS
from remediations.datasets.layout import VERSION, DataObject, Manifest, Pointer, sha256_of

__all__ = [
    "Damaged",
    "DataObject",
    "DatasetError",
    "DatasetStore",
    "Manifest",
    "NoSuchVersion",
    "NotPublished",
    "Pointer",
]

Out = TypeVar("Out")


class DatasetError(RemediationError):
    """A dataset store could not do what it was asked; the pointer is as it was."""


class NotPublished(DatasetError):
    """Nothing is current: the pointer was never set."""


class NoSuchVersion(DatasetError):
    """There is no manifest of that version."""


class Damaged(DatasetError):
    """What is stored is not what its name or its manifest says: missing, cut short or altered."""


class DatasetStore(ABC):
    """The versions of one dataset, and the pointer to the current one."""

    #: Whether a move happens wholly or not at all, also when the process is killed in the middle.
    atomic: ClassVar[bool]
    #: Whether a reader who follows the pointer once gets one version whole.
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

    def current(self) -> Pointer:
        """The pointer, as it is now.

        Raises:
            NotPublished: it was never set.
            Damaged: it can't be read.
        """
        body = self._read("current")
        if body is None:
            raise NotPublished(f"{self}: no version was made current yet")
        return self._pointer(body)

    def manifest(self, version: str) -> Manifest:
        """What ``version`` consists of.

        Raises:
            NoSuchVersion: it was never published here, or the name is not one that a version can have.
            Damaged: its manifest is altered, or is another dataset's.
        """
        if not VERSION.fullmatch(version):
            raise NoSuchVersion(f"{self}: {version!r} is not a version's name")
        body = self._read(_manifest_key(version))
        if body is None:
            raise NoSuchVersion(f"{self}: there is no version {version}")
        try:
            manifest = Manifest.model_validate_json(body)
        except ValidationError as error:
            raise Damaged(f"{self}: the manifest of {version} can't be trusted: {error}") from error
        if (manifest.dataset, manifest.version) != (self.name, version):
            raise Damaged(
                f"{self}: the manifest of {version} is that of {manifest.version} of the dataset {manifest.dataset}"
            )
        return manifest

    def versions(self) -> list[str]:
        """Every published version, oldest first; those of one second in the order of their digests."""
        names = (name.removesuffix(".json") for name in self._list("manifests/") if name.endswith(".json"))
        return sorted(name for name in names if VERSION.fullmatch(name))

    def publish(self, files: Sequence[Path], *, at: datetime | None = None) -> Manifest:
        """Store these files as a version, and leave the pointer alone. Doing it twice is doing it once.

        A file is known by its name, its folder is not kept; ``at`` is the version's time, now unless given. Content
        that is stored already is not sent again. The manifest comes last, so a version is there whole or not at all.

        Raises:
            ValueError: no files, two of one name, a name that a path can't have, a ``.parquet`` that is none, or
                ``at`` without a time zone.
            DatasetError: a file changed while it was stored.
        """
        twice = [name for name, count in Counter(file.name for file in files).items() if count > 1]
        if twice:
            raise ValueError(f"two files of one name in one version: {', '.join(sorted(twice))}")
        objects = _side_by_side(DataObject.of, files)
        manifest = Manifest.of(self.name, objects, at or now())
        _side_by_side(self._put, objects, files)
        body = manifest.model_dump_json(indent=2).encode()
        if self._create(_manifest_key(manifest.version), body):
            return manifest
        return self.manifest(manifest.version)

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

    def fetch(self, version: str, into: Path) -> list[Path]:
        """Download ``version`` into the folder ``into``, check every object's SHA-256, say where the files are.

        Files appear under their own names only after all of them were found good.

        Raises:
            NoSuchVersion: as ``manifest``.
            Damaged: an object is missing or altered; the message names its path. No file was put in place.
        """
        manifest = self.manifest(version)
        into.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=into, prefix=".fetching-") as folder:
            partial = Path(folder)
            whole = [partial / str(number) for number in range(len(manifest.objects))]
            _side_by_side(self._get, manifest.objects, whole)
            places = []
            for found, good in zip(manifest.objects, whole, strict=True):
                place = into / found.path
                if not place.parent.resolve().is_relative_to(into.resolve()):
                    raise Damaged(f"{self}: {found.path} would be written outside of {into}")
                place.parent.mkdir(parents=True, exist_ok=True)
                good.replace(place)
                places.append(place)
        return places

    def missing(self, version: str) -> list[str]:
        """Paths of ``version`` whose objects are absent or of the wrong size, found without reading any content."""
        objects = self.manifest(version).objects
        sizes = _side_by_side(lambda found: self._size(_object_key(found)), objects)
        return sorted(found.path for found, size in zip(objects, sizes, strict=True) if size != found.bytes)

    def _pointer(self, body: bytes) -> Pointer:
        try:
            return Pointer.model_validate_json(body)
        except ValidationError as error:
            raise Damaged(f"{self}: the pointer can't be read: {error}") from error

    def _to_write(self, found: Pointer | None, to: Pointer, expect: Pointer | None) -> bool:
        """The rule of every move, on the pointer just read: False means that it is ``to`` already."""
        if found == to:
            return False
        if found != expect:
            raise Conflict(f"{self} points at {_told(found)}, not at {_told(expect)} as expected; it was left so")
        self.manifest(to.version)
        return True

    def _put(self, described: DataObject, file: Path) -> None:
        size = self._size(_object_key(described))
        if size is None:
            self._upload(_object_key(described), file, described.sha256)
            size = self._size(_object_key(described))
        if size != described.bytes:
            raise Damaged(f"{self}: the object of {file.name} has {size} bytes instead of {described.bytes}")

    def _get(self, wanted: DataObject, place: Path) -> None:
        if not self._download(_object_key(wanted), place):
            raise Damaged(f"{self}: the object of {wanted.path} is missing ({wanted.sha256})")
        if sha256_of(place) != wanted.sha256:
            raise Damaged(f"{self}: the object of {wanted.path} was altered: its SHA-256 is not {wanted.sha256}")

    @abstractmethod
    def _read(self, key: str) -> bytes | None:
        """The whole of a small file; None: there is none."""

    @abstractmethod
    def _size(self, key: str) -> int | None:
        """A file's size in bytes, without reading it; None: there is none."""

    @abstractmethod
    def _list(self, folder: str) -> Iterable[str]:
        """The names in ``folder``, which ends with a slash, without it."""

    @abstractmethod
    def _create(self, key: str, body: bytes) -> bool:
        """Write a small file durably where there is none; False: there is one, and it was left as it is."""

    @abstractmethod
    def _upload(self, key: str, file: Path, sha256: str) -> None:
        """Store a file durably where there is none. Refuses what no longer has that SHA-256."""

    @abstractmethod
    def _download(self, key: str, to: Path) -> bool:
        """Copy a stored file to the path ``to``; False: there is none."""


def _manifest_key(version: str) -> str:
    return f"manifests/{version}.json"


def _object_key(described: DataObject) -> str:
    return f"objects/{described.sha256}"


def _told(pointer: Pointer | None) -> str:
    if pointer is None:
        return "no version"
    return f"{pointer.version} (set by {pointer.moved_by})"


def _side_by_side(function: Callable[..., Out], *items: Sequence[Any]) -> list[Out]:
    """``function`` over the items, several at once, in their order; the first failure drops those not yet begun."""
    with ThreadPoolExecutor(S3_THREADS) as pool:
        waiting = [pool.submit(function, *each) for each in zip(*items, strict=True)]
        try:
            return [future.result() for future in waiting]
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
