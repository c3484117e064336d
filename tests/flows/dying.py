"""Runs sections in processes that are killed at a given write to the ledger, as a power cut would.

Read from stdin, a line each: a section, an incident, and after how many writes it dies. Answers with a line when dead.
Each run is forked from here, where everything is imported and nothing is connected yet.
"""

from __future__ import annotations

import asyncio
import importlib
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from flows.warm.server import one_thread, preload
from incidents.ledger import Ledger
from incidents.settings import settings
from incidents.writer import Writer


def die_after(writes: int) -> None:
    """Let this process be killed as soon as its so-many-th write is committed."""
    real, done = Ledger.write, 0

    @contextmanager
    def write(ledger: Ledger) -> Iterator[Writer]:
        nonlocal done
        before = ledger.length()
        with real(ledger) as writer:
            yield writer
        done += ledger.length() > before
        if done == writes:
            os.kill(os.getpid(), signal.SIGKILL)

    Ledger.write = write  # type: ignore[method-assign, assignment]  # the place where it dies


def main() -> None:
    """Do as stdin says."""
    one_thread()
    preload(list(settings().preload))
    print("ready", flush=True)
    for line in sys.stdin:
        section, incident, writes = line.split()
        child = os.fork()
        if not child:
            die_after(int(writes))
            asyncio.run(getattr(importlib.import_module(f"flows.{section}"), section)(incident))
            os._exit(0)
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


if __name__ == "__main__":
    main()
