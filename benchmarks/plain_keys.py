"""Plain keys of a bench in a versioned bucket, and the server that they are on."""

from __future__ import annotations

import hashlib
import os
import re
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

BUCKET = "versioned"


@dataclass
class Keys:
    """One side's own prefix of plain keys, put into the good state and broken before each call."""

    prefix: str
    size: int
    #: Requests of each call.
    requests: list[float] = field(default_factory=list)
    round: int = 0
    #: Whether keys are deleted and added too when it is broken.
    come_and_go: bool = False

    def paths(self, first: float, last: float) -> list[str]:
        """A part of the good state's keys, by shares."""
        return [f"part{number:05}" for number in range(int(self.size * first), int(self.size * last))]

    def good(self) -> dict[str, str]:
        """The good state."""
        return {path: f"good {path}" for path in self.paths(0, 1)}

    @property
    def backup(self) -> str:
        """Another prefix, for a copy of the good state."""
        return f"{self.prefix}-backup"

    def fill(self) -> None:
        """Write the good state."""
        put(self.prefix, self.good())

    def back_up(self) -> None:
        """Write the good state to the backup; before ``fill``, so that `aws s3 sync` takes what is there for newer."""
        put(self.backup, self.good())

    def break_it(self) -> None:
        """60% overwritten; where it is told to, 20% deleted and 10% added as well."""
        self.round += 1
        put(self.prefix, {path: f"bad, {self.round} {path}" for path in self.paths(0, 0.6)})
        if not self.come_and_go:
            return
        delete(self.prefix, self.paths(0.6, 0.8))
        put(self.prefix, {f"new{path}": "new" for path in self.paths(0, 0.1)})

    def right(self) -> int:
        """How many objects of the good state are there with its content; each one too many counts against it."""
        from remediations import clients

        pages = clients.s3().get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix=f"{self.prefix}/")
        there = {
            one["Key"].rpartition("/")[2]: one["ETag"].strip('"') for page in pages for one in page.get("Contents", [])
        }
        wanted = {
            path: hashlib.md5(body.encode(), usedforsecurity=False).hexdigest() for path, body in self.good().items()
        }
        return sum(there.get(path) == etag for path, etag in wanted.items()) - len(there.keys() - wanted.keys())


def put(prefix: str, contents: dict[str, str]) -> None:
    """Write these keys, many at once, by requests of our own: filling takes longer than what is measured."""
    import urllib3

    from remediations import clients
    from remediations.datasets.side_by_side import side_by_side

    base, connections = clients.s3_address(BUCKET), urllib3.PoolManager(maxsize=clients.S3_THREADS)

    def one(path: str, body: str) -> None:
        ready = clients.s3_signed("PUT", f"{base}{prefix}/{path}", body=body.encode())
        answer = connections.request("PUT", ready.url, body=body.encode(), headers=dict(ready.headers.items()))
        if answer.status != 200:
            raise RuntimeError(f"{ready.url} was not written: {answer.data!r}")

    side_by_side(one, list(contents), list(contents.values()))


def delete(prefix: str, paths: list[str]) -> None:
    """Delete these keys, a thousand a request."""
    from remediations import clients

    for start in range(0, len(paths), 1_000):
        objects: list[Any] = [{"Key": f"{prefix}/{path}"} for path in paths[start : start + 1_000]]
        clients.s3().delete_objects(Bucket=BUCKET, Delete={"Objects": objects})


@contextmanager
def server() -> Iterator[Callable[[], float]]:
    """A server with a versioned bucket, in the environment meanwhile; yields how many requests it has had."""
    from demo import servers
    from remediations import clients

    kept = dict(os.environ)
    with tempfile.TemporaryDirectory(prefix="lastgood-bench-") as folder:
        servers.isolate(Path(folder))
        del os.environ["AWS_ENDPOINT_URL"]
        Path(os.environ["AWS_CONFIG_FILE"]).write_text("[default]\ns3 =\n  max_concurrent_requests = 32\n")
        s3 = servers.s3(Path(folder))
        metrics = servers.free_port()
        s3.argv.append(f"-metricsPort={metrics}")
        try:
            with s3:
                os.environ.update(s3.env)
                clients.s3.cache_clear()
                clients.s3().create_bucket(Bucket=BUCKET)
                clients.s3().put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": "Enabled"})
                yield lambda: _requests(f"http://127.0.0.1:{metrics}/metrics")
        finally:
            os.environ.clear()
            os.environ.update(kept)
            clients.s3.cache_clear()


def _requests(metrics: str) -> float:
    lines = httpx.get(metrics).text
    return sum(float(count) for count in re.findall(r"^SeaweedFS_s3_request_total\{.*\} (\S+)$", lines, re.MULTILINE))
