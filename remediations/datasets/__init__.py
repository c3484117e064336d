"""Where a dataset's versions live. One interface (``base``), one file a backend, and ``open_store`` to choose it."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import unquote, urlsplit

from incidents.redaction import redact
from remediations.datasets.base import DatasetStore

__all__ = ["DatasetStore", "open_store"]

#: What an address looks like.
ADDRESSES = (
    "s3://bucket/prefix",
    "s3+versions://bucket/prefix",
    "s3+delta://bucket/prefix",
    "file:///absolute/path",
    "file+delta:///absolute/path",
    "iceberg://catalog/namespace.table",
    "dvc+https://host/repository.git#branch:path/to/data.dvc",
    "lakefs://server/repository@branch/prefix",
)

_TABLE = re.compile(r"/[^/.\s]+(\.[^/.\s]+)+")
#: A user may be named, for SSH; a password may not.
_DVC = re.compile(r"dvc\+((?:https://|ssh://(?:[\w.-]+@)?|file:///)[^\s@?#]+)#([\w][\w./-]*):((?!/|\.\./)[^\s:]+\.dvc)")

_LAKEFS = re.compile(r"lakefs://([A-Za-z0-9][\w.-]*)/([a-z0-9][a-z0-9-]{2,62})@(\w[-\w]*)/([^\s@?#]+)", re.ASCII)


def open_store(uri: str, name: str) -> DatasetStore:
    """The store of the dataset ``name``; touches nothing yet.

    ``s3://bucket/prefix`` and ``file:///absolute/path`` keep objects where nothing else writes, and going back is one
    small write. ``s3+versions://bucket/prefix`` is for ordinary keys that other tools write, in a versioned bucket.
    ``s3+delta://bucket/prefix`` and ``file+delta:///absolute/path`` are Delta tables;
    ``iceberg://catalog/namespace.table`` is an Iceberg table in a catalog that the playbook describes.
    ``dvc+https://...``, ``dvc+ssh://...`` or ``dvc+file:///...`` is a Git repository, and a file that DVC wrote in it.
    ``lakefs://server/repository@branch/prefix`` is what a branch in lakeFS has, at a server that the playbook declares.

    Raises:
        ValueError: the address has another scheme, or lacks a part; the message says which are understood.
    """
    from remediations.datasets.delta import DeltaStore
    from remediations.datasets.directory import DirectoryStore
    from remediations.datasets.dvc import DvcStore
    from remediations.datasets.iceberg import IcebergStore
    from remediations.datasets.lakefs import LakeFSStore
    from remediations.datasets.s3 import S3Store
    from remediations.datasets.versioned_prefix import VersionedPrefix

    parts = urlsplit(uri)
    path = unquote(parts.path)
    plain = not (parts.query or parts.fragment or "@" in parts.netloc)
    if plain and parts.scheme == "s3" and parts.netloc:
        return S3Store(name, bucket=parts.netloc, prefix=path.strip("/"))
    if plain and parts.scheme == "s3+versions" and parts.netloc and path.strip("/"):
        return VersionedPrefix(name, bucket=parts.netloc, prefix=path.strip("/"))
    if plain and parts.scheme == "file" and parts.netloc in ("", "localhost") and path.startswith("/"):
        return DirectoryStore(name, path)
    if plain and parts.scheme == "s3+delta" and parts.netloc and path.strip("/"):
        return DeltaStore(name, f"s3://{parts.netloc}/{path.strip('/')}")
    if plain and parts.scheme == "file+delta" and parts.netloc in ("", "localhost") and path.startswith("/"):
        return DeltaStore(name, Path(path).as_uri())
    if plain and parts.scheme == "iceberg" and parts.netloc and _TABLE.fullmatch(path):
        return IcebergStore(name, catalog=parts.netloc, table=path.strip("/"))
    if repository := _DVC.fullmatch(uri):
        return DvcStore(name, url=repository[1], branch=repository[2], path=repository[3])
    if (branch := _LAKEFS.fullmatch(uri)) and _is_inside(prefix := unquote(branch[4]).strip("/")):
        return LakeFSStore(name, server=branch[1], repository=branch[2], branch=branch[3], prefix=prefix)
    raise ValueError(f"a dataset store is {', '.join(ADDRESSES)}, with nothing after it; this is {_shown(uri)!r}")


def _shown(uri: str) -> str:
    """An address without who it is for: that may be a password, and what is wrong with it is shown to everybody."""
    return redact(re.sub(r"(?s)\?.*", "?***", re.sub(r"(?s)(?<=:)(//)?.*@", r"\1***@", uri)))


def _is_inside(prefix: str) -> bool:
    return all(part not in ("", ".", "..") for part in prefix.split("/"))
