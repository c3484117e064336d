"""Anchors of the record in an S3 bucket: an object for each, whose name says it all, and which is never written twice.

With ``retain_days`` and a bucket that has object lock nobody can delete an anchor, not even its owner. Somebody may
still put a delete marker over it, so all versions are listed.
"""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

from incidents.anchors import Anchor, AnchorStore, AnchorsUnreadable, open_file
from incidents.models import now
from incidents.playbook import AnchorPlace
from remediations import clients
from remediations.permissions import Statement, bucket_of, under

#: What S3 answers where the name is taken, or is being taken this moment.
_TAKEN = (409, 412)

_NAME = re.compile(r"(\d{12})-([0-9a-f]{64})\.json")


class AnchorBucket:
    """Anchors under ``s3://bucket/prefix``, as ``<number>-<hash>.json``."""

    def __init__(self, bucket: str, prefix: str, retain_days: int = 0) -> None:
        self.bucket, self.retain_days = bucket, retain_days
        self.prefix = f"{prefix}/" if prefix else ""
        self.uri = f"s3://{bucket}/{prefix}".rstrip("/")

    def put(self, anchor: Anchor) -> None:
        """Create the object, only where there is none of that name.

        Raises:
            ClientError, BotoCoreError: S3 refused or is away; a bucket without object lock refuses to retain.
        """
        retained: dict[str, Any] = {}
        if self.retain_days:
            until = now() + timedelta(days=self.retain_days)
            retained = {"ObjectLockMode": "COMPLIANCE", "ObjectLockRetainUntilDate": until}
        client = clients.s3()
        try:
            client.put_object(
                Bucket=self.bucket,
                Key=f"{self.prefix}{anchor.seq:012}-{anchor.hash}.json",
                Body=anchor.model_dump_json().encode(),
                ContentType="application/json",
                IfNoneMatch="*",
                **retained,
            )
        except client.exceptions.ClientError as error:
            if error.response["ResponseMetadata"]["HTTPStatusCode"] not in _TAKEN:
                raise

    def all(self) -> list[Anchor]:
        """Every anchor in the listing, also what a delete marker hides; the time is the server's."""
        found: dict[str, Anchor] = {}
        pages = clients.s3().get_paginator("list_object_versions").paginate(Bucket=self.bucket, Prefix=self.prefix)
        for page in pages:
            for version in page.get("Versions", []):
                name = version["Key"].removeprefix(self.prefix)
                match = _NAME.fullmatch(name)
                if match is None:
                    raise AnchorsUnreadable(f"{self.uri}/{name} is no anchor")
                anchor = Anchor(seq=int(match[1]), hash=match[2], at=version["LastModified"])
                found[name] = min(anchor, found.get(name, anchor), key=lambda one: one.at)
        return [found[name] for name in sorted(found)]


def to_anchor(place: AnchorPlace) -> tuple[Statement, ...]:
    """What it takes of AWS to put an anchor down, and to list what was put down; nothing for a file."""
    if not place.store.startswith("s3:"):
        return ()
    puts = ("s3:PutObject", *(("s3:PutObjectRetention",) if place.retain_days else ()))
    listed = Statement(actions=("s3:ListBucketVersions",), resource=bucket_of(place.store))
    return Statement(actions=puts, resource=under(place.store, "*")), listed


def open_anchors(place: AnchorPlace) -> AnchorStore:
    """The anchors of a place that the playbook names; touches nothing yet."""
    parts = urlsplit(place.store)
    if parts.scheme == "s3":
        return AnchorBucket(parts.netloc, parts.path.strip("/"), place.retain_days)
    found = open_file(place.store)
    assert found is not None  # the playbook lets no third kind in
    return found
