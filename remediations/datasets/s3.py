"""A dataset store in an S3 bucket: the pointer is moved by a conditional PUT, so two movers have one winner."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from pathlib import Path

from remediations import clients
from remediations.datasets.base import DatasetError
from remediations.datasets.content import ContentStore
from remediations.datasets.layout import Pointer
from remediations.datasets.s3_files import TAKEN, S3Files, download, status

#: The most that S3 takes in one PUT, in bytes. Only a single PUT can be conditional and checked as a whole.
LARGEST = 5 * 1024**3

#: Objects whose sizes are asked for one by one. Of more, the list of all objects is read.
FEW = 200


class S3Store(S3Files, ContentStore):
    """Versions under ``s3://bucket/prefix``."""

    def __init__(self, name: str, bucket: str, prefix: str = "") -> None:
        self.bucket = bucket
        self.prefix = f"{prefix}/" if prefix else ""
        super().__init__(name, f"s3://{bucket}/{prefix}".rstrip("/"))

    def move(self, to: Pointer, expect: Pointer | None) -> None:
        """Compare and set by ETag. A PUT whose answer was lost is settled by looking who stands in the pointer.

        Raises:
            ClientError, BotoCoreError: S3 refused or is away, and the pointer is unchanged or can't be read.
        """
        from botocore.exceptions import BotoCoreError, ClientError

        found, etag = self._seen()
        if not self._to_write(found, to, expect):
            return
        body = to.model_dump_json().encode()
        try:
            if found is None:
                clients.s3().put_object(Bucket=self.bucket, Key=self._key("current"), Body=body, IfNoneMatch="*")
            else:
                clients.s3().put_object(Bucket=self.bucket, Key=self._key("current"), Body=body, IfMatch=etag)
        except (ClientError, BotoCoreError) as error:
            # boto3 sends a PUT again when its answer is lost. If the first one landed, the second is refused as if
            # somebody else had been faster. The nonce in the pointer says who it was.
            try:
                found, _ = self._seen()
            except (ClientError, BotoCoreError):
                raise error from None
            if self._to_write(found, to, expect):
                raise

    def _seen(self) -> tuple[Pointer | None, str]:
        """The pointer and the ETag of the very bytes it was read from."""
        found = self._read_tagged("current")
        return (None, "") if found is None else (self._pointer(found[0]), found[1])

    def _sizes(self, keys: Sequence[str]) -> dict[str, int | None]:
        """Many are listed, a thousand a request."""
        if len(keys) <= FEW:
            return super()._sizes(keys)
        pages = clients.s3().get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=self._key("objects/"))
        found = {
            one["Key"].removeprefix(self.prefix): one["Size"] for page in pages for one in page.get("Contents", [])
        }
        return {key: found.get(key) for key in keys}

    def _upload(self, key: str, file: Path, sha256: str) -> None:
        if file.stat().st_size > LARGEST:
            raise DatasetError(f"{file.name} has more than 5 GiB, which S3 does not take at once: split it")
        client = clients.s3()
        checksum = base64.b64encode(bytes.fromhex(sha256)).decode()
        try:
            with file.open("rb") as body:
                client.put_object(
                    Bucket=self.bucket, Key=self._key(key), Body=body, IfNoneMatch="*", ChecksumSHA256=checksum
                )
        except client.exceptions.ClientError as error:
            if error.response["Error"]["Code"] == "BadDigest":
                raise DatasetError(f"{file.name} changed while it was being stored") from error
            if status(error) not in TAKEN:
                raise

    def _download(self, key: str, to: Path, size: int) -> bool:
        return download(self.bucket, self._key(key), to, size)
