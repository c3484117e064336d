"""The fork server: imports everything once, keeps a few children ready, and gives each run to one of them.

It has one thread and no connection of its own, because a fork copies neither well. Messages are JSON, both ways:

- worker -> server ``{"job": {...}}``: run this.
- server -> worker ``{"ready": true}``: everything is imported (again).
- server -> worker ``{"run": ID, "pid": N}``: that child has it. It is said *before* the child is told, so a run about
  which nothing was said has not begun.
- server -> worker ``{"pid": N, "status": N}``: that child has ended, with this exit status (negative: the signal).

When the files that it imported have changed it replaces itself by ``exec``: same process, same children, new code.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import pkgutil
import signal
import socket
import sys
import threading
import time
import traceback
from multiprocessing.connection import Connection, wait
from typing import Any

from flows.warm import child
from flows.warm.fingerprint import fingerprint

#: What every run imports. What else is imported beforehand, the worker says.
ENGINE = (
    *("prefect.engine", "prefect.flow_engine", "prefect.task_engine", "prefect.events.clients"),
    *("prefect._internal.observers", "prefect.utilities.visualization", "rich._emoji_codes"),
)

#: Packages of which every module is imported.
OURS = ("flows", "remediations", "expectations")

#: How often a server with nothing to do looks whether its code has changed, in seconds.
LOOK_EVERY = 2.0

#: How long after a run was handed over its child is replaced at the latest, in seconds: when no run is under way it is
#: replaced at once, and where none is left for a run one is made for it.
REST = 3.0


class Server:
    """The state of a fork server: who waits, and who works."""

    def __init__(self, control: Connection, spare: int, imports: list[str]) -> None:
        self.control = control
        #: So many children are kept ready.
        self.spare = spare
        self.imports = imports
        #: When a run was handed over last.
        self.handed = 0.0
        #: Children that have a run.
        self.working: set[int] = set()
        #: Children that wait: process -> our end of its pipe.
        self.waiting: dict[int, Connection] = {}
        self._woken, wake = socket.socketpair()
        self._woken.setblocking(False)
        wake.setblocking(False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(wake.fileno(), warn_on_full_buffer=False)
        self._wake = wake

    def run(self) -> None:
        """Serve until the worker is gone. Children that work then go on and end by themselves."""
        preload(self.imports)
        seen = fingerprint()
        self.say({"ready": True})
        while True:
            # Getting ready takes work, which is not to slow down the run that was handed over just now.
            rest = self.handed + REST - time.monotonic() if self.working else 0
            while rest <= 0 and len(self.waiting) < self.spare:
                self.fork()
            ready = wait([self.control, self._woken], min(LOOK_EVERY, rest) if rest > 0 else LOOK_EVERY)
            if self._woken in ready:
                self.reap()
            if fingerprint() != seen:
                self.renew()
            if self.control in ready:
                try:
                    message = json.loads(self.control.recv_bytes())
                except EOFError:
                    return self.dismiss()
                self.hand_over(message["job"])

    def fork(self) -> None:
        """Make one child that waits for a run."""
        ours, theirs = socket.socketpair()
        pid = os.fork()
        if pid == 0:
            ours.close()
            signal.set_wakeup_fd(-1)
            for line in (self.control, *self.waiting.values()):
                line.close()
            self._woken.close()
            self._wake.close()
            child.live(Connection(theirs.detach()))
        theirs.close()
        self.waiting[pid] = Connection(ours.detach())

    def hand_over(self, job: dict[str, Any]) -> None:
        """Give the run to a child that waits; one that died while it waited is passed over."""
        while True:
            if not self.waiting:
                self.fork()
            pid, pipe = self.waiting.popitem()
            if not pipe.poll(0):  # it says nothing while it lives, and its end closes when it dies
                break
            pipe.close()
        self.handed = time.monotonic()
        self.working.add(pid)
        self.say({"run": job["run"], "pid": pid})
        with contextlib.suppress(OSError):  # it died just now: its status, which comes next, says so
            pipe.send_bytes(json.dumps(job).encode())
        pipe.close()

    def reap(self) -> None:
        """Report every child that has ended."""
        while self._woken in wait([self._woken], 0):
            self._woken.recv(4096)
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if pid in self.waiting:
                self.waiting.pop(pid).close()
            else:
                self.working.discard(pid)
                self.say({"pid": pid, "status": os.waitstatus_to_exitcode(status)})

    def renew(self) -> None:
        """Start anew in this very process, so that those who work stay its children."""
        self.dismiss()
        os.set_inheritable(self.control.fileno(), True)
        os.execv(sys.executable, [sys.executable, "-P", "-m", "flows.warm.server", *sys.argv[1:]])  # noqa: S606  # no shell wanted

    def dismiss(self) -> None:
        """Let those go that only wait."""
        for pipe in self.waiting.values():
            pipe.close()
        self.waiting.clear()

    def say(self, message: dict[str, Any]) -> None:
        """Tell the worker; without a worker there is nobody to tell."""
        with contextlib.suppress(OSError):
            self.control.send_bytes(json.dumps(message).encode())


def one_thread() -> None:
    """Ask the libraries that are about to be imported to start no threads."""
    for name, value in child.ONE_THREAD.items():
        os.environ.setdefault(name, value)


def preload(imports: list[str]) -> None:
    """Import all that runs will need, and let those of our modules that have a ``warm_up`` make ready what is slow.

    What can't be imported is left for the run that needs it, which can say so.
    """
    for name in (*ENGINE, *imports):
        try:
            module = importlib.import_module(name)
            if name in OURS:
                for found in pkgutil.walk_packages(module.__path__, f"{name}."):
                    if not found.name.endswith("__main__"):
                        getattr(importlib.import_module(found.name), "warm_up", int)()
        except Exception:
            print(f"the fork server could not import {name}:", file=sys.stderr)
            traceback.print_exc()
    if threading.active_count() > 1:
        names = ", ".join(thread.name for thread in threading.enumerate())
        print(f"the fork server has more than one thread ({names}); a fork copies only one", file=sys.stderr)
    gc.collect()
    gc.freeze()  # what is here now stays, and is not copied by a child's first collection


def main() -> None:
    """``python -m flows.warm.server FD SPARE MODULE...``: FD is the worker's end of the line."""
    one_thread()
    number, spare, *imports = sys.argv[1:]
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal's Ctrl-C goes to the whole group; the worker decides
    Server(Connection(int(number)), int(spare), imports).run()


if __name__ == "__main__":
    main()
