"""What a versioned prefix keeps beside itself: its head, its version sets, and which versions are copies of which."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterable
from typing import Any

from pydantic import ValidationError

from remediations import clients
from remediations.base import Conflict
from remediations.datasets.base import Damaged, NoSuchVersion
from remediations.datasets.layout import VERSION
from remediations.datasets.restore import Outcome
from remediations.datasets.s3_files import TAKEN, S3Files, status
from remediations.datasets.version_set import Head, VersionSet


class Beside(S3Files):
    """The files of the dataset ``name`` under ``prefix``, which ends with a slash."""

    def __init__(self, name: str, bucket: str, prefix: str) -> None:
        self.name = name
        self.bucket = bucket
        self.prefix = prefix

    def head(self) -> tuple[Head, str]:
        """The head, and the ETag of the bytes that it was read from: empty where there is none yet.

        Raises:
            Damaged: it can't be read.
        """
        found = self._read_tagged("current")
        if found is None:
            return Head(), ""
        try:
            return Head.model_validate_json(found[0]), found[1]
        except ValidationError as error:
            raise Damaged(f"the head of {self.name} can't be read: {error}") from error

    def set_head(self, head: Head, etag: str) -> str:
        """Write the head where it still has that ETag, and say which it has then. Twice with one head is once.

        Raises:
            Conflict: somebody else set it; theirs stays.
        """
        from botocore.exceptions import BotoCoreError, ClientError

        condition: dict[str, Any] = {"IfMatch": etag} if etag else {"IfNoneMatch": "*"}
        body = head.model_dump_json().encode()
        try:
            return clients.s3().put_object(Bucket=self.bucket, Key=self._key("current"), Body=body, **condition)["ETag"]
        except (ClientError, BotoCoreError) as error:
            # A PUT whose answer was lost is repeated and then refused: what stands there now says whether it was ours.
            try:
                found, etag = self.head()
            except (ClientError, BotoCoreError):
                raise error from None
            if found == head:
                return etag
            if isinstance(error, ClientError) and status(error) in TAKEN:
                raise Conflict(f"somebody else moved {self.name} at this moment; it was left so") from error
            raise

    def keep(self, contents: VersionSet) -> None:
        """Put a version set on file; it being there already is fine."""
        self._create(f"manifests/{contents.version}.json", contents.model_dump_json().encode())

    def kept(self, version: str) -> VersionSet:
        """The version set of that name.

        Raises:
            NoSuchVersion: it is not on file, or the name is not one that a version can have.
            Damaged: it was altered, or is another dataset's.
        """
        body = self._read_unless_known(f"manifests/{version}.json") if VERSION.fullmatch(version) else None
        if body is None:
            raise NoSuchVersion(f"{self.name} has no version {version!r} on file in {self.bucket}/{self.prefix}")
        try:
            found = VersionSet.parsed(body)
        except ValidationError as error:
            raise Damaged(f"the version set {version} of {self.name} can't be trusted: {error}") from error
        if (found.dataset, found.version) != (self.name, version):
            raise Damaged(f"the version set {version} of {self.name} is {found.version} of {found.dataset}")
        return found

    def versions(self) -> list[str]:
        """The names of the version sets on file, oldest first."""
        names = (name.removesuffix(".json") for name in self._list("manifests/") if name.endswith(".json"))
        return sorted(name for name in names if VERSION.fullmatch(name))

    def note_copies(self, version: str, outcomes: Iterable[Outcome]) -> None:
        """Write down which versions are copies of that set's, as far as their ETags do not tell."""
        made = [
            [outcome.step.path, outcome.now.version_id]
            for outcome in outcomes
            if outcome.done and outcome.now and outcome.step.want and not outcome.now.surely_as(outcome.step.want)
        ]
        if made:
            self._create(f"copies/{version}/{secrets.token_hex(8)}.json", json.dumps(made).encode())

    def copies(self, version: str) -> set[tuple[str, str]]:
        """The (path, VersionId) pairs that are written down as copies of that set's."""
        found: set[tuple[str, str]] = set()
        for name in self._list(f"copies/{version}/"):
            body = self._read(f"copies/{version}/{name}")
            found.update((path, version_id) for path, version_id in json.loads(body or b"[]"))
        return found
