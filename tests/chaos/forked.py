"""A trial whose processes are forked from one that has imported everything: cheap, and they die at any write.

A section is run as the warm worker's child runs it, against a real Prefect server; who starts it, and what notices that
it died, is played here. The trials of the whole stack (``whole``) leave that to the real parts.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any
from uuid import UUID

from prefect.client.orchestration import get_client
from prefect.states import Crashed
from sqlalchemy.exc import SQLAlchemyError

from incidents.events import Applying, Started
from incidents.incident import Incident, find
from incidents.ledger import Ledger
from incidents.models import Status
from incidents.outbox import deliver_due
from tests.chaos.children import Child
from tests.chaos.mischief import Victim, introduced
from tests.chaos.proxy import Request
from tests.chaos.script import Deed, Script
from tests.chaos.system import Parts
from tests.chaos.trial import LIMIT, Trial
from tests.chaos.world import ALIAS, looks_at

#: After so many rounds of restarting and reconciling what has not ended never will.
ROUNDS = 12


class Forked(Trial):
    """A trial in forked processes."""

    def __init__(self, parts: Parts, script: Script, ledger: Ledger, environment: dict[str, str], home: Path) -> None:
        super().__init__(parts, script, ledger, environment, home)
        self._born: Counter[str] = Counter()
        self._children: list[Child] = []
        self._sections: list[Child] = []
        self._web: Child | None = None
        #: Of the story ``stale``: who is to be held up, and who is.
        self._at_work: Child | None = None
        self._stopped: Child | None = None
        self._stop_at_look = script.story == "stale"

    def heal(self, bodies: list[tuple[str, bytes]]) -> None:
        """Post, and then round after round start what waits to be started, and reconcile."""
        self._post(bodies)
        for _ in range(ROUNDS):
            self._round()
            if self._stopped is not None:
                self._wake_up()
            if self.all_ended():
                return

    def stop(self) -> None:
        """Kill what is left."""
        for child in self._children:
            child.kill()
            child.wait(5)

    def kill(self, what: str, who: Victim | None) -> None:  # noqa: ARG002  # at a write it is who writes
        """Kill the process at whose write it is, else the section that is at work; where there are two, one."""
        at_work = [child for child in reversed(self._sections) if child.wait(0) is None]
        for victim in [who] if who else at_work[:1]:
            victim.kill()
            if isinstance(victim, Child) and not who:
                victim.wait(5)

    def hold_up(self, service: str, request: Request) -> bool:
        """Hold the model's section up when it has looked where the alias is, and has said what it intends."""
        if not self._stop_at_look or service != "mlflow" or not looks_at(request) or not self._intends():
            return False
        self._stop_at_look = False
        return True

    def held_up(self) -> None:
        """Stop it, and go on only when it stands still."""
        assert self._at_work is not None
        _stop(self._at_work.pid)
        self._stopped = self._at_work

    def _intends(self) -> bool:
        found = self.ledger.events(subject=ALIAS, kinds=["applying"])
        return any(isinstance(event.body, Applying) for event in found)

    # The processes

    def _start(self, kind: str, **job: Any) -> Child:
        """Fork a process, and be told of every write that it makes."""
        which = self._born[kind]
        self._born[kind] += 1
        path = self.parts.sockets / str(next(self.parts.number))
        server = socket.socket(socket.AF_UNIX)
        server.bind(str(path))
        server.listen(1)
        given = {"environment": self.environment, "line": str(path), "log": str(self.home / f"{kind}.log")}
        child = self.parts.forks.start({"do": kind, **given, **job})
        self._children.append(child)
        threading.Thread(target=self._attend, args=(server, kind, which, child), daemon=True).start()
        for deed in self.due("ms"):
            if (deed.of, deed.count) == (kind, which):
                threading.Timer(deed.number / 1000, self._late, (deed, child)).start()
        return child

    def _late(self, deed: Deed, child: Child) -> None:
        if child.wait(0) is None and self.take(deed):
            self.do(deed, child)

    def _attend(self, server: socket.socket, kind: str, which: int, child: Child) -> None:
        server.settimeout(LIMIT)
        with suppress(OSError), server, server.accept()[0] as line:
            introduced(line)
            self.attend(line, kind, which, child)

    def _run_section(self, section: str, incident: str) -> None:
        """Run a section to its end, or to its death."""
        child = self._start("section", section=section, incident=incident)
        self._sections.append(child)
        if section == "model":
            self._at_work = child
        if self._stop_at_look or self._stopped is child:
            while child.wait(0.05) is None and self._stopped is None:
                pass
        if self._stopped is child:
            return
        status = child.wait(LIMIT)
        if status is None:
            child.kill()
            raise TimeoutError(f"{section} of {incident} took longer than {LIMIT} s")
        self.died += status < 0

    # The story

    def _post(self, bodies: list[tuple[str, bytes]]) -> None:
        """Send each alert to a web process that is started again whenever it dies."""
        threads = [threading.Thread(target=self.send, args=one) for one in bodies]
        for thread in threads:
            thread.start()
        end = time.monotonic() + LIMIT
        while any(thread.is_alive() for thread in threads):
            if self._web is None or self._web.wait(0.02) is not None:
                self._web = self._start("web", port=self.port)
            if time.monotonic() > end:
                raise TimeoutError("the alerts are not acknowledged")

    def _round(self) -> None:
        """Start what waits to be started; of what then lies still, let time pass, and reconcile; ask people."""
        with suppress(SQLAlchemyError):  # the database was killed under it: the next round
            self._work_off()
            if self.all_ended():
                return
            if not self.answer() and not self._stopped:
                self._let_time_pass()
                self._start("settle").wait(LIMIT)

    def _work_off(self) -> None:
        """Start what the outbox says, side by side, and wait until it has ended."""
        asked: list[tuple[str, str]] = []

        async def launch(job: dict[str, Any]) -> None:
            asked.append((job["deployment"].partition("/")[0], job["parameters"]["incident"]))

        async def tell(_: dict[str, Any]) -> None:
            """Nobody is told."""

        self.hurry()
        while asyncio.run(deliver_due(self.ledger, {"launch": launch, "tell": tell})):
            with ThreadPoolExecutor(8) as side_by_side:
                list(side_by_side.map(lambda one: self._run_section(*one), asked))
            asked.clear()
            if self._stopped:
                return

    def _let_time_pass(self) -> None:
        """The leases of the dead are over, and Prefect has noticed that their runs are."""
        self.end_leases()
        for row in self.rows():
            incident = find(self.ledger, f"INC-{row.number}")
            if incident.status is Status.open:
                asyncio.run(_crash(incident))

    def _wake_up(self) -> None:
        """Its lease runs out while a process is held up; another does the work; a person undoes that; it goes on."""
        stopped, self._stopped = self._stopped, None
        assert stopped is not None
        self.done["hold a run up beyond its lease"] += 1
        for _ in range(ROUNDS):
            self._round()
            if self.all_ended():
                break
        world = self.parts.world
        if world.system.alias != world.system.model_broken:
            world.move(ALIAS, "broken")
        world.stale = True
        os.kill(stopped.pid, signal.SIGCONT)
        stopped.wait(LIMIT)


def _stop(pid: int) -> None:
    """Hold a process up, and come back when every thread of it stands still."""
    os.kill(pid, signal.SIGSTOP)
    tasks = [task / "stat" for task in Path(f"/proc/{pid}/task").iterdir()]
    while any(task.read_text().rpartition(")")[2].split()[0] != "T" for task in tasks):
        time.sleep(0.001)


async def _crash(incident: Incident) -> None:
    """Do what the worker does when a run's process is gone."""
    started = incident.last(Started)
    if started is None or not isinstance(started.body, Started) or not started.body.run:
        return
    async with get_client() as client:
        await client.set_flow_run_state(UUID(started.body.run), Crashed(), force=True)
