"""Bring keys of a bucket to the versions that they are to have: copied forward inside S3, or marked as deleted.

No version is ever destroyed. Every write has a condition: that the key's content still is what was seen.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any

from remediations import clients
from remediations.base import CannotPlan
from remediations.datasets.base import DatasetError
from remediations.datasets.lean_copy import Copied, Copy, LeanCopy
from remediations.datasets.s3_files import TAKEN, status
from remediations.datasets.side_by_side import side_by_side
from remediations.datasets.version_set import ObjectVersion

if TYPE_CHECKING:
    from mypy_boto3_s3.type_defs import ObjectIdentifierTypeDef

#: Keys in one request that deletes, and so in one batch: the most that S3 takes.
BATCH = 1000

#: The most that S3 copies in one request, in bytes. Only a single request can have a condition.
LARGEST = 5 * 1024**3


class Unable(DatasetError, CannotPlan):
    """S3 can't bring this back as it is set up, so there is no safe plan; the message says what stands in the way."""


@dataclass(frozen=True)
class Step:
    """One key: the version that is there, and the one whose content is to be there. None: no object."""

    path: str
    now: ObjectVersion | None
    want: ObjectVersion | None


@dataclass(frozen=True)
class Outcome:
    """How one step ended: what is there now, and whether that is what it was to be."""

    step: Step
    now: ObjectVersion | None
    done: bool

    @property
    def back(self) -> Step:
        """The step that takes it back."""
        return Step(self.step.path, now=self.now, want=self.step.now)


def batches(steps: Sequence[Step]) -> Iterator[Sequence[Step]]:
    """The steps in the pieces that ``take`` takes."""
    for start in range(0, len(steps), BATCH):
        yield steps[start : start + BATCH]


class Keys:
    """The keys under one prefix of a bucket."""

    def __init__(self, bucket: str, prefix: str) -> None:
        self.bucket = bucket
        self.prefix = prefix

    @cached_property
    def _lean(self) -> LeanCopy:
        return LeanCopy(self.bucket)

    def must_be_versioned(self) -> None:
        """Raises ``Unable`` where the bucket does not keep what is overwritten and deleted."""
        if clients.s3().get_bucket_versioning(Bucket=self.bucket).get("Status") != "Enabled":
            raise Unable(f"versioning is not on in the bucket {self.bucket}, so it keeps nothing to go back to")

    def must_be_copyable(self, steps: Sequence[Step]) -> None:
        """Raises ``Unable`` where a step needs a copy that S3 does not make in one request."""
        large = [step.path for step in steps if step.want and step.want.bytes > LARGEST]
        if large:
            raise Unable(f"{self.prefix}{large[0]} has more than 5 GiB, which S3 does not copy at once")

    def take(self, steps: Sequence[Step]) -> list[Outcome]:
        """Take one batch of steps, side by side. A key that is not as its step found it stays as it is."""
        wanted = [step for step in steps if step.want]
        copied = list(zip(wanted, self._lean.all([self._asked(step) for step in wanted]), strict=True))
        outcomes = [_made(step, made) for step, made in copied if made]
        outcomes += side_by_side(self._copy, [step for step, made in copied if not made])
        return outcomes + self._delete([step for step in steps if not step.want])

    def current(self, path: str) -> ObjectVersion | None:
        """The version of one key that is current; None: no object."""
        client = clients.s3()
        try:
            found = client.head_object(Bucket=self.bucket, Key=self.prefix + path)
        except client.exceptions.ClientError as error:
            if status(error) == 404:
                return None
            raise
        return _version(path, found.get("VersionId"), found["ContentLength"], found["ETag"], found["LastModified"])

    def same_content(self, one: ObjectVersion, other: ObjectVersion) -> bool:
        """Whether two versions have the same content; where the listing can't tell, both are read."""
        if one.surely_as(other):
            return True
        return one.bytes == other.bytes and self._sha256(one) == self._sha256(other)

    def _asked(self, step: Step) -> Copy:
        """The copy that takes a step, as long as the key is as the step found it."""
        assert step.want
        condition = {"If-Match": f'"{step.now.etag}"'} if step.now else {"If-None-Match": "*"}
        return Copy(self.prefix + step.path, step.want.version_id, f'"{step.want.etag}"', condition)

    def _copy(self, step: Step) -> Outcome:
        """A copy by boto3, which repeats what it can and says why it was refused."""
        asked = self._asked(step)
        arguments: dict[str, Any] = {
            "CopySource": {"Bucket": self.bucket, "Key": asked.key, "VersionId": asked.version_id},
            "CopySourceIfMatch": asked.etag,
            **{header.replace("-", ""): value for header, value in asked.condition.items()},
        }
        client = clients.s3()
        try:
            made = client.copy_object(Bucket=self.bucket, Key=asked.key, **arguments)
        except client.exceptions.ClientError as error:
            if status(error) in (404, *TAKEN):
                return self._settled(step, str(error))
            raise
        result = made["CopyObjectResult"]
        return _made(step, Copied(made.get("VersionId"), result["ETag"], result["LastModified"]))

    def _delete(self, steps: Sequence[Step]) -> list[Outcome]:
        """Mark them all as deleted in one request."""
        if not steps:
            return []
        named: list[ObjectIdentifierTypeDef] = [
            {"Key": self.prefix + step.path, "ETag": f'"{step.now.etag}"'} for step in steps if step.now
        ]
        answer = clients.s3().delete_objects(Bucket=self.bucket, Delete={"Objects": named, "Quiet": True})
        refused = {error["Key"]: error for error in answer.get("Errors", [])}
        return [
            self._settled(step, f"{refused[key]['Code']} ({refused[key].get('Message', '')})")
            if (key := self.prefix + step.path) in refused
            else Outcome(step, None, done=True)
            for step in steps
        ]

    def _settled(self, step: Step, why: str) -> Outcome:
        """Look at a key whose write was refused: boto3 repeats a request, so it may be our own that landed before."""
        now = self.current(step.path)
        before, after = now and now.version_id, step.now and step.now.version_id
        if before == after:
            raise DatasetError(f"S3 refused to bring {self.prefix}{step.path} back, though nobody changed it: {why}")
        if now is None or step.want is None:
            return Outcome(step, now, done=now is step.want)
        return Outcome(step, now, done=self.same_content(now, step.want))

    def _sha256(self, version: ObjectVersion) -> bytes:
        key = self.prefix + version.path
        found = clients.s3().get_object(Bucket=self.bucket, Key=key, VersionId=version.version_id)
        digest = hashlib.sha256()
        for piece in found["Body"].iter_chunks(1024 * 1024):
            digest.update(piece)
        return digest.digest()


def _made(step: Step, copied: Copied) -> Outcome:
    assert step.want
    now = _version(step.path, copied.version_id, step.want.bytes, copied.etag, copied.modified)
    return Outcome(step, now, done=True)


def _version(path: str, version_id: str | None, size: int, etag: str, modified: datetime) -> ObjectVersion:
    whole = modified.replace(microsecond=0)
    return ObjectVersion(path=path, version_id=version_id or "null", bytes=size, etag=etag.strip('"'), modified=whole)
