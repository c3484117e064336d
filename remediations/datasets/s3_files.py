"""Small files under a prefix of an S3 bucket: what the stores in S3 keep their manifests and pointers with."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from remediations import clients

if TYPE_CHECKING:
    from botocore.exceptions import ClientError

#: What S3 answers to a write that is only for a free name, or for a certain content: it is not so, or just changing.
TAKEN = (409, 412)

#: What is taken for small, in bytes: s3transfer asks for anything larger in pieces.
SMALL = 8 * 1024**2

#: The manifests read last, by bucket and key: the ETag and the bytes. What never changes is asked for, not sent again.
_read_before: dict[tuple[str, str], tuple[str, bytes]] = {}


class S3Files:
    """Files under ``prefix``, which is empty or ends with a slash."""

    bucket: str
    prefix: str

    def _key(self, key: str) -> str:
        return self.prefix + key

    def _read(self, key: str) -> bytes | None:
        found = self._read_tagged(key)
        return None if found is None else found[0]

    def _read_tagged(self, key: str) -> tuple[bytes, str] | None:
        """The whole of a small file, and the ETag of these very bytes; None: there is none."""
        client = clients.s3()
        try:
            answer = client.get_object(Bucket=self.bucket, Key=self._key(key))
        except client.exceptions.NoSuchKey:
            return None
        return answer["Body"].read(), answer["ETag"]

    def _read_unless_known(self, key: str) -> bytes | None:
        """As ``_read``, of what seldom changes: S3 is asked each time, but sends only what this process has not."""
        from botocore.exceptions import ClientError

        place = self.bucket, self._key(key)
        etag, body = _read_before.get(place, ('"nothing yet"', b""))
        try:
            answer = clients.s3().get_object(Bucket=self.bucket, Key=self._key(key), IfNoneMatch=etag)
        except ClientError as error:
            if status(error) == 304:
                return body
            if status(error) == 404:
                return None
            raise
        body = answer["Body"].read()
        if len(_read_before) >= 8:
            _read_before.clear()
        _read_before[place] = answer["ETag"], body
        return body

    def _size(self, key: str) -> int | None:
        client = clients.s3()
        try:
            return client.head_object(Bucket=self.bucket, Key=self._key(key))["ContentLength"]
        except client.exceptions.ClientError as error:
            if status(error) == 404:
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
            if status(error) in TAKEN:
                return False
            raise
        return True


def download(bucket: str, key: str, to: Path, size: int | None = None, version_id: str | None = None) -> bool:
    """Write an object, or that version of it, to the path ``to``; False: there is none.

    ``size``, in bytes, is how large it should be, where that is known: what is small comes with one request.
    """
    from boto3.s3.transfer import TransferConfig
    from botocore.exceptions import IncompleteReadError, ReadTimeoutError, ResponseStreamingError

    broken_off = IncompleteReadError, ReadTimeoutError, ResponseStreamingError
    client = clients.s3()
    which: dict[str, Any] = {"VersionId": version_id} if version_id else {}
    try:
        if size is not None and size <= SMALL:
            found = client.get_object(Bucket=bucket, Key=key, **which)
            # What breaks off in its middle, or is large after all, is left to the slower way.
            with contextlib.suppress(*broken_off), contextlib.closing(found["Body"]) as body:
                if found["ContentLength"] <= SMALL:
                    to.write_bytes(body.read())
                    return True
        client.download_file(bucket, key, str(to), ExtraArgs=which, Config=TransferConfig(use_threads=False))
    except client.exceptions.ClientError as error:
        if status(error) == 404:
            return False
        raise
    return True


def status(error: ClientError) -> int:
    """The HTTP status of what S3 refused."""
    return error.response["ResponseMetadata"]["HTTPStatusCode"]
