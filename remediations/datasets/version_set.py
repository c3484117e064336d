"""What is written beside a versioned prefix: version sets, and the head with the move that is under way."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Self

from pydantic import AwareDatetime, Field, model_validator

from incidents.models import Frozen, digest
from remediations.datasets.layout import Contents, Pointer, named


class ObjectVersion(Frozen):
    """One version of one key, which S3 never changes."""

    #: The key, without the dataset's prefix.
    path: str = Field(min_length=1, max_length=1024)
    #: ``null`` where it was written before versioning was on.
    version_id: str = Field(min_length=1)
    bytes: int = Field(ge=0)
    #: Without its quotes.
    etag: str
    #: To the second, as S3 lists it.
    modified: AwareDatetime

    def surely_as(self, other: ObjectVersion) -> bool:
        """Whether a listing alone shows that both have the same content.

        The ETag of a multipart upload depends on its parts, and with KMS every copy has another one: there the
        answer is no, which means not known.
        """
        if self.version_id == other.version_id:
            return True
        return self.bytes == other.bytes and self.etag == other.etag and "-" not in self.etag


class VersionSet(Contents):
    """One state of a versioned prefix: the exact version of every key that was current."""

    objects: tuple[ObjectVersion, ...]

    @classmethod
    def of(cls, dataset: str, objects: Iterable[ObjectVersion], at: datetime) -> Self:
        """The state of these versions, which came to be at ``at``."""
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
    def by_path(self) -> dict[str, ObjectVersion]:
        """Its objects by their paths."""
        return {found.path: found for found in self.objects}


class Move(Frozen):
    """A move that has begun: from which pointer to which."""

    expect: Pointer
    to: Pointer

    @property
    def back(self) -> Move:
        """The move that takes it back."""
        return Move(expect=self.to, to=self.expect)


class Head(Frozen):
    """The one small file that says where a versioned prefix stands."""

    #: The pointer set last; None: never. Plain writes since then don't change it.
    pointer: Pointer | None = None
    #: While it is there, keys are a mixture: read the exact versions of ``moving.expect``.
    moving: Move | None = None


def _digest(objects: Iterable[ObjectVersion]) -> str:
    return digest([[found.path, found.version_id, found.bytes, found.etag] for found in objects])
