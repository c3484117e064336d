"""What lakeFS does with a repository: branches with uncommitted changes, commits, three-way merges, reverts, tags.

As Merge, Revert, Commit and FindMergeBase in pkg/graveler of treeverse/lakeFS do it, path by path: of two sides the one
that changed since the base wins, two that changed otherwise are a conflict, and a branch with uncommitted changes takes
no merge. Contents are files in a folder, as lakeFS's local block adapter keeps them. Each commit is made at a second of
its own, so that what is named by its second has a name of its own.
"""

from __future__ import annotations

import hashlib
import itertools
import secrets
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from incidents.models import digest

#: In all repositories together.
_SECONDS = itertools.count(1_790_000_000)


class Refused(Exception):
    """lakeFS says no, with an HTTP status."""

    def __init__(self, status: int, why: str) -> None:
        super().__init__(why)
        self.status = status


@dataclass(frozen=True)
class Entry:
    """One object. Another upload of the same content is another entry, as in lakeFS."""

    place: str
    checksum: str
    size: int


Content = dict[str, Entry]


@dataclass(frozen=True)
class Commit:
    """One commit; ``content`` never changes."""

    content: Content
    parents: tuple[str, ...]
    message: str
    metadata: dict[str, str]
    at: int = field(default_factory=lambda: next(_SECONDS))

    @cached_property
    def meta_range(self) -> str:
        """Names the content."""
        return digest(sorted([path, one.place] for path, one in self.content.items()))

    @cached_property
    def id(self) -> str:
        """Names the commit."""
        return digest([self.meta_range, list(self.parents), self.message, self.metadata, self.at])


@dataclass
class Branch:
    """A commit, and what was written since."""

    at: str
    staged: dict[str, Entry | None] = field(default_factory=dict)


class Repository:
    """One repository, whose contents are in ``folder``."""

    def __init__(self, folder: Path, default: str) -> None:
        self.folder, self.default = folder, default
        self.commits: dict[str, Commit] = {}
        self.branches: dict[str, Branch] = {}
        self.tags: dict[str, str] = {}
        folder.mkdir(parents=True, exist_ok=True)
        self.branches[default] = Branch(self._add(Commit({}, (), "Repository created", {})))

    def branch(self, name: str) -> Branch:
        """A branch that is there."""
        if name not in self.branches:
            raise Refused(404, "branch not found")
        return self.branches[name]

    def commit_of(self, ref: str) -> Commit:
        """What a branch, a tag or a commit's id names, without what is uncommitted."""
        at = self.branches[ref].at if ref in self.branches else self.tags.get(ref, ref)
        if at not in self.commits:
            raise Refused(404, "ref not found: not found")
        return self.commits[at]

    def content(self, ref: str) -> Content:
        """What is there; of a branch with what is uncommitted."""
        found: dict[str, Entry | None] = {**self.commit_of(ref).content}
        if ref in self.branches:
            found |= self.branches[ref].staged
        return {path: one for path, one in sorted(found.items()) if one is not None}

    def log(self, ref: str) -> Iterator[Commit]:
        """The commit and its first parents."""
        commit = self.commit_of(ref)
        while True:
            yield commit
            if not commit.parents:
                return
            commit = self.commits[commit.parents[0]]

    def store(self, body: bytes) -> Entry:
        """Keep a content."""
        place = self.folder / secrets.token_hex(10)
        place.write_bytes(body)
        return Entry(f"local://{place}", hashlib.md5(body, usedforsecurity=False).hexdigest(), len(body))

    def read(self, one: Entry) -> bytes:
        """What the storage has."""
        try:
            return Path(one.place.removeprefix("local://")).read_bytes()
        except FileNotFoundError:
            raise Refused(410, "No data") from None

    def commit(self, name: str, message: str, metadata: dict[str, str], *, empty: bool) -> Commit:
        """Commit what is staged."""
        branch, content = self.branch(name), self.content(name)
        if content == self.commit_of(name).content and not empty:
            raise Refused(400, "commit: no changes")
        branch.at = self._add(Commit(content, (branch.at,), message, metadata))
        branch.staged = {}
        return self.commits[branch.at]

    def merge(self, source: str, name: str, message: str, metadata: dict[str, str], *, squash: bool) -> Commit:
        """Merge what is committed there into a branch, without a strategy."""
        branch, ours = self._clean(name), self.commit_of(source)
        theirs = self.commit_of(name)
        content = self._three_way(self._base(ours.id, theirs.id).content, ours.content, theirs.content)
        if content == theirs.content:
            raise Refused(400, "merge in CommitManager: no changes")
        parents = (theirs.id,) if squash else (theirs.id, ours.id)
        whole = {**metadata, ".lakefs.merge.strategy": "default"}
        branch.at = self._add(Commit(content, parents, message, whole))
        return self.commits[branch.at]

    def revert(self, name: str, ref: str, parent: int, message: str, metadata: dict[str, str]) -> None:
        """Merge the commit's parent into the branch, with the commit as the base."""
        branch, wrong, now = self._clean(name), self.commit_of(ref), self.commit_of(name)
        if parent > len(wrong.parents):
            raise Refused(400, f"given commit does not have the requested parent number: parent {parent}")
        before = self.commits[wrong.parents[parent - 1]]
        content = self._three_way(wrong.content, before.content, now.content)
        if content == now.content:
            raise Refused(400, "update branch: no changes")
        branch.at = self._add(Commit(content, (now.id,), message, metadata))

    def _clean(self, name: str) -> Branch:
        branch = self.branch(name)
        if self.content(name) != self.commit_of(name).content:
            raise Refused(400, f"update branch {name}: uncommitted changes (dirty branch)")
        return branch

    def _three_way(self, base: Content, source: Content, into: Content) -> Content:
        merged = {}
        for path in {*base, *source, *into}:
            was, new, now = base.get(path), source.get(path), into.get(path)
            if new not in (was, now) and now != was:
                raise Refused(409, "conflict found")
            found = now if new == was else new
            if found is not None:
                merged[path] = found
        return merged

    def _base(self, one: str, other: str) -> Commit:
        known = set(self._ancestors(one))
        return self.commits[next(commit for commit in self._ancestors(other) if commit in known)]

    def _ancestors(self, start: str) -> Iterator[str]:
        """Newest first."""
        waiting = {start}
        while waiting:
            newest = max(waiting, key=lambda one: self.commits[one].at)
            yield newest
            waiting = (waiting - {newest}) | set(self.commits[newest].parents)

    def _add(self, commit: Commit) -> str:
        return self.commits.setdefault(commit.id, commit).id
