"""Conditional copies inside S3, many at once, with as little work as they take.

boto3 spends about a millisecond on a request, most of it on what is the same for every copy: rules for the endpoint,
checks of parameters, some sixty hooks. Here only path, version and condition change, boto3's own signer signs them, and
aiohttp sends them, all from one thread. That is the plain case alone: whatever is not a plain success is asked for
again through boto3, which knows what to repeat and what it means. Every copy has a condition, so asking twice copies
once.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from html import unescape
from typing import TYPE_CHECKING
from urllib.parse import quote

from remediations import clients

if TYPE_CHECKING:
    from aiohttp import ClientSession
    from botocore.awsrequest import AWSPreparedRequest


#: So many copies are under way at once: S3 makes them, and this process has little to do with each.
AT_ONCE = 64


@dataclass(frozen=True)
class Copy:
    """A version to be copied onto its key, under a condition on what is there (``If-Match``, ``If-None-Match``)."""

    key: str
    version_id: str
    etag: str
    condition: Mapping[str, str]


@dataclass(frozen=True)
class Copied:
    """What S3 said of a copy that it made."""

    version_id: str | None
    etag: str
    modified: datetime


class LeanCopy:
    """Copies versions of one bucket's keys forward, onto the same keys."""

    def __init__(self, bucket: str) -> None:
        self._bucket, self._base = bucket, clients.s3_address(bucket)

    def all(self, copies: Sequence[Copy]) -> list[Copied | None]:
        """Make them, many at once; what came of each, in their order.

        None: it was not a plain success, and boto3 is to be asked; nothing or just this copy was made.
        """
        if not copies:
            return []
        with ThreadPoolExecutor(1) as apart:  # the caller's thread may have an event loop of its own
            return apart.submit(asyncio.run, self._all(copies)).result()

    async def _all(self, copies: Sequence[Copy]) -> list[Copied | None]:
        made: list[Copied | None] = [None] * len(copies)
        left = iter(enumerate(copies))
        async with clients.s3_connections(AT_ONCE) as connections:
            await asyncio.gather(*(self._some(connections, left, made) for _ in range(min(AT_ONCE, len(copies)))))
        return made

    async def _some(
        self, connections: ClientSession, left: Iterator[tuple[int, Copy]], made: list[Copied | None]
    ) -> None:
        """Make one copy after another of those that are left, until S3 is not reached: boto3 can wait and repeat."""
        import aiohttp
        from yarl import URL

        for number, copy in left:
            ready = self._signed(copy)
            # Whoever listens to what the client sends, or answers in its place, hears of it as of any request of boto3.
            heard = clients.s3().meta.events.emit("before-send.s3.CopyObject", request=ready)
            if any(instead is not None for _, instead in heard):
                continue
            try:
                url, headers = URL(ready.url, encoded=True), dict(ready.headers.items())
                async with connections.put(url, headers=headers, allow_redirects=False) as answer:
                    if answer.status == 200:
                        made[number] = _read(await answer.read(), answer.headers.get("x-amz-version-id"))
            except (aiohttp.ClientError, TimeoutError):
                return

    def _signed(self, copy: Copy) -> AWSPreparedRequest:
        path = quote(copy.key, safe="/-_.~")
        headers = {
            "x-amz-copy-source": f"{self._bucket}/{path}?versionId={quote(copy.version_id, safe='-_.~')}",
            "x-amz-copy-source-if-match": copy.etag,
            **copy.condition,
        }
        return clients.s3_signed("PUT", self._base + path, headers)


def _read(body: bytes, version_id: str | None) -> Copied | None:
    """What a ``CopyObjectResult`` says; None where it is none: S3 may say 200 first and then that it failed."""
    etag = re.search(rb"<ETag>([^<]+)</ETag>", body)
    modified = re.search(rb"<LastModified>([^<]+)</LastModified>", body)
    if b"<CopyObjectResult" not in body or not etag or not modified:
        return None
    return Copied(version_id, unescape(etag[1].decode()), datetime.fromisoformat(modified[1].decode()))
