"""A dataset store in a folder on disk: the same layout, with a lock file around the pointer's compare-and-set."""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path

from remediations.datasets.base import DatasetError
from remediations.datasets.content import ContentStore
from remediations.datasets.layout import Pointer, sha256_of


class DirectoryStore(ContentStore):
    """Versions in a folder. Everyone who writes it must see the same locks, so not over a network file system."""

    def __init__(self, name: str, folder: str | Path) -> None:
        self.folder = Path(folder)
        super().__init__(name, self.folder.absolute().as_uri())

    def move(self, to: Pointer, expect: Pointer | None) -> None:
        """Compare and set under the lock. A process killed at any point leaves the old pointer or the new one."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with self._locked():
            body = self._read("current")
            found = None if body is None else self._pointer(body)
            if self._to_write(found, to, expect):
                _replace(self.folder / "current", to.model_dump_json().encode())

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        """The kernel lets go of this lock when its holder dies, however it dies."""
        with (self.folder / ".lock").open("a") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def _read(self, key: str) -> bytes | None:
        with contextlib.suppress(FileNotFoundError):
            return (self.folder / key).read_bytes()
        return None

    def _size(self, key: str) -> int | None:
        with contextlib.suppress(FileNotFoundError):
            return (self.folder / key).stat().st_size
        return None

    def _list(self, folder: str) -> Iterable[str]:
        with contextlib.suppress(FileNotFoundError):
            return [found.name for found in (self.folder / folder).iterdir()]
        return []

    def _create(self, key: str, body: bytes) -> bool:
        with self._beside(key) as partial:
            partial.write_bytes(body)
            return _link(partial, self.folder / key)

    def _upload(self, key: str, file: Path, sha256: str) -> None:
        with self._beside(key) as partial:
            shutil.copyfile(file, partial)
            if sha256_of(partial) != sha256:
                raise DatasetError(f"{file.name} changed while it was being stored")
            _link(partial, self.folder / key)

    def _download(self, key: str, to: Path, size: int) -> bool:  # noqa: ARG002  # a copy is one piece whatever its size
        with contextlib.suppress(FileNotFoundError):
            shutil.copyfile(self.folder / key, to)
            return True
        return False

    @contextlib.contextmanager
    def _beside(self, key: str) -> Iterator[Path]:
        """A name next to ``key`` to write under first, so that nothing unfinished ever has a real name."""
        partial = self.folder / Path(key).parent / f".{secrets.token_hex(8)}"
        partial.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield partial
        finally:
            partial.unlink(missing_ok=True)


def _link(partial: Path, final: Path) -> bool:
    """Give a finished file its name, durably; False, and nothing changed, where the name is taken."""
    _sync(partial)
    try:
        final.hardlink_to(partial)
    except FileExistsError:
        return False
    _sync(final.parent)
    return True


def _replace(final: Path, body: bytes) -> None:
    """Put new content under a name in one step, durably. The caller holds the lock."""
    partial = final.with_name(f".{final.name}")
    partial.write_bytes(body)
    _sync(partial)
    partial.replace(final)
    _sync(final.parent)


def _sync(path: Path) -> None:
    """See a file, or a folder's list of names, onto the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
