"""Stores that keep a version's objects by their content, where nothing else writes.

The layout under such a store's root is the same in every backend::

    objects/<sha256>           what a version consists of, named by its content, never changed
    manifests/<version>.json   which objects make up that version, never changed
    current                    the pointer: which version readers get

So going back is one small write whatever the size, and a reader who follows the pointer once never sees a mixture.
A backend is ``move`` and the small functions at the end; all else is here.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Sequence
from datetime import datetime
from pathlib import Path

from pydantic import ValidationError

from incidents.models import now
from remediations.base import Conflict
from remediations.datasets.base import Damaged, DatasetStore, NoSuchVersion, NotPublished, Preflight, refuse_twins, told
from remediations.datasets.fetching import fetch_all
from remediations.datasets.layout import VERSION, DataObject, Manifest, Pointer, sha256_of
from remediations.datasets.side_by_side import side_by_side


class ContentStore(DatasetStore):
    """Versions made of objects that are named by their content."""

    atomic = True
    snapshot_reads = True
    reversible = True
    cost = "O(1)"

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
        body = self._read_unless_known(_manifest_key(version))
        if body is None:
            raise NoSuchVersion(f"{self}: there is no version {version}")
        try:
            manifest = Manifest.parsed(body)
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
        refuse_twins(files)
        objects = side_by_side(DataObject.of, files)
        manifest = Manifest.of(self.name, objects, at or now())
        side_by_side(self._put, objects, files)
        body = manifest.model_dump_json(indent=2).encode()
        if self._create(_manifest_key(manifest.version), body):
            return manifest
        return self.manifest(manifest.version)

    def fetch(self, version: str, into: Path) -> list[Path]:
        """Download ``version`` into the folder ``into``, check every object's SHA-256, say where the files are.

        Files appear under their own names only after all of them were found good.

        Raises:
            NoSuchVersion: as ``manifest``.
            Damaged: an object is missing or altered; the message names its path. No file was put in place.
        """
        return fetch_all(self.manifest(version).objects, self._get, into)

    def preflight(self, version: str) -> Preflight:
        """Only the objects' sizes are looked at; a move copies nothing, so it costs the same for every version."""
        objects = self.manifest(version).objects
        sizes = self._sizes([_object_key(found) for found in objects])
        missing = sorted(found.path for found in objects if sizes[_object_key(found)] != found.bytes)
        return Preflight(missing=missing, requests=3, bytes=0)

    def _to_write(self, found: Pointer | None, to: Pointer, expect: Pointer | None) -> bool:
        """The rule of every move, on the pointer just read: False means that it is ``to`` already."""
        if found == to:
            return False
        if found != expect:
            raise Conflict(f"{self} points at {told(found)}, not at {told(expect)} as expected; it was left so")
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
        if not self._download(_object_key(wanted), place, wanted.bytes):
            raise Damaged(f"{self}: the object of {wanted.path} is missing ({wanted.sha256})")
        if sha256_of(place) != wanted.sha256:
            raise Damaged(f"{self}: the object of {wanted.path} was altered: its SHA-256 is not {wanted.sha256}")

    @abstractmethod
    def _read(self, key: str) -> bytes | None:
        """The whole of a small file; None: there is none."""

    def _read_unless_known(self, key: str) -> bytes | None:
        """As ``_read``, of a file that never changes; a backend may know a cheaper way to see that it did not."""
        return self._read(key)

    @abstractmethod
    def _size(self, key: str) -> int | None:
        """A file's size in bytes, without reading it; None: there is none."""

    def _sizes(self, keys: Sequence[str]) -> dict[str, int | None]:
        """As ``_size``, of many; a backend may know a cheaper way than one by one."""
        return dict(zip(keys, side_by_side(self._size, keys), strict=True))

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
    def _download(self, key: str, to: Path, size: int) -> bool:
        """Copy a stored file, which should have so many bytes, to the path ``to``; False: there is none."""


def _manifest_key(version: str) -> str:
    return f"manifests/{version}.json"


def _object_key(described: DataObject) -> str:
    return f"objects/{described.sha256}"
