"""What is written in a dataset store: objects, manifests, the pointer."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Self

from pydantic import AfterValidator, AwareDatetime, Field, model_validator

from incidents.models import Frozen, digest

#: A version's name is one plain word: it becomes a file's name.
VERSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


def _plain_word(text: str) -> str:
    if not VERSION.fullmatch(text):
        raise ValueError("a version's name is 1 to 64 letters, digits, dots, dashes and underscores")
    return text


def _stays_inside(path: str) -> str:
    """A path that can leave the folder it is put under is refused, whichever system reads it."""
    if any(part in ("", ".", "..") for part in path.split("/")) or re.search(r"[\\:\x00-\x1f\x7f]", path):
        raise ValueError("an object's path is relative, with / between its parts, and has no .. and no empty part")
    return path


Version = Annotated[str, AfterValidator(_plain_word)]
InsidePath = Annotated[str, AfterValidator(_stays_inside), Field(max_length=512)]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class DataObject(Frozen):
    """One file of a version."""

    #: Where it belongs in the dataset's folder.
    path: InsidePath
    #: Of its content; it is stored under this name.
    sha256: Sha256
    bytes: int = Field(ge=0)
    #: Of a Parquet file, from its footer; 0 for other files.
    rows: int = Field(ge=0)

    @classmethod
    def of(cls, file: Path) -> Self:
        """What this file would be in a version: known by its name, whatever folder it is in.

        Raises:
            ValueError: its name can't be a path, or it is no Parquet file though its name says so.
        """
        return cls(path=file.name, sha256=sha256_of(file), bytes=file.stat().st_size, rows=_rows(file))


class Contents(Frozen):
    """What a version of a dataset consists of. Its name ends with the beginning of its digest."""

    dataset: str
    version: Version
    created_at: AwareDatetime
    #: SHA-256 over what it consists of, as canonical JSON.
    digest: Sha256

    @model_validator(mode="after")
    def _is_named_by_its_digest(self) -> Self:
        if not self.version.endswith(self.digest[:12]):
            raise ValueError("the version's name does not end with the beginning of the digest")
        return self

    @classmethod
    def parsed(cls, body: bytes) -> Self:
        """Read it from what is stored. The same bytes are the same contents, and 10,000 objects take a moment to read.

        Raises:
            pydantic.ValidationError: it was altered.
        """
        found = _parsed(cls, body)
        assert isinstance(found, cls)
        return found


@lru_cache(maxsize=8)
def _parsed(kind: type[Contents], body: bytes) -> Contents:
    return kind.model_validate_json(body)


class Manifest(Contents):
    """One version of a dataset: which objects it is made of, each known by its content."""

    objects: tuple[DataObject, ...] = Field(min_length=1)

    @classmethod
    def of(cls, dataset: str, objects: Iterable[DataObject], at: datetime) -> Self:
        """The manifest of these objects, named ``YYYYMMDDTHHMMSSZ-<first 12 hex digits of the digest>``.

        Raises:
            ValueError: there are no objects, two have one path, or ``at`` has no time zone.
        """
        if at.tzinfo is None:
            raise ValueError("a version's time needs a time zone")
        ordered = tuple(sorted(objects, key=lambda found: found.path))
        whole = _digest(ordered)
        return cls(dataset=dataset, version=named(at, whole), created_at=at, objects=ordered, digest=whole)

    @model_validator(mode="after")
    def _is_what_it_says(self) -> Self:
        if len({found.path for found in self.objects}) < len(self.objects):
            raise ValueError("two objects have one path")
        if self.digest != _digest(self.objects):
            raise ValueError("the digest is not that of the objects")
        return self

    @property
    def rows(self) -> int:
        """Rows of all its Parquet files together."""
        return sum(found.rows for found in self.objects)

    @property
    def bytes(self) -> int:
        """Bytes of all its objects together."""
        return sum(found.bytes for found in self.objects)


class Pointer(Frozen):
    """Which version is current, and the one move that made it so."""

    version: Version
    #: Tells this move from every other, so that a lost answer can be told from somebody else's move to the version.
    nonce: str = Field(min_length=16, max_length=64)
    moved_by: str

    def successor(self, version: str, by: str) -> Pointer:
        """The pointer to ``version`` that follows this one. Planned twice from one state, it is the same move."""
        nonce = digest([self.model_dump(mode="json"), version, by])[:32]
        return Pointer(version=version, nonce=nonce, moved_by=by)


def named(at: datetime, whole: str) -> str:
    """The name of the version of that time and digest: ``YYYYMMDDTHHMMSSZ-<first 12 hex digits>``."""
    return f"{at.astimezone(UTC):%Y%m%dT%H%M%SZ}-{whole[:12]}"


def sha256_of(file: Path) -> str:
    """The SHA-256 of a file's content, in hex, read in pieces."""
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def _rows(file: Path) -> int:
    if file.suffix != ".parquet":
        return 0
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return int(pq.read_metadata(file).num_rows)
    except pa.ArrowInvalid as error:
        raise ValueError(f"{file.name} is no Parquet file: {error}") from error


def _digest(objects: Iterable[DataObject]) -> str:
    return digest(sorted([found.path, found.sha256] for found in objects))
