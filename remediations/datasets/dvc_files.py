"""What DVC writes, as its documentation has it: a ``.dvc`` file in Git, and objects in a remote by their MD5."""

from __future__ import annotations

import configparser
import hashlib
import io
import json
import shutil
from pathlib import Path
from typing import NamedTuple, Protocol
from urllib.parse import urlsplit

from ruamel.yaml import YAML

from remediations import clients
from remediations.datasets.base import DatasetError
from remediations.datasets.s3_files import S3Files, download


class Remote(Protocol):
    """Where a DVC repository keeps its data: ``files/md5/ab/cdef...``."""

    def has(self, key: str) -> bool:
        """Whether an object is there."""

    def get(self, key: str, to: Path) -> bool:
        """Copy an object to the path ``to``; False: there is none."""

    def put(self, key: str, file: Path) -> None:
        """Store a file where there is none."""


class FolderRemote:
    """A folder that this machine sees."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def has(self, key: str) -> bool:
        """Whether an object is there."""
        return (self.folder / key).is_file()

    def get(self, key: str, to: Path) -> bool:
        """Copy an object to the path ``to``; False: there is none."""
        if not self.has(key):
            return False
        shutil.copyfile(self.folder / key, to)
        return True

    def put(self, key: str, file: Path) -> None:
        """Store a file where there is none."""
        place = self.folder / key
        place.parent.mkdir(parents=True, exist_ok=True)
        partial = place.with_suffix(".part")
        shutil.copyfile(file, partial)
        partial.replace(place)


class S3Remote(S3Files):
    """A prefix of a bucket."""

    def __init__(self, bucket: str, prefix: str) -> None:
        self.bucket, self.prefix = bucket, f"{prefix}/" if prefix else ""

    def has(self, key: str) -> bool:
        """Whether an object is there."""
        return self._size(key) is not None

    def get(self, key: str, to: Path) -> bool:
        """Copy an object to the path ``to``; False: there is none."""
        return download(self.bucket, self._key(key), to)

    def put(self, key: str, file: Path) -> None:
        """Store a file where there is none."""
        clients.s3().upload_file(str(file), self.bucket, self._key(key))


class Stored(NamedTuple):
    """One file of a version."""

    path: str
    md5: str


def remote(config: str) -> Remote:
    """The default remote of a repository, from its ``.dvc/config``.

    Raises:
        DatasetError: it has none, one that is neither in S3 nor a folder, or one in another S3 than ours.
    """
    parser = configparser.ConfigParser(interpolation=None)
    parser.read_string("\n".join(line.strip() for line in config.splitlines()))
    name = parser.get("core", "remote", fallback="")
    section = f"'remote \"{name}\"'"
    url = parser.get(section, "url", fallback="")
    endpoint = parser.get(section, "endpointurl", fallback="")
    parts = urlsplit(url)
    if parts.scheme == "s3" and parts.netloc:
        _refuse_another(name, endpoint)
        return S3Remote(parts.netloc, parts.path.strip("/"))
    if url.startswith("/"):
        return FolderRemote(Path(url))
    raise DatasetError(f"DVC's remote {name!r} is {url!r}: only s3://bucket/prefix and an absolute folder can be read")


def _refuse_another(name: str, endpoint: str) -> None:
    """An object is never looked for in another S3 than the one that the remote names."""
    ours = clients.s3().meta.endpoint_url
    if endpoint and endpoint.rstrip("/") != ours.rstrip("/"):
        raise DatasetError(
            f"DVC's remote {name!r} is in the S3 at {endpoint}, and ours is {ours}: set AWS_ENDPOINT_URL_S3"
        )


def key(md5: str) -> str:
    """Where an object is in a remote of DVC 3."""
    return f"files/md5/{md5[:2]}/{md5[2:]}"


def output(text: str) -> Stored:
    """The one output of a ``.dvc`` file; of a folder its hash ends with ``.dir``.

    Raises:
        DatasetError: it has several, or was written by DVC 2, which hashed text files otherwise.
    """
    outs = (YAML(typ="safe").load(io.StringIO(text)) or {}).get("outs") or []
    if len(outs) != 1 or outs[0].get("hash") != "md5" or "md5" not in outs[0]:
        raise DatasetError("a .dvc file with one output of DVC 3 is needed (hash: md5); `dvc commit -f` rewrites it")
    return Stored(str(outs[0]["path"]), str(outs[0]["md5"]))


def written(path: str, files: list[tuple[Stored, Path]]) -> tuple[str, str, str]:
    """Of these files as a folder: its hash, the object that lists them, and the ``.dvc`` file."""
    listed = [{"md5": stored.md5, "relpath": stored.path} for stored, _ in sorted(files)]
    body = json.dumps(listed, sort_keys=True)
    whole = f"{hashlib.md5(body.encode(), usedforsecurity=False).hexdigest()}.dir"
    size = sum(file.stat().st_size for _, file in files)
    told = {"md5": whole, "size": size, "nfiles": len(files), "hash": "md5", "path": path}
    lines = [f"{'- ' if name == 'md5' else '  '}{name}: {value}" for name, value in told.items()]
    return whole, body, "\n".join(["outs:", *lines, ""])


def md5_of(file: Path) -> str:
    """By which DVC knows a file."""
    with file.open("rb") as content:
        return hashlib.file_digest(content, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
