"""What goes wrong in a trial, and when: every deed of its script is done once, at its instant."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections import Counter
from contextlib import suppress
from typing import Protocol

from tests.chaos.proxy import Forward, Request, plain
from tests.chaos.script import Deed, Script
from tests.chaos.system import Parts
from tests.chaos.world import ALIAS, POINTER, changes

SLOW_DOWN = "<?xml version='1.0'?><Error><Code>SlowDown</Code><Message>Reduce your request rate.</Message></Error>"


def introduced(line: socket.socket) -> tuple[str, int]:
    """Who is at the other end: its name and its process; nobody where it died before it said so."""
    said = b""
    while not said.endswith(b"\n"):
        more = line.recv(1)
        if not more:
            return "", 0
        said += more
    told = json.loads(said)
    return str(told["who"]), int(told["pid"])


class Victim(Protocol):
    """A process that can be killed."""

    def kill(self) -> None:
        """SIGKILL, unless it has ended."""


class Mischief:
    """A script's deeds, those that are left and those that were done."""

    def __init__(self, parts: Parts, script: Script) -> None:
        self.parts, self.script = parts, script
        #: The deeds that really were done.
        self.done: Counter[str] = Counter()
        self._lock = threading.Lock()
        self._left = list(script.deeds)
        self._spoiling: dict[str, tuple[Deed, int]] = {}
        self._seen: Counter[str] = Counter()

    def kill(self, what: str, who: Victim | None) -> None:
        """Kill what a deed names. ``who``: the process at whose write it is done, where it is at a write."""
        raise NotImplementedError

    def hold_up(self, service: str, request: Request) -> bool:  # noqa: ARG002  # by default nobody is
        """Whether the process that asks is to be held up, once it is answered."""
        return False

    def held_up(self) -> None:
        """Hold it up."""

    def at_write(self, kind: str, which: int, number: int, side: str, who: Victim) -> None:
        """A process is about to commit, or has just committed."""
        for deed in self.due("write", number):
            if (deed.side, deed.of, deed.count) == (side, kind, which) and self.take(deed):
                self.do(deed, who)

    def attend(self, line: socket.socket, kind: str, which: int, who: Victim) -> None:
        """Hear of every write of a process, from its line to us, until it has ended."""
        number = 1
        with suppress(OSError):
            while word := line.recv(1):
                self.at_write(kind, which, number, "before" if word == b"b" else "after", who)
                number += word == b"a"
                line.sendall(b".")

    def around(self, service: str, request: Request, forward: Forward) -> bytes | None:
        """A process of ours asks S3 or MLflow."""
        writes = changes(request) is not None
        with self._lock:
            self._seen.update(["any", service, *([f"{service} writes", "changes"] if writes else [])])
            seen = dict(self._seen)
        acts = [deed for deed in self.due("request", seen["any"]) if deed.what == "person" and self.take(deed)]
        for deed in acts:
            if deed.side == "before":
                self.do(deed)
        if self.hold_up(service, request):
            answer: bytes | None = self.parts.world.send(request, forward)
            self.held_up()
            return answer
        for deed in self.due("request", seen.get(f"{service} writes" if writes else service, 0)):
            if deed.what == "spoil" and deed.service == service and (writes or not deed.writes) and self.take(deed):
                self._spoiling[service] = deed, deed.count
        kills = [deed for deed in self.due("change", seen.get("changes", 0)) if writes and self.take(deed)]
        for deed in kills:
            if deed.side == "before":
                self.do(deed)
        if any(deed.side == "before" and deed.what in ("kill run", "kill all") for deed in kills):
            return None  # who asked is dead
        if self._lets(service, writes):
            answer = self.parts.world.send(request, forward)
        else:
            answer = self._spoil(service, request, forward)
            acts += [deed for deed in self.due("spoilt", 1) if self.take(deed)]
        for deed in (*kills, *acts):
            if deed.side == "after":
                self.do(deed)
        return answer

    def due(self, when: str, number: int | None = None) -> list[Deed]:
        """The deeds that are left for this instant."""
        with self._lock:
            return [deed for deed in self._left if deed.when == when and number in (None, deed.number)]

    def take(self, deed: Deed) -> bool:
        """Take on a deed; False where somebody else has."""
        with self._lock:
            if deed not in self._left:
                return False
            self._left.remove(deed)
            how = f" {deed.service} {deed.how}" if deed.what == "spoil" else ""
            self.done[deed.what + how] += 1
            return True

    def give_up(self) -> None:
        """Do nothing more."""
        with self._lock:
            self._left.clear()

    def do(self, deed: Deed, who: Victim | None = None) -> None:
        """Do it."""
        if deed.what == "person":
            self.parts.world.move(ALIAS if deed.service == "alias" else POINTER, deed.how)
        elif deed.what == "kill postgres":
            self.parts.restart_postgres()
        else:
            self.kill(deed.what, who)

    def _lets(self, service: str, writes: bool) -> bool:
        """Whether this request goes through as it is."""
        with self._lock:
            deed, left = self._spoiling.get(service, (None, 0))
            if deed is None or left == 0 or (deed.writes and not writes):
                return True
            self._spoiling[service] = deed, left - 1
            return False

    def _spoil(self, service: str, request: Request, forward: Forward) -> bytes | None:
        deed, _ = self._spoiling[service]
        if "after" in deed.how:
            self.parts.world.send(request, forward)
        if deed.how.startswith("silence"):
            time.sleep(2.2)  # the client has given up by then, or the connection breaks
        if deed.how.startswith("500"):
            return plain(500, "Internal Server Error")
        if deed.how.startswith("503"):
            return plain(503, SLOW_DOWN, "application/xml") if service == "s3" else plain(503, "busy")
        return None
