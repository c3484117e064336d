"""Where a dataset's versions live. One interface (``base``), one file a backend, and ``open_store`` to choose it."""

from __future__ import annotations

from urllib.parse import unquote, urlsplit

from remediations.datasets.base import DatasetStore

__all__ = ["DatasetStore", "open_store"]


def open_store(uri: str, name: str) -> DatasetStore:
    """The store of the dataset ``name`` at ``s3://bucket/prefix`` or ``file:///absolute/path``; touches nothing yet.

    Raises:
        ValueError: the address has another scheme, or lacks a part; the message says which are understood.
    """
    from remediations.datasets.directory import DirectoryStore
    from remediations.datasets.s3 import S3Store

    parts = urlsplit(uri)
    path = unquote(parts.path)
    plain = not (parts.query or parts.fragment or "@" in parts.netloc)
    if plain and parts.scheme == "s3" and parts.netloc:
        return S3Store(name, bucket=parts.netloc, prefix=path.strip("/"))
    if plain and parts.scheme == "file" and parts.netloc in ("", "localhost") and path.startswith("/"):
        return DirectoryStore(name, path)
    raise ValueError(
        f"a dataset store is s3://bucket/prefix or file:///absolute/path, with nothing after it; this is {uri!r}"
    )
