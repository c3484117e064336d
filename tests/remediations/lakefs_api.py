"""A stand-in for a lakeFS server, because none can be had here: the documented API over a socket, as far as it is used.

What it does with a repository is in ``lakefs_repository``. What it is asked and what it answers is held against the API
as its vendor describes it (``lakefs_documented``); what that does not have is a 599, so no test passes by it.
It is no lakeFS: there is one user, who may do all, no hooks, no storage but a folder, and nobody asks too fast.
"""

from __future__ import annotations

import base64
import email
import email.policy
import json
import re
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.remediations.lakefs_documented import Undocumented, check, documented
from tests.remediations.lakefs_repository import Branch, Commit, Content, Entry, Refused, Repository
from tests.remediations.stand_in import QuietHandler, listening

KEY, SECRET = "AKIAJTESTSTESTSTESTQ", "a/secret+of/these/tests"


@dataclass(frozen=True)
class Asked:
    """A request that is documented."""

    #: Of the path and of the query.
    given: dict[str, Any]
    sent: dict[str, Any]
    headers: Mapping[str, str]
    raw: bytes = field(repr=False)


class Api:
    """Repositories, and what is asked of them."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.url = folder, ""
        self.repositories: dict[str, Repository] = {}
        self._lock = threading.RLock()
        self._token = base64.b64encode(f"{KEY}:{SECRET}".encode()).decode()

    def answer(self, method: str, target: str, headers: Mapping[str, str], raw: bytes) -> tuple[int, bytes]:
        """The status, and the body."""
        sent = json.loads(raw) if raw and headers.get("Content-Type") == "application/json" else {}
        try:
            operation = documented(method, target, sent)
            try:
                if headers.get("Authorization") != f"Basic {self._token}":
                    raise Refused(401, "error authenticating request")
                with self._lock:
                    status, body = getattr(self, operation.name)(Asked(operation.given, sent, headers, raw))
            except Refused as no:
                merging = operation.name == "merge_into_branch" and no.status == 409
                status, body = no.status, {"reference": ""} if merging else {"message": str(no)}
            check(operation, status, body)
        except Undocumented as error:
            return 599, f"not as lakeFS documents it: {error}".encode()
        if isinstance(body, dict):
            return status, json.dumps(body).encode()
        return status, body.encode() if isinstance(body, str) else body or b""

    def _of(self, asked: Asked) -> Repository:
        if asked.given["repository"] not in self.repositories:
            raise Refused(404, "repository not found")
        return self.repositories[asked.given["repository"]]

    def create_repository(self, asked: Asked) -> tuple[int, Any]:
        """With a default branch."""
        name, default = asked.sent["name"], asked.sent["default_branch"]
        made = self.repositories[name] = Repository(self.folder / name, default)
        told = {"id": name, "default_branch": default, "storage_namespace": asked.sent["storage_namespace"]}
        return 201, {**told, "creation_date": made.commit_of(default).at}

    def delete_repository(self, asked: Asked) -> tuple[int, Any]:
        """What the storage has stays there, as in lakeFS."""
        self._of(asked)
        del self.repositories[asked.given["repository"]]
        return 204, None

    def get_branch(self, asked: Asked) -> tuple[int, Any]:
        """Where it is."""
        name = asked.given["branch"]
        return 200, {"id": name, "commit_id": self._of(asked).branch(name).at}

    def list_branches(self, asked: Asked) -> tuple[int, Any]:
        """A page of them."""
        found = sorted(self._of(asked).branches.items())
        return 200, _page([{"id": name, "commit_id": branch.at} for name, branch in found], "id", asked)

    def create_branch(self, asked: Asked) -> tuple[int, Any]:
        """Where another ref is."""
        of, name = self._of(asked), asked.sent["name"]
        if name in of.branches:
            raise Refused(409, "branch already exists: not unique")
        if not re.fullmatch(r"\w[-\w]*", name):
            raise Refused(400, "argument branch: invalid value: validation error")
        of.branches[name] = Branch(of.commit_of(asked.sent["source"]).id)
        return 201, of.branches[name].at

    def delete_branch(self, asked: Asked) -> tuple[int, Any]:
        """With what is uncommitted on it."""
        of, name = self._of(asked), asked.given["branch"]
        of.branch(name)
        if name == of.default:
            raise Refused(403, "cannot delete repository default branch")
        del of.branches[name]
        return 204, None

    def log_commits(self, asked: Asked) -> tuple[int, Any]:
        """A page of it."""
        assert asked.given["first_parent"], "the others are not in here"
        return 200, _page([_commit(one) for one in self._of(asked).log(asked.given["ref"])], "id", asked)

    def get_commit(self, asked: Asked) -> tuple[int, Any]:
        """By any ref."""
        return 200, _commit(self._of(asked).commit_of(asked.given["commit_id"]))

    def list_objects(self, asked: Asked) -> tuple[int, Any]:
        """A page of what begins with a prefix."""
        found = self._of(asked).content(asked.given["ref"])
        listed = [_stats(path, one) for path, one in found.items() if path.startswith(asked.given.get("prefix", ""))]
        return 200, _page(listed, "path", asked)

    def get_object(self, asked: Asked) -> tuple[int, Any]:
        """Its content, or the beginning of it."""
        of = self._of(asked)
        body = of.read(_known(of.content(asked.given["ref"]), asked.given["path"]))
        asked_for = re.fullmatch(r"bytes=(\d+)-(\d+)", asked.headers.get("Range", ""))
        if asked_for is None:
            return 200, body
        first, last = int(asked_for[1]), int(asked_for[2])
        if first >= len(body):
            raise Refused(416, "Requested Range Not Satisfiable")
        return 206, body[first : last + 1]

    def upload_object(self, asked: Asked) -> tuple[int, Any]:
        """As it is, or as a form with one file."""
        of, path = self._of(asked), asked.given["path"]
        branch, body = of.branch(asked.given["branch"]), asked.raw
        if asked.headers["Content-Type"].startswith("multipart/"):
            head = f"Content-Type: {asked.headers['Content-Type']}\r\n\r\n".encode()
            form = email.message_from_bytes(head + body, policy=email.policy.HTTP)
            body = next(bytes(part.get_content()) for part in form.iter_parts())
        branch.staged[path] = one = of.store(body)
        return 201, _stats(path, one)

    def copy_object(self, asked: Asked) -> tuple[int, Any]:
        """The content is copied: it is another entry."""
        of, path = self._of(asked), asked.given["dest_path"]
        branch = of.branch(asked.given["branch"])
        found = _known(of.content(asked.sent["src_ref"]), asked.sent["src_path"])
        branch.staged[path] = one = of.store(of.read(found))
        return 201, _stats(path, one)

    def delete_objects(self, asked: Asked) -> tuple[int, Any]:
        """What is not there counts as deleted."""
        if len(asked.sent["paths"]) > 1000:
            raise Refused(400, "request size exceeded, max paths is set to 1000")
        of = self._of(asked)
        there = of.content(asked.given["branch"])
        of.branch(asked.given["branch"]).staged.update({path: None for path in asked.sent["paths"] if path in there})
        return 200, {"errors": []}

    def commit(self, asked: Asked) -> tuple[int, Any]:
        """What is staged."""
        sent = asked.sent
        empty = sent.get("allow_empty", False)
        made = self._of(asked).commit(asked.given["branch"], sent["message"], sent.get("metadata", {}), empty=empty)
        return 201, _commit(made)

    def merge_into_branch(self, asked: Asked) -> tuple[int, Any]:
        """Without a strategy."""
        sent, into = asked.sent, asked.given["destination_branch"]
        assert "strategy" not in sent, "one of both sides would win"
        message, squash = sent.get("message", ""), sent.get("squash_merge", False)
        source, metadata = asked.given["source_ref"], sent.get("metadata", {})
        return 200, {"reference": self._of(asked).merge(source, into, message, metadata, squash=squash).id}

    def revert_branch(self, asked: Asked) -> tuple[int, Any]:
        """One commit more."""
        sent = asked.sent
        said = {"message": f"Revert {sent['ref']}", "metadata": {}, **sent.get("commit_overrides", {})}
        self._of(asked).revert(asked.given["branch"], sent["ref"], sent["parent_number"], **said)
        return 204, None

    def get_tag(self, asked: Asked) -> tuple[int, Any]:
        """Where it is."""
        of, name = self._of(asked), asked.given["tag"]
        if name not in of.tags:
            raise Refused(404, "tag not found")
        return 200, {"id": name, "commit_id": of.tags[name]}

    def create_tag(self, asked: Asked) -> tuple[int, Any]:
        """It never moves."""
        of, name = self._of(asked), asked.sent["id"]
        if name in of.tags:
            raise Refused(409, "tag already exists: not unique")
        of.tags[name] = of.commit_of(asked.sent["ref"]).id
        return 201, {"id": name, "commit_id": of.tags[name]}

    def delete_tag(self, asked: Asked) -> tuple[int, Any]:
        """The commit stays."""
        if self._of(asked).tags.pop(asked.given["tag"], None) is None:
            raise Refused(404, "tag not found")
        return 204, None


def _known(content: Content, path: str) -> Entry:
    if path not in content:
        raise Refused(404, "not found")
    return content[path]


def _commit(one: Commit) -> dict[str, Any]:
    return {
        "id": one.id,
        "parents": list(one.parents),
        "committer": "anna",
        "message": one.message,
        "creation_date": one.at,
        "meta_range_id": one.meta_range,
        "metadata": one.metadata,
    }


def _stats(path: str, one: Entry) -> dict[str, Any]:
    return {
        "path": path,
        "path_type": "object",
        "physical_address": one.place,
        "checksum": one.checksum,
        "size_bytes": one.size,
        "mtime": 1_790_000_000,
        "content_type": "application/octet-stream",
    }


def _page(listed: list[dict[str, Any]], key: str, asked: Asked) -> dict[str, Any]:
    """What comes after the one that ``after`` names, if that is in the list."""
    after, amount = asked.given.get("after", ""), min(asked.given.get("amount", 100), 1000)
    begin = next((number for number, one in enumerate(listed, 1) if one[key] == after), 0)
    found = listed[begin : begin + amount]
    more = len(listed) > begin + amount
    pagination = {"has_more": more, "next_offset": found[-1][key] if more else "", "results": len(found)}
    return {"pagination": {**pagination, "max_per_page": 1000}, "results": found}


@contextmanager
def served(folder: Path) -> Iterator[Api]:
    """The API over a socket of its own."""
    api = Api(folder)

    class Handler(QuietHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1
        disable_nagle_algorithm = True

        def _do(self) -> None:
            raw = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            try:
                status, body = api.answer(self.command, self.path, dict(self.headers), raw)
            except Exception as error:  # a test must see it, not only this thread
                status, body = 599, f"the stand-in for lakeFS is wrong: {error!r}".encode()
            self.send_response(status)
            if status != 204:
                self.send_header("Content-Length", str(len(body)))
                self.send_header("Content-Type", "application/json" if body[:1] == b"{" else "text/html")
            self.end_headers()
            self.wfile.write(body)
            self.wfile.flush()

        do_GET = do_POST = do_DELETE = _do

    with listening(Handler) as api.url:
        yield api
