"""A versioned prefix as other tools see it: plain keys, and every version that S3 keeps of them."""

from __future__ import annotations

import secrets
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from remediations import clients
from remediations.datasets import open_store
from remediations.datasets.versioned_prefix import VersionedPrefix

if TYPE_CHECKING:
    from mypy_boto3_s3.type_defs import CompletedPartTypeDef

BUCKET = "versioned"

#: What changes something in S3.
WRITES = ("CopyObject", "DeleteObjects", "PutObject")


class Killed(BaseException):
    """The process is no more."""


class PlainKeys:
    """Keys under a prefix of their own."""

    def __init__(self) -> None:
        self.prefix = f"test-{secrets.token_hex(6)}/data"
        self.uri = f"s3+versions://{BUCKET}/{self.prefix}"

    def store(self) -> VersionedPrefix:
        """The dataset there; a new one each time, which knows only what S3 holds."""
        store = open_store(self.uri, "transactions")
        assert isinstance(store, VersionedPrefix)
        return store

    def put(self, path: str, body: str) -> None:
        """Write one key, as any tool does."""
        clients.s3().put_object(Bucket=BUCKET, Key=f"{self.prefix}/{path}", Body=body.encode())

    def put_parts(self, path: str, letter: str) -> None:
        """Write one key in two parts, so that its ETag is not its MD5."""
        client = clients.s3()
        where: dict[str, Any] = {"Bucket": BUCKET, "Key": f"{self.prefix}/{path}"}
        upload = client.create_multipart_upload(**where)["UploadId"]
        parts: list[CompletedPartTypeDef] = []
        for number, body in ((1, letter.encode() * (5 << 20)), (2, letter.encode())):
            made = client.upload_part(**where, UploadId=upload, PartNumber=number, Body=body)
            parts.append({"ETag": made["ETag"], "PartNumber": number})
        client.complete_multipart_upload(**where, UploadId=upload, MultipartUpload={"Parts": parts})

    def delete(self, path: str) -> None:
        """Delete one key, which in a versioned bucket only marks it."""
        clients.s3().delete_object(Bucket=BUCKET, Key=f"{self.prefix}/{path}")

    def contents(self) -> dict[str, str]:
        """What a reader of plain keys gets now, as text."""
        return {path: body.decode() for path, body in self.bytes().items()}

    def bytes(self) -> dict[str, bytes]:
        """What a reader of plain keys gets now."""
        client = clients.s3()
        found = {}
        for one in client.list_objects_v2(Bucket=BUCKET, Prefix=f"{self.prefix}/").get("Contents", []):
            body = client.get_object(Bucket=BUCKET, Key=one["Key"])["Body"].read()
            found[one["Key"].removeprefix(f"{self.prefix}/")] = body
        return found

    def versions(self) -> Counter[str]:
        """How many versions and delete markers S3 keeps of each key."""
        pages = clients.s3().get_paginator("list_object_versions").paginate(Bucket=BUCKET, Prefix=f"{self.prefix}/")
        found = (
            one for page in pages for kind in (page.get("Versions", []), page.get("DeleteMarkers", [])) for one in kind
        )
        return Counter(one["Key"].removeprefix(f"{self.prefix}/") for one in found)


@contextmanager
def requests() -> Iterator[list[str]]:
    """Record every request that our client sends: ``CopyObject PATH``."""
    sent: list[str] = []

    def note(event_name: str, request: object, **_: object) -> None:
        sent.append(f"{event_name.rpartition('.')[2]} {getattr(request, 'url', '').partition('/data')[2]}")

    events = clients.s3().meta.events
    events.register("before-send.s3", note)
    try:
        yield sent
    finally:
        events.unregister("before-send.s3", note)


def writes(sent: list[str]) -> list[str]:
    """Those of the requests that change something."""
    return [one for one in sent if one.split()[0] in WRITES]


@contextmanager
def killed_before_write(number: int) -> Iterator[None]:
    """From the write of that number on, counted from 0, nothing is sent: the process is dead."""
    seen = 0

    def kill(event_name: str, **_: object) -> None:
        nonlocal seen
        if event_name.rpartition(".")[2] in WRITES:
            seen += 1
            if seen > number:
                raise Killed

    events = clients.s3().meta.events
    events.register("before-send.s3", kill)
    try:
        yield
    finally:
        events.unregister("before-send.s3", kill)
