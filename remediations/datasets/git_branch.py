"""One file on a branch of a Git repository: its history, and a commit on top that replaces it. Nothing is rewritten."""

from __future__ import annotations

import os
import subprocess
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from remediations.datasets.base import DatasetError

#: What our commits say at their end, and of which file.
POINTER, FILE = "Lastgood-Pointer", "Lastgood-File"
#: How long one call of Git may take, in seconds.
PATIENCE = 600
#: Nobody is asked for a password.
_QUIET = {"GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C"}
_NAMES = {f"GIT_{who}_{what}": "lastgood" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}


class Change(NamedTuple):
    """A commit after which the file is another, or is the same and was set by us."""

    commit: str
    at: datetime
    author: str
    #: The pointer that our commit carries; empty where it is not ours.
    pointer: str


class GitBranch:
    """The file ``path`` on ``branch`` of the repository at ``url``, seen through a copy without files of our own."""

    def __init__(self, url: str, branch: str, path: str) -> None:
        self.url, self.branch, self.path = url, branch, path
        self._folder: tempfile.TemporaryDirectory[str] | None = None

    def fetch(self) -> str:
        """The newest commit of the branch.

        Raises:
            DatasetError: the repository or the branch is not there, or does not let us in.
        """
        if self._folder is None:
            folder = tempfile.TemporaryDirectory(prefix="lastgood-git-")
            self._git("init", "--quiet", "--bare", folder.name, at=folder.name)
            self._folder = folder
        self._git("fetch", "--quiet", self.url, f"+refs/heads/{self.branch}:refs/heads/{self.branch}")
        return self._git("rev-parse", f"refs/heads/{self.branch}").strip()

    def last_change(self, head: str) -> Change | None:
        """Who set the file last, as of that commit; None: it is not there."""
        if self.blob(head) is None:
            return None
        touched = self._newest(head, "--", self.path)
        if touched is None:
            return None
        mark = f"--grep={FILE}: {self.path}"
        return self._newest("--fixed-strings", mark, f"{touched.commit}..{head}") or touched

    def versions(self, head: str) -> list[tuple[datetime, str]]:
        """Each content that the file ever had on the branch with the time it first had it, oldest first."""
        seen: dict[str, datetime] = {}
        how = ("--first-parent", "--reverse", "--raw", "--no-abbrev", "--format=@%ct")
        told = self._git("log", *how, head, "--", self.path)
        at = datetime.fromtimestamp(0, UTC)
        for line in told.splitlines():
            if line.startswith("@"):
                at = datetime.fromtimestamp(int(line[1:]), UTC)
            elif line.startswith(":"):
                blob = line.split()[3]
                if set(blob) != {"0"}:
                    seen.setdefault(blob, at)
        return [(at, blob) for blob, at in seen.items()]

    def blob(self, commit: str, path: str | None = None) -> str | None:
        """The id of the content of a file in a commit; None: it is not there."""
        place = f"{commit}:{path or self.path}"
        return self._git("rev-parse", "--quiet", "--verify", place, may_fail=True).strip() or None

    def read(self, blob: str) -> str:
        """A content, as text."""
        return self._git("cat-file", "blob", blob)

    def add(self, text: str) -> str:
        """Put a content into our copy; its id."""
        return self._git("hash-object", "-w", "--stdin", given=text).strip()

    def push(self, head: str, blob: str, message: str) -> None:
        """Commit on top of ``head`` that the file has that content, and push it, where the branch still is at ``head``.

        Raises:
            DatasetError: the repository refuses it; most likely somebody else has pushed.
        """
        with tempfile.TemporaryDirectory(prefix="lastgood-index-") as folder:
            index = {"GIT_INDEX_FILE": str(Path(folder) / "index")}
            self._git("read-tree", head, more=index)
            self._git("update-index", "--add", "--cacheinfo", f"100644,{blob},{self.path}", more=index)
            tree = self._git("write-tree", more=index).strip()
        made = self._git("commit-tree", tree, "-p", head, given=message, more=_NAMES).strip()
        where = f"refs/heads/{self.branch}"
        self._git("push", "--quiet", f"--force-with-lease={where}:{head}", self.url, f"{made}:{where}")

    def note(self, ref: str) -> str | None:
        """The text that a ref of its own holds, beside all branches; None: there is no such ref."""
        self.fetch()
        if not self._git("ls-remote", self.url, ref):
            return None
        self._git("fetch", "--quiet", self.url, f"+{ref}:{ref}")
        return self.read(ref)

    def set_note(self, ref: str, text: str) -> None:
        """Have a ref of its own hold a text, where there is none."""
        self.fetch()
        self._git("push", "--quiet", f"--force-with-lease={ref}:", self.url, f"{self.add(text)}:{ref}")

    def drop_note(self, ref: str) -> None:
        """Take a ref of its own away."""
        self.fetch()
        self._git("push", "--quiet", self.url, f":{ref}")

    def _newest(self, *about: str) -> Change | None:
        shape = f"--format=%H%x00%ct%x00%an%x00%(trailers:key={POINTER},valueonly)"
        told = self._git("log", "-1", "--first-parent", shape, *about).strip("\n")
        if not told:
            return None
        commit, at, author, pointer = told.split("\0")
        return Change(commit, datetime.fromtimestamp(int(at), UTC), author, pointer.strip())

    def _git(
        self,
        *arguments: str,
        given: str | None = None,
        more: dict[str, str] | None = None,
        may_fail: bool = False,
        at: str | None = None,
    ) -> str:
        folder = at or (self._folder.name if self._folder else "")
        done = subprocess.run(
            ["git", "-C", folder, *arguments],
            input=given,
            env=os.environ | _QUIET | (more or {}),
            capture_output=True,
            text=True,
            check=False,
            timeout=PATIENCE,
        )
        if done.returncode and not may_fail:
            raise DatasetError(f"git {arguments[0]} of {self.url} failed: {done.stderr.strip()[:500]}")
        return done.stdout if not done.returncode else ""
