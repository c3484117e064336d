"""A dataset store in an S3 bucket: the pointer is moved by a conditional PUT, so two movers have one winner."""

from __future__ import annotations

import base64
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from remediations import clients
from remediations.datasets.base import DatasetError, DatasetStore
from remediations.datasets.layout import Pointer

if TYPE_CHECKING:
    from botocore.exceptions import ClientError

#: The most that S3 takes in one PUT, in bytes. Only a single PUT can be conditional and checked as a whole.
LARGEST = 5 * 1024**3

#: What S3 answers to a PUT that is only for a free name: the name is taken, or is being taken this moment.
TAKEN = (409, 412)


class S3Store(DatasetStore):
    """Versions under ``s3://bucket/prefix``."""

    atomic = True
    snapshot_reads = True
    reversible = True
    cost = "O(1)"

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
        client = clients.s3()
        try:
            answer = client.get_object(Bucket=self.bucket, Key=self._key("current"))
        except client.exceptions.NoSuchKey:
            return None, ""
        return self._pointer(answer["Body"].read()), answer["ETag"]

    def _key(self, key: str) -> str:
        return self.prefix + key

    def _read(self, key: str) -> bytes | None:
        client = clients.s3()
        try:
            return client.get_object(Bucket=self.bucket, Key=self._key(key))["Body"].read()
        except client.exceptions.NoSuchKey:
            return None

    def _size(self, key: str) -> int | None:
        client = clients.s3()
        try:
            return client.head_object(Bucket=self.bucket, Key=self._key(key))["ContentLength"]
        except client.exceptions.ClientError as error:
            if _status(error) == 404:
                return None
            raise

    def _list(self, folder: str) -> Iterable[str]:
        whole = self._key(folder)
        for page in clients.s3().get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=whole):
            for found in page.get("Contents", []):
                yield found["Key"].removeprefix(whole)

    def _create(self, key: str, body: bytes) -> bool:
        client = clients.s3()
        try:
            client.put_object(Bucket=self.bucket, Key=self._key(key), Body=body, IfNoneMatch="*")
        except client.exceptions.ClientError as error:
            if _status(error) in TAKEN:
                return False
            raise
        return True

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
            if _status(error) not in TAKEN:
                raise

    def _download(self, key: str, to: Path) -> bool:
        from boto3.s3.transfer import TransferConfig

        client = clients.s3()
        try:
            client.download_file(self.bucket, self._key(key), str(to), Config=TransferConfig(use_threads=False))
        except client.exceptions.ClientError as error:
            if _status(error) == 404:
                return False
            raise
        return True


def _status(error: ClientError) -> int:
    return error.response["ResponseMetadata"]["HTTPStatusCode"]
