"""What a branch of lakeFS had under a prefix, commit by commit: the versions, and which commits are ours."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from pydantic import ValidationError

from incidents.models import Frozen, digest
from remediations.datasets.lakefs_branch import Commit, LakeFSBranch, LakeFSObject
from remediations.datasets.layout import Pointer, named
from remediations.datasets.side_by_side import side_by_side

#: By server, repository and prefix: digests of what commits hold there, which never change.
_KNOWN: dict[tuple[str, str, str], dict[str, str]] = {}
NOTHING = digest([])


class Note(Frozen):
    """What a commit of ours says of itself in its metadata."""

    #: The change that it was to come right after, by its commit, empty where it was to be the first; None: it only took
    #: another of ours back.
    on: str | None = None
    #: Of what it was to leave under the prefix.
    digest: str = NOTHING
    #: None: it set none.
    pointer: Pointer | None = None

    def beside(self, prefix: str) -> dict[str, str]:
        """The metadata that has it."""
        return {f"lastgood:{prefix}": self.model_dump_json()}

    @classmethod
    def of(cls, metadata: Mapping[str, str], prefix: str) -> Note | None:
        """The note there; None: there is none, or it can't be read."""
        with contextlib.suppress(ValidationError):
            return cls.model_validate_json(metadata.get(f"lastgood:{prefix}", ""))
        return None


class Change(NamedTuple):
    """A commit of the branch that changed what is under the prefix, or is ours."""

    commit: Commit
    digest: str
    #: The commit with which the branch first had that content.
    first: Commit
    #: The commit of the change before it; empty where it is the first.
    on: str
    note: Note | None

    @property
    def version(self) -> str:
        """The name of the content that it left."""
        return named(self.first.at, self.digest)

    @property
    def mixed(self) -> bool:
        """Whether it is ours, and somebody's change is between it and what was looked at, or in what it left."""
        note = self.note
        return note is not None and note.on is not None and (note.on, note.digest) != (self.on, self.digest)


class History(NamedTuple):
    """The branch as it was at one moment."""

    head: str
    #: Oldest first.
    changes: list[Change]

    @property
    def newest(self) -> Change | None:
        """The last change; None: there is nothing under the prefix, and there never was."""
        return self.changes[-1] if self.changes else None

    @property
    def top(self) -> str:
        """The commit of the last change; empty where there is none."""
        return self.changes[-1].commit.id if self.changes else ""

    def find(self, version: str) -> Change | None:
        """A change that left that version; None: the branch never had it."""
        return next((one for one in self.changes if one.version == version and one.digest != NOTHING), None)


def digest_of(objects: Iterable[LakeFSObject]) -> str:
    """Of a content: its paths, checksums and sizes."""
    return digest(sorted([one.path, one.checksum, one.bytes] for one in objects))


def history(branch: LakeFSBranch, head: str) -> History:
    """Read it, up to the commit ``head``: the commits that the branch was at, and a listing of each not yet known."""
    log = list(reversed(branch.log(head)))
    known = _KNOWN.setdefault((branch.server, branch.repository, branch.prefix), {})
    new = list({one.content: one for one in log if one.content not in known}.values())
    digests = side_by_side(lambda one: digest_of(branch.objects(one.id)), new)
    known.update(zip((one.content for one in new), digests, strict=True))
    first: dict[str, Commit] = {}
    found: list[Change] = []
    before = NOTHING
    for commit in log:
        note, whole = Note.of(commit.metadata, branch.prefix), known[commit.content]
        if whole != before or note:
            on = found[-1].commit.id if found else ""
            found.append(Change(commit, whole, first.setdefault(whole, commit), on, note))
        before = whole
    return History(head, found)
