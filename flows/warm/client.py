"""The worker's end of the line to the fork server: start it, hand runs over, hear when a child has ended."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

from prefect.logging import get_logger

_log = get_logger("worker.warm")

#: Children kept ready. Two, because incidents come in pairs: a dataset and the model that learned from it.
SPARE = 2

#: How often the process of a child is looked for whose fork server died, in seconds.
LOOK_EVERY = 0.25

#: The least time between two starts of a fork server that does not stay, in seconds.
REST = 1.0


class Child:
    """The process of one run; what Prefect's worker needs to know of it."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        #: None while it runs.
        self.returncode: int | None = None
        self._ended = asyncio.Event()

    def ended(self, status: int | None) -> None:
        """Keep how it ended."""
        self.returncode = status
        self._ended.set()

    async def wait(self) -> int | None:
        """Wait until it has ended; returns its exit status, None where nobody saw it."""
        await self._ended.wait()
        return self.returncode


class ForkServer:
    """One fork server process, started again whenever it dies."""

    def __init__(self, imports: list[str], environment: Callable[[], dict[str, str]], spare: int = SPARE) -> None:
        self._imports, self._environment, self._spare = imports, environment, spare
        self._line: Connection | None = None
        self._process: subprocess.Popen[bytes] | None = None
        #: Set while everything is imported and a run begins at once.
        self.ready = asyncio.Event()
        #: Run -> who waits to hear which process has it. In the order in which they were asked for.
        self._asked: dict[str, tuple[bytes, asyncio.Future[Child]]] = {}
        self._children: dict[int, Child] = {}
        self._lookers: set[asyncio.Task[None]] = set()
        self._stopping = False

    @property
    def pid(self) -> int | None:
        """The fork server's own process; None where there is none."""
        return self._process.pid if self._process else None

    def start(self) -> None:
        """Start it; it takes some seconds until it is ready, and runs that are handed over meanwhile wait."""
        ours, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                [
                    sys.executable,
                    "-P",
                    "-m",
                    "flows.warm.server",
                    *(str(theirs.fileno()), str(self._spare)),
                    *self._imports,
                ],
                stdin=subprocess.DEVNULL,
                env=self._environment(),
                pass_fds=[theirs.fileno()],
            )
        self._line = Connection(ours.detach())
        asyncio.get_running_loop().add_reader(self._line.fileno(), self._hear)
        for message, _ in self._asked.values():  # nothing was said about these, so none of them has begun
            self._line.send_bytes(message)

    def stop(self) -> None:
        """Let it go. Children that work are not touched."""
        self._stopping = True
        self._hang_up()
        for looker in self._lookers:
            looker.cancel()

    async def run(self, run: str, env: dict[str, str], directory: str | None) -> Child:
        """Have a child run a flow run, and return as soon as it is known which child."""
        message = json.dumps({"job": {"run": run, "env": env, "directory": directory}}).encode()
        told: asyncio.Future[Child] = asyncio.get_running_loop().create_future()
        self._asked[run] = message, told
        try:
            if self._line is not None:
                with contextlib.suppress(OSError):  # it died just now: the next one is given it
                    self._line.send_bytes(message)
            return await told
        finally:
            self._asked.pop(run, None)

    def _hear(self) -> None:
        """Take in what the fork server said; its end of the line closes when it dies."""
        try:
            while self._line is not None and self._line.poll(0):
                self._take(json.loads(self._line.recv_bytes()))
        except (EOFError, OSError):
            self._died()

    def _take(self, message: dict[str, Any]) -> None:
        if message.get("ready"):
            self.ready.set()
        elif "run" in message:
            child = self._children[message["pid"]] = Child(message["pid"])
            _, told = self._asked.pop(message["run"], (b"", None))
            if told is not None and not told.done():
                told.set_result(child)
        elif message["pid"] in self._children:
            self._children.pop(message["pid"]).ended(message["status"])

    def _died(self) -> None:
        """Start another one. Its children work on, and now nobody but us sees them end."""
        self._hang_up()
        if self._stopping:
            return
        _log.error("The fork server died; another one is started, and its children work on")
        for child in self._children.values():
            self._later(self._look_for(child))
        self._children.clear()
        self._later(self._start_again())

    async def _start_again(self) -> None:
        await asyncio.sleep(REST)
        if not self._stopping:
            self.start()

    async def _look_for(self, child: Child) -> None:
        while _lives(child.pid):  # noqa: ASYNC110  # a process that is not our child sends us nothing
            await asyncio.sleep(LOOK_EVERY)
        child.ended(None)

    def _later(self, work: Any) -> None:
        task = asyncio.ensure_future(work)
        self._lookers.add(task)
        task.add_done_callback(self._lookers.discard)

    def _hang_up(self) -> None:
        self.ready.clear()
        if self._line is not None:
            asyncio.get_running_loop().remove_reader(self._line.fileno())
            self._line.close()
            self._line = None
        if self._process is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(5)
            if self._process.poll() is None:
                self._process.kill()
                self._process.wait()
            self._process = None


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
