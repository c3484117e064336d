"""A branch of a lakeFS repository, as seen through a prefix, over lakeFS's own API.

Which request does what is from ``api/swagger.yml`` of treeverse/lakeFS.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import httpx

from remediations import clients
from remediations.datasets.base import DatasetError
from remediations.datasets.dvc_files import md5_of

#: Entries that lakeFS lists, or deletes, in one request.
PAGE = 1000


class Refused(DatasetError):
    """lakeFS did not do it."""

    def __init__(self, status: int, why: str) -> None:
        super().__init__(why)
        self.status = status


class Commit(NamedTuple):
    """One commit."""

    id: str
    at: datetime
    committer: str
    #: lakeFS's id of all that the commit holds; what it names never changes.
    content: str
    metadata: Mapping[str, str]


class LakeFSObject(NamedTuple):
    """One object under the prefix."""

    path: str
    checksum: str
    bytes: int


class LakeFSBranch:
    """``branch`` of ``repository`` at the server that the playbook calls ``server``; paths are under ``prefix``."""

    def __init__(self, server: str, repository: str, branch: str, prefix: str) -> None:
        self.server, self.repository, self.branch, self.prefix = server, repository, branch, prefix

    def head(self) -> str:
        """The commit that the branch is at."""
        return str(self._json("GET", f"branches/{self.branch}")["commit_id"])

    def log(self, head: str) -> list[Commit]:
        """What the branch was at, newest first: the first parents of ``head``. What was merged in does not count."""
        return [_commit(one) for one in self._pages(f"refs/{head}/commits", first_parent=True)]

    def commit_of(self, ref: str) -> Commit:
        """The commit of that id."""
        return _commit(self._json("GET", f"commits/{ref}"))

    def objects(self, ref: str) -> list[LakeFSObject]:
        """What is under the prefix there, sorted by path."""
        listed = self._pages(f"refs/{ref}/objects/ls", prefix=f"{self.prefix}/", user_metadata=False)
        found = ((str(one["path"]).removeprefix(f"{self.prefix}/"), one) for one in listed)
        return sorted(LakeFSObject(path, one["checksum"], one["size_bytes"]) for path, one in found if path)

    def has(self, ref: str, one: LakeFSObject) -> bool:
        """Whether its content is in the storage, of which lakeFS reads the first byte."""
        headers = {"Range": "bytes=0-0"} if one.bytes else {}
        try:
            self._ask("GET", f"refs/{ref}/objects", params={"path": self._full(one.path)}, headers=headers)
        except Refused as no:
            if no.status in (httpx.codes.NOT_FOUND, httpx.codes.GONE):
                return False
            raise
        return True

    def get(self, ref: str, path: str, place: Path) -> bool:
        """Download an object; False: it is gone."""
        where, named = self._url(f"refs/{ref}/objects"), {"path": self._full(path)}
        with self._said(), clients.lakefs(self.server).stream("GET", where, params=named) as answer:
            if answer.status_code in (httpx.codes.NOT_FOUND, httpx.codes.GONE):
                return False
            if answer.status_code != httpx.codes.OK:
                answer.read()
                raise _refused(answer)
            with place.open("wb") as file:
                for piece in answer.iter_bytes():
                    file.write(piece)
        return True

    def branch_off(self, name: str, ref: str) -> LakeFSBranch:
        """A new branch that begins at ``ref``; what a process that was killed left of it goes."""
        body = {"name": name, "source": ref}
        try:
            self._ask("POST", "branches", json=body)
        except Refused as no:
            if no.status != httpx.codes.CONFLICT:
                raise
            self.drop(name)
            self._ask("POST", "branches", json=body)
        return LakeFSBranch(self.server, self.repository, name, self.prefix)

    def drop(self, name: str) -> None:
        """Delete the branch of that name, where there is one."""
        self._delete(f"branches/{name}")

    def copy(self, path: str, ref: str) -> None:
        """Have the storage copy the object as it is at ``ref``; not yet committed."""
        full = self._full(path)
        body = {"src_path": full, "src_ref": ref}
        self._ask("POST", f"branches/{self.branch}/objects/copy", params={"dest_path": full}, json=body)

    def put(self, path: str, content: bytes) -> None:
        """Upload an object by its whole path; not yet committed."""
        headers = {"Content-Type": "application/octet-stream"}
        self._ask("POST", f"branches/{self.branch}/objects", params={"path": path}, content=content, headers=headers)

    def upload(self, file: Path) -> LakeFSObject:
        """Upload a file under its name, in pieces; not yet committed.

        Raises:
            DatasetError: it changed meanwhile.
        """
        size = file.stat().st_size
        headers = {"Content-Type": "application/octet-stream", "Content-Length": str(size)}
        where = {"path": self._full(file.name)}
        with file.open("rb") as content:
            one = self._json("POST", f"branches/{self.branch}/objects", params=where, content=content, headers=headers)
        if one["size_bytes"] != size or one["checksum"] != md5_of(file):
            raise DatasetError(f"{file.name} changed while it was stored")
        return LakeFSObject(file.name, one["checksum"], size)

    def delete(self, paths: list[str]) -> None:
        """Delete objects; not yet committed."""
        for start in range(0, len(paths), PAGE):
            body = {"paths": [self._full(path) for path in paths[start : start + PAGE]]}
            errors = self._json("POST", f"branches/{self.branch}/objects/delete", json=body)["errors"]
            if errors:
                raise DatasetError(f"lakeFS did not delete {len(errors)} objects, {errors[0]} for one")

    def commit(self, message: str, metadata: dict[str, str], *, empty: bool = False) -> Commit:
        """Commit what is staged."""
        body = {"message": message, "metadata": metadata, "allow_empty": empty}
        return _commit(self._json("POST", f"branches/{self.branch}/commits", json=body))

    def merge(self, ref: str, message: str, metadata: dict[str, str]) -> str:
        """Merge ``ref`` as one commit with one parent, and say which. A path that both sides changed is refused."""
        body = {"message": message, "metadata": metadata, "squash_merge": True}
        return str(self._json("POST", f"refs/{ref}/merge/{self.branch}", json=body)["reference"])

    def revert(self, ref: str, message: str, metadata: dict[str, str]) -> None:
        """A new commit that takes back what ``ref`` brought."""
        said = {"message": message, "metadata": metadata}
        body = {"ref": ref, "parent_number": 1, "commit_overrides": said}
        self._ask("POST", f"branches/{self.branch}/revert", json=body)

    def tagged(self, tag: str) -> Commit | None:
        """The commit that a tag is at; None: there is no such tag."""
        try:
            return self.commit_of(self._json("GET", f"tags/{tag}")["commit_id"])
        except Refused as no:
            if no.status == httpx.codes.NOT_FOUND:
                return None
            raise

    def tag(self, tag: str, ref: str) -> None:
        """Make a tag; one that is there stays as it is."""
        try:
            self._ask("POST", "tags", json={"id": tag, "ref": ref})
        except Refused as no:
            if no.status != httpx.codes.CONFLICT:
                raise

    def untag(self, tag: str) -> None:
        """Delete a tag, where there is one."""
        self._delete(f"tags/{tag}")

    def _full(self, path: str) -> str:
        return f"{self.prefix}/{path}"

    def _url(self, path: str) -> str:
        return f"repositories/{self.repository}/{path}"

    def _delete(self, path: str) -> None:
        try:
            self._ask("DELETE", path)
        except Refused as no:
            if no.status != httpx.codes.NOT_FOUND:
                raise

    def _pages(self, path: str, **asked: Any) -> Iterator[Mapping[str, Any]]:
        after = ""
        while True:
            page = self._json("GET", path, params={**asked, "amount": PAGE, "after": after})
            yield from page["results"]
            if not page["pagination"]["has_more"]:
                return
            after = page["pagination"]["next_offset"]

    def _json(self, method: str, path: str, **named: Any) -> Any:
        return self._ask(method, path, **named).json()

    def _ask(self, method: str, path: str, **named: Any) -> httpx.Response:
        with self._said():
            answer = clients.lakefs(self.server).request(method, self._url(path), **named)
        if not answer.is_success:
            raise _refused(answer)
        return answer

    @contextlib.contextmanager
    def _said(self) -> Iterator[None]:
        try:
            yield
        except httpx.HTTPError as error:
            raise DatasetError(f"the lakeFS server {self.server} did not answer: {error}") from error


def _commit(one: Mapping[str, Any]) -> Commit:
    at = datetime.fromtimestamp(one["creation_date"], UTC)
    return Commit(one["id"], at, one["committer"], one["meta_range_id"], one.get("metadata") or {})


def _refused(answer: httpx.Response) -> Refused:
    try:
        why = str(answer.json()["message"])
    except (ValueError, KeyError, TypeError):
        why = answer.text
    asked = f"{answer.request.method} {answer.request.url.path}"
    return Refused(answer.status_code, f"lakeFS refused {asked}: {answer.status_code} {why[:300]}")
