"""What forks the processes that are to be killed, seen from the test: see ``forks`` for the other end."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from signal import SIGKILL
from typing import Any


class Forks:
    """The process that everything that dies is forked from."""

    def __init__(self, code: Path, environment: dict[str, str], log: Path) -> None:
        argv = [sys.executable, "-m", "tests.chaos.forks"]
        with log.open("ab") as err:
            self.process = subprocess.Popen(
                argv,
                cwd=code,
                env={**os.environ, **environment, "PYTHONPATH": str(code)},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=err,
                text=True,
            )
        self._numbers, self._lock = count(1), threading.Lock()
        self._news: dict[int, dict[str, int]] = {}
        self._heard = threading.Condition()
        self._ready = threading.Event()
        threading.Thread(target=self._listen, daemon=True, name="forks").start()

    def wait_ready(self) -> None:
        """Wait until everything is imported."""
        assert self._ready.wait(120), "the process to fork from did not start"

    def start(self, job: dict[str, Any]) -> Child:
        """Fork a process for this job."""
        number = next(self._numbers)
        assert self.process.stdin is not None
        with self._lock:
            self.process.stdin.write(json.dumps({**job, "id": number}) + "\n")
            self.process.stdin.flush()
        return Child(self, number, self.hear(number, "pid", 30) or 0)

    def hear(self, number: int, what: str, seconds: float) -> int | None:
        """What it said about a job; None where it says nothing in time."""
        with self._heard:
            self._heard.wait_for(lambda: what in self._news.get(number, {}), seconds)
            return self._news.get(number, {}).get(what)

    def stop(self) -> None:
        """End it."""
        self.process.kill()
        self.process.communicate()

    def _listen(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            news = json.loads(line)
            if "ready" in news:
                self._ready.set()
                continue
            with self._heard:
                self._news.setdefault(news.pop("id"), {}).update(news)
                self._heard.notify_all()


@dataclass(frozen=True)
class Child:
    """One forked process."""

    forks: Forks
    number: int
    pid: int

    def kill(self) -> None:
        """SIGKILL, unless it has ended: then its number may be somebody else's."""
        if self.forks.hear(self.number, "status", 0) is None:
            os.kill(self.pid, SIGKILL)

    def wait(self, seconds: float) -> int | None:
        """Its exit status; None: it goes on."""
        return self.forks.hear(self.number, "status", seconds)
