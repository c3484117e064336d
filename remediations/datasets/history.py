"""Every version of every key under a prefix, as S3 lists them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from itertools import pairwise
from typing import Any, NamedTuple

from remediations import clients
from remediations.datasets.base import DatasetError
from remediations.datasets.side_by_side import side_by_side
from remediations.datasets.version_set import ObjectVersion, VersionSet

#: Parts of the keys listed side by side, and how many keys make a part worth its own last page.
PARTS, WORTH = 8, 2_000


class Listed(NamedTuple):
    """One entry of the listing: a version, or the mark that a key was deleted."""

    path: str
    modified: datetime
    latest: bool
    #: None: a delete marker.
    version: ObjectVersion | None


class History:
    """What a prefix holds and held, at one look."""

    def __init__(self, dataset: str, entries: list[Listed], requests: int) -> None:
        self.dataset = dataset
        self.entries = entries
        #: Requests that the look took.
        self.requests = requests
        self._known = {(entry.path, entry.version.version_id) for entry in entries if entry.version}

    def now(self) -> VersionSet | None:
        """The present state; None: nothing is there, and nothing was."""
        return self._state([entry for entry in self.entries if entry.latest])

    def at(self, moment: datetime) -> VersionSet | None:
        """The state at a moment: of each key the newest version of that second or before.

        Raises:
            DatasetError: within one second a key was written and deleted, and S3 does not list which came last.
        """
        newest: dict[str, Listed] = {}
        for entry in self.entries:  # of one key: versions from the newest to the oldest, and so its delete markers
            seen = newest.get(entry.path)
            if entry.modified > moment or (seen and (seen.latest or seen.modified > entry.modified)):
                continue
            if not seen or entry.latest or entry.modified > seen.modified:
                newest[entry.path] = entry
            elif (seen.version is None) is not (entry.version is None):
                raise DatasetError(f"{entry.path} was written and deleted at {entry.modified}: name another moment")
        return self._state(list(newest.values()))

    def has(self, version: ObjectVersion) -> bool:
        """Whether that very version is still there."""
        return (version.path, version.version_id) in self._known

    def _state(self, entries: list[Listed]) -> VersionSet | None:
        if not entries:
            return None
        at = max(entry.modified for entry in entries)
        return VersionSet.of(self.dataset, [entry.version for entry in entries if entry.version], at)


def look(dataset: str, bucket: str, prefix: str, known: Sequence[str] = ()) -> History:
    """List the prefix now. ``known`` paths, sorted, tell where to divide it, so that parts are listed side by side."""
    step = max(len(known) // PARTS, WORTH)
    edges = [None, *(prefix + path for path in known[step : len(known) - step // 2 : step]), None]
    spans = list(pairwise(edges))
    parts = side_by_side(lambda after, until: list(_pages(bucket, prefix, after, until)), *zip(*spans, strict=True))
    entries = [entry for pages in parts for page in pages for entry in page]
    return History(dataset, entries, sum(len(pages) for pages in parts))


def holds(bucket: str, prefix: str, wanted: VersionSet) -> bool:
    """Whether the prefix surely holds that content now, seen without its history; stops at the first difference."""
    left = wanted.by_path
    for page in clients.s3().get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
        for one in page.get("Contents", []):
            if one["Key"] == prefix:
                continue
            there = left.pop(one["Key"].removeprefix(prefix), None)
            if there is None or (there.bytes, f'"{there.etag}"') != (one["Size"], one["ETag"]) or "-" in there.etag:
                return False
    return not left


def _pages(bucket: str, prefix: str, after: str | None, until: str | None) -> Iterator[list[Listed]]:
    """The entries of the keys after ``after``, up to and with ``until``, a page a request."""
    where: dict[str, Any] = {"Bucket": bucket, "Prefix": prefix} | ({"KeyMarker": after} if after else {})
    for page in clients.s3().get_paginator("list_object_versions").paginate(**where):
        listed = [*page.get("Versions", []), *page.get("DeleteMarkers", [])]
        # A key that is the prefix itself is a folder's mark, and no part of what is in the folder.
        yield [
            _listed(one, prefix) for one in listed if one["Key"] != prefix and (until is None or one["Key"] <= until)
        ]
        if until is not None and page.get("NextKeyMarker", "") > until:
            return


def _listed(one: Mapping[str, Any], prefix: str) -> Listed:
    path = one["Key"].removeprefix(prefix)
    version = None
    if "Size" in one:  # a delete marker has none
        etag = one["ETag"].strip('"')
        version = ObjectVersion(
            path=path, version_id=one["VersionId"], bytes=one["Size"], etag=etag, modified=one["LastModified"]
        )
    return Listed(path, one["LastModified"], one["IsLatest"], version)
