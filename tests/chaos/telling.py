"""Makes a real process tell of every write to its ledger, before and after the commit, and wait to be let on.

``python -m tests.chaos.telling serve``: the command line of lastgood, telling. A module that the warm worker imports
beforehand (``LASTGOOD_PRELOAD``): then every run tells. ``CHAOS_LINE`` is the path of the socket to tell it on.
"""

from __future__ import annotations

import json
import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

from incidents import unsettled
from incidents.ledger import Ledger
from incidents.writer import Writer

LINE, SILENCE = "CHAOS_LINE", "CHAOS_SILENCE"


class Line:
    """This process's line to the test, opened at its first write; a fork has one of its own."""

    def __init__(self) -> None:
        self._line, self._pid, self._turn = socket.socket(socket.AF_UNIX), 0, threading.Lock()

    def say(self, word: bytes) -> None:
        """Say it, and wait."""
        if self._pid != os.getpid():
            self._line, self._pid, self._turn = socket.socket(socket.AF_UNIX), os.getpid(), threading.Lock()
            self._line.connect(os.environ[LINE])
            who = os.environ.get("PREFECT__FLOW_ENTRYPOINT", "web").rpartition(":")[2]
            self._line.sendall(json.dumps({"who": who, "pid": self._pid}).encode() + b"\n")
        with self._turn:
            self._line.sendall(word)
            self._line.recv(1)


def tell_of_writes() -> None:
    """From now on, at every write."""
    real, line = Ledger.write, Line()

    @contextmanager
    def write(ledger: Ledger) -> Iterator[Writer]:
        with real(ledger) as writer:
            yield writer
            writer.flush()
            line.say(b"b")
        line.say(b"a")

    Ledger.write = write  # type: ignore[method-assign, assignment]  # the place where it may die


if os.environ.get(LINE):
    tell_of_writes()
    #: What Prefect has lost is noticed after seconds, and not after ten minutes.
    unsettled.SILENCE = timedelta(seconds=float(os.environ[SILENCE]))

if __name__ == "__main__":
    from incidents.cli import app

    app()
