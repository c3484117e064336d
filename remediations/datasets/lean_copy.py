"""One conditional copy inside S3, with as little work as it takes.

boto3 spends about a millisecond on a request, most of it on what is the same for every copy: rules for the endpoint,
checks of parameters, some sixty hooks. Here only path, version and condition change, boto3's own signer signs them, and
urllib3 sends them. That is the plain case alone: whatever is not a plain success is asked for again through boto3,
which knows what to repeat and what it means. Every copy has a condition, so asking twice copies once.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from html import unescape
from urllib.parse import quote, urlsplit

from remediations import clients


@dataclass(frozen=True)
class Copied:
    """What S3 said of a copy that it made."""

    version_id: str | None
    etag: str
    modified: datetime


class LeanCopy:
    """Copies versions of one bucket's keys forward, onto the same keys."""

    def __init__(self, bucket: str) -> None:
        self._bucket = bucket
        # Where boto3 reaches the bucket: under a name of its own, under a path, or under another address altogether.
        address = urlsplit(clients.s3().generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": "k"}))
        self._base = f"{address.scheme}://{address.netloc}{address.path.removesuffix('k')}"

    def copy(self, key: str, version_id: str, etag: str, condition: dict[str, str]) -> Copied | None:
        """Copy a version onto its key, under a condition on what is there (``If-Match``, ``If-None-Match``).

        None: it was not a plain success, and boto3 is to be asked; nothing or just this copy was made.
        """
        import urllib3
        from botocore.awsrequest import AWSRequest

        path = quote(key, safe="/-_.~")
        headers = {
            "x-amz-copy-source": f"{self._bucket}/{path}?versionId={quote(version_id, safe='-_.~')}",
            "x-amz-copy-source-if-match": etag,
            **condition,
        }
        url = self._base + path
        request = AWSRequest(method="PUT", url=url, headers=headers)
        clients.s3_signer().add_auth(request)
        # Whoever listens to what the client sends, or answers in its place, hears of it as of any request of boto3.
        ready = request.prepare()
        heard = clients.s3().meta.events.emit("before-send.s3.CopyObject", request=ready)
        if any(instead is not None for _, instead in heard):
            return None
        try:
            answer = clients.s3_connections().request("PUT", url, headers=dict(ready.headers.items()))
        except urllib3.exceptions.HTTPError:
            return None
        return _read(answer.data, answer.headers.get("x-amz-version-id")) if answer.status == 200 else None


def _read(body: bytes, version_id: str | None) -> Copied | None:
    """What a ``CopyObjectResult`` says; None where it is none: S3 may say 200 first and then that it failed."""
    etag = re.search(rb"<ETag>([^<]+)</ETag>", body)
    modified = re.search(rb"<LastModified>([^<]+)</LastModified>", body)
    if b"<CopyObjectResult" not in body or not etag or not modified:
        return None
    return Copied(version_id, unescape(etag[1].decode()), datetime.fromisoformat(modified[1].decode()))
