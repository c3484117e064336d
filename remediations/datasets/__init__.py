"""Where a dataset's versions live. One interface (``base``), one file a backend, and ``open_store`` to choose it."""

from __future__ import annotations

from urllib.parse import unquote, urlsplit

from remediations.datasets.base import DatasetStore

__all__ = ["DatasetStore", "open_store"]


def open_store(uri: str, name: str) -> DatasetStore:
    """The store of the dataset ``name``; touches nothing yet.

    ``s3://bucket/prefix`` and ``file:///absolute/path`` keep objects where nothing else writes, and going back is one
    small write. ``s3+versions://bucket/prefix`` is for ordinary keys that other tools write, in a versioned bucket.

    Raises:
        ValueError: the address has another scheme, or lacks a part; the message says which are understood.
    """
    from remediations.datasets.directory import DirectoryStore
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
    raise ValueError(
        "a dataset store is s3://bucket/prefix, s3+versions://bucket/prefix or file:///absolute/path, "
        f"with nothing after it; this is {uri!r}"
    )
