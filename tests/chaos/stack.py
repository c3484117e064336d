"""The whole stack as it is run: Prefect's server, the warm worker, the web process; and who starts again what dies."""

from __future__ import annotations

import json
import os
import sys
import time
from contextlib import suppress
from pathlib import Path
from signal import SIGKILL
from threading import RLock
from typing import Any
from uuid import UUID

import httpx
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.exceptions import ObjectNotFound, PrefectHTTPStatusError

from demo import servers
from demo.servers import Server
from incidents.settings import Settings
from tests.chaos.system import Parts, children, kill_whole
from tests.chaos.telling import LINE, SILENCE

#: What is deployed: the sections that the alerts of a trial can start, and what settles what they leave.
FLOWS = ("data", "model", "infrastructure", "reconcile")

#: What Prefect has lost is noticed after so many seconds.
NOTICED = 12

#: What of the environment leads to production.
PRODUCTION = ("AWS_", "MLFLOW_TRACKING")


class Stack:
    """A worker and a web process of one trial, and Prefect's server, which outlives it. What dies is started again."""

    def __init__(self, parts: Parts, environment: dict[str, str], home: Path, line: str, port: int) -> None:
        self._parts, self._lock = parts, RLock()
        self.pool = f"chaos-{home.name}"
        self._deployed: dict[str, UUID] = {}
        #: The last run of ``reconcile`` that was asked for, and when.
        self._asked: tuple[UUID, float] | None = None
        common = {**parts.given, **environment, "PYTHONPATH": str(parts.code), LINE: line, SILENCE: str(NOTICED)}
        self._mine = f"{LINE}={line}".encode()
        preload = [*Settings.model_fields["preload"].default, "tests.chaos.telling"]
        self._worker = servers.worker(home, self.pool, {**common, "LASTGOOD_PRELOAD": json.dumps(preload)})
        self._web = Server(
            name="web",
            argv=[sys.executable, "-m", "tests.chaos.telling", "serve", "--port", str(port)],
            log=home / "web.log",
            ready=lambda: httpx.get(f"http://127.0.0.1:{port}/health", trust_env=False).is_success,
            # it faces the network, and holds nothing of production
            settings=common | {name: "" for name in (*os.environ, *common) if name.startswith(PRODUCTION)},
        )

    def start(self) -> None:
        """Start what is of this trial, and deploy for it; Prefect forgets the trials before."""
        with get_client(sync_client=True) as client:
            for flow in client.read_flows(limit=200):
                if flow.name in FLOWS:
                    _delete(client, flow.id)
        self._worker.start()
        self._web.start()
        self._worker.wait_ready()
        with get_client(sync_client=True) as client:
            for name in FLOWS:
                self._deployed[name] = client.create_deployment(
                    client.create_flow_from_name(name),
                    name,
                    work_pool_name=self.pool,
                    entrypoint=f"flows.{name}:{name}",
                    pull_steps=[],
                )
        self._web.wait_ready()

    def kill(self, what: str) -> None:
        """Kill a part at once, and start it again as a supervisor does."""
        with self._lock:
            self._kill(what.removeprefix("kill "))
            self.supervise()

    def supervise(self) -> None:
        """Start again what has died."""
        with self._lock:
            for server in (self._parts.prefect, self._worker, self._web):
                if not server.alive:
                    server.kill()
                    server.start()

    def reconcile(self) -> None:
        """Ask for a run of ``reconcile``, as its schedule does, unless the one before has not ended.

        In vain where Prefect's server is down. What that one has lost it never ends, so it is not waited for long.
        """
        with suppress(httpx.HTTPError, PrefectHTTPStatusError), get_client(sync_client=True) as client:
            if self._asked is not None and time.monotonic() < self._asked[1] + NOTICED:
                state = client.read_flow_run(self._asked[0]).state
                if state is None or not state.is_final():
                    return
            run = client.create_flow_run_from_deployment(self._deployed["reconcile"], parameters={"grace_seconds": 2})
            self._asked = run.id, time.monotonic()

    def stop(self) -> None:
        """End all that is of this trial, and see Prefect's server well."""
        with self._lock:
            self._end()
            if not self._parts.prefect.alive:
                self._parts.prefect.kill()
                self._parts.prefect.start()
            self._parts.prefect.wait_ready()

    def _kill(self, what: str) -> None:
        match what:
            case "worker":
                self._worker.kill()
            case "fork server":
                for pid in children(self._worker.pid) if self._worker.alive else ():
                    _sigkill(pid)
            case "web":
                self._web.kill()
            case "prefect":
                kill_whole(self._parts.prefect)
            case "all":
                self._end()

    def _end(self) -> None:
        """Kill every process that was started for this trial, also those whose parents are gone."""
        self._web.kill()
        self._worker.kill()
        for _ in range(3):  # one of them may be just about to start another
            for environ in Path("/proc").glob("[0-9]*/environ"):
                with suppress(OSError):
                    if self._mine in environ.read_bytes().split(b"\0"):
                        _sigkill(int(environ.parent.name))
            time.sleep(0.02)


def _sigkill(pid: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, SIGKILL)


def _delete(client: SyncPrefectClient, flow: Any) -> None:
    with suppress(ObjectNotFound):
        client.delete_flow(flow)
