"""A trial of the whole stack: the real web process, Prefect's real server and the real warm worker, killed for real.

Only time is helped along: the leases of the dead end at once, a job that failed is tried again at once, ``reconcile``
is asked for every few seconds, and what Prefect has lost is noticed after seconds.
"""

from __future__ import annotations

import os
import socket
import threading
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from signal import SIGKILL

from sqlalchemy.exc import SQLAlchemyError

from incidents.ledger import Ledger
from tests.chaos.mischief import Victim, introduced
from tests.chaos.script import Deed, Script
from tests.chaos.stack import Stack
from tests.chaos.system import Parts
from tests.chaos.trial import Trial

#: A trial that takes longer than this many seconds never ends.
WHOLE_LIMIT = 300

#: How often ``reconcile`` is asked for, in seconds.
RECONCILE_EVERY = 4


@dataclass
class Process:
    """A process that tells of its writes."""

    who: str
    pid: int
    ended: bool = False

    def kill(self) -> None:
        """SIGKILL, unless it has ended."""
        if not self.ended:
            with suppress(ProcessLookupError):
                os.kill(self.pid, SIGKILL)


class Whole(Trial):
    """A trial of the whole stack."""

    def __init__(self, parts: Parts, script: Script, ledger: Ledger, environment: dict[str, str], home: Path) -> None:
        super().__init__(parts, script, ledger, environment, home)
        self._processes: list[Process] = []
        self._born: Counter[str] = Counter()
        path = parts.sockets / str(next(parts.number))
        self._door = socket.socket(socket.AF_UNIX)
        self._door.bind(str(path))
        self._door.listen(64)
        self._stack = Stack(parts, environment, home, str(path), self.port)
        threading.Thread(target=self._listen, daemon=True, name="telling").start()

    def heal(self, bodies: list[tuple[str, bytes]]) -> None:
        """Post, and look on until everything has ended: what dies is started again, people answer."""
        self._stack.start()
        for deed in self.due("ms"):
            threading.Timer(deed.number / 1000, self._late, (deed,)).start()
        senders = [threading.Thread(target=self.send, args=one) for one in bodies]
        for sender in senders:
            sender.start()
        began = reconciled = time.monotonic()
        while any(sender.is_alive() for sender in senders) or self._at_work() or not self.all_ended():
            if time.monotonic() > began + WHOLE_LIMIT:
                break  # what has not ended by then is found to be so
            self._stack.supervise()
            with suppress(SQLAlchemyError):  # the database was killed under it: the next round
                self.hurry(failed=True)
                self.answer()
                if not self._at_work():
                    self.end_leases()
            if not self._at_work() and time.monotonic() > reconciled + RECONCILE_EVERY:
                self._stack.reconcile()
                reconciled = time.monotonic()
            time.sleep(0.3)
        if {fingerprint for fingerprint, _ in bodies} - self.acknowledged:
            raise TimeoutError("the alerts are not acknowledged")

    def stop(self) -> None:
        """End everything but what outlives the trial."""
        self.give_up()
        self._stack.stop()
        self._door.close()

    def kill(self, what: str, who: Victim | None) -> None:
        """Kill a part, or the run at whose write it is, else the one that began last."""
        at_work = self._at_work()
        if what == "kill run":
            victim = who if isinstance(who, Process) else at_work[-1] if at_work else None
            self.died += victim is not None
            if victim is not None:
                victim.kill()
            return
        self.died += len(at_work) if what == "kill all" else 0
        self._stack.kill(what)
        if what in ("kill web", "kill all"):
            with suppress(SQLAlchemyError):
                self.hurry()

    def _late(self, deed: Deed) -> None:
        if (deed.what != "kill run" or self._at_work()) and self.take(deed):
            self.do(deed)

    def _at_work(self) -> list[Process]:
        """The runs of sections that have begun and not ended, the newest last."""
        return [one for one in self._processes if not one.ended and one.who not in ("web", "reconcile")]

    def _listen(self) -> None:
        with suppress(OSError):
            while True:
                line, _ = self._door.accept()
                threading.Thread(target=self._hear, args=(line,), daemon=True).start()

    def _hear(self, line: socket.socket) -> None:
        with suppress(OSError), line:
            process = Process(*introduced(line))
            kind = process.who if process.who in ("web", "reconcile") else "section"
            with self._lock:
                which = self._born[kind]
                self._born[kind] += 1
                self._processes.append(process)
            try:
                self.attend(line, kind, which, process)
            finally:
                process.ended = True
