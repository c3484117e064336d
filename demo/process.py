"""A server as one child process: started, waited for until it works, stopped with all that it started.

``with`` does all three. Several start side by side: call ``start`` on each, then ``wait_ready`` on each.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from incidents import QUIET

#: The guard: ends when our end of its pipe closes, however we died, and takes the server's group with it.
GUARD = "cat >/dev/null; kill -TERM -$1; sleep 5; kill -KILL -$1"

#: Variables by which the libraries we use find a person's own servers, credentials and homes.
PERSONAL = ("AWS_", "LASTGOOD_", "MLFLOW_", "PG", "PREFECT_")


class NotReady(RuntimeError):
    """A server died while it was starting, or took too long; the message ends with the tail of its log."""


@dataclass
class Server:
    """One component in a process group of its own, which ends with this process, even when that is killed."""

    name: str
    argv: list[str]
    #: Where its output goes, both streams, appended.
    log: Path
    #: Says whether it works; anything it raises means not yet.
    ready: Callable[[], bool]
    #: Where it is, and the environment variables by which others reach it. It gets them as well.
    url: str = ""
    env: dict[str, str] = field(default_factory=dict)
    #: Environment variables for itself alone.
    settings: dict[str, str] = field(default_factory=dict)
    #: The user id to run as; None: ours.
    user: int | None = None
    stop_signal: signal.Signals = signal.SIGTERM
    #: Called once it has stopped.
    tidy: Callable[[], object] = bool
    _process: subprocess.Popen[bytes] | None = None
    _guard: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """The process, which is also the number of its group.

        Raises:
            RuntimeError: it is not running.
        """
        if self._process is None:
            raise RuntimeError(f"{self.name} is not running")
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether its process lives."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> Self:
        """Start it and come back at once. It sees the environment as it is now."""
        if self._process is not None:
            raise RuntimeError(f"{self.name} was started already")
        environment = {**os.environ, **self.env, **self.settings}
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self.argv,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=environment,
                user=self.user,
                start_new_session=True,
                # A handled one it does not inherit. Done in the child, so that any thread may start it.
                preexec_fn=_heed_sigint if signal.getsignal(signal.SIGINT) is signal.SIG_IGN else None,  # noqa: PLW1509
            )
        self._guard = subprocess.Popen(
            ["sh", "-c", GUARD, "guard", str(self._process.pid)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        atexit.register(self.stop)
        return self

    def wait_ready(self, timeout: float = 120) -> Self:
        """Wait until it works.

        Raises:
            NotReady: it died, or did not work within ``timeout`` seconds; it is stopped then.
        """
        deadline = time.monotonic() + timeout
        last: object = "it answered, but not as it should"
        while True:
            if self._process is None or self._process.poll() is not None:
                why = f"exited with {self._process.returncode}" if self._process else "was not started"
                break
            try:
                if self.ready():
                    return self
            except Exception as error:
                last = error
            if time.monotonic() > deadline:
                why = f"did not work after {timeout:g} s ({last})"
                break
            time.sleep(0.05)
        tail = self.tail()
        self.stop()
        raise NotReady(f"{self.name} {why}. The end of {self.log}:\n{tail}")

    def tail(self, lines: int = 30) -> str:
        """The last lines of its log."""
        text = self.log.read_text(errors="replace") if self.log.exists() else ""
        return "\n".join(text.splitlines()[-lines:])

    def stop(self, grace: float = 10) -> None:
        """Ask its whole group to end, and after ``grace`` seconds end it. Stopping twice is fine."""
        process, self._process = self._process, None
        guard, self._guard = self._guard, None
        if process is None:
            return
        atexit.unregister(self.stop)
        _signal_group(process.pid, self.stop_signal)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(grace)
        # What is left of the group now has had its time, whether or not its leader is among it.
        _signal_group(process.pid, signal.SIGKILL)
        process.wait()
        _let_go(guard)
        self.tidy()

    @property
    def alive(self) -> bool:
        """Whether it was started and has not ended."""
        return self._process is not None and self._process.poll() is None

    def kill(self) -> None:
        """SIGKILL it alone, as when memory runs out: what it has started goes on. Then it can be started again."""
        process, self._process = self._process, None
        guard, self._guard = self._guard, None
        if process is None:
            return
        atexit.unregister(self.stop)
        process.kill()
        process.wait()
        _let_go(guard)

    def __enter__(self) -> Self:
        return self.start().wait_ready()

    def __exit__(self, *_: object) -> None:
        self.stop()


def _let_go(guard: subprocess.Popen[bytes] | None) -> None:
    """End the guard, and not what it guards."""
    if guard is not None and guard.stdin is not None:
        guard.kill()
        guard.stdin.close()
        guard.wait()


def _signal_group(group: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(group, number)


def _heed_sigint() -> None:
    """In a child whose parent ignores SIGINT (a shell's ``&`` does that): Prefect's worker would never stop."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def isolate(home: Path) -> None:
    """Forget, in this process and its children, a person's own servers and credentials; keep files in ``home``.

    What is not started by us is then an address where nothing listens: a mistake fails, and touches nothing.
    """
    for name in [name for name in os.environ if name.startswith(PERSONAL) and name not in QUIET]:
        del os.environ[name]
    nowhere = "http://127.0.0.1:9"
    os.environ |= {
        "PREFECT_HOME": str(home / "prefect"),
        "PREFECT_API_URL": f"{nowhere}/api",
        "MLFLOW_TRACKING_URI": nowhere,
        "AWS_ENDPOINT_URL": nowhere,
        "AWS_CONFIG_FILE": str(home / "aws-config"),
        "AWS_SHARED_CREDENTIALS_FILE": str(home / "aws-credentials"),
        "AWS_EC2_METADATA_DISABLED": "true",
    }


_given: set[int] = set()


def free_port(also: int = 0) -> int:
    """A loopback port that is free now and was not given before; ``also`` away from it there is a free one too."""
    while True:
        with socket.socket() as one, socket.socket() as other:
            one.bind(("127.0.0.1", 0))
            port: int = one.getsockname()[1]
            try:
                other.bind(("127.0.0.1", port + also if also else 0))
            except (OSError, OverflowError):
                continue
            if _given.isdisjoint({port, port + also}):
                _given.update({port, port + also})
                return port


def executable(name: str) -> str:
    """The program of that name from our own environment, wherever PATH points."""
    return str(Path(sys.executable).parent / name)
