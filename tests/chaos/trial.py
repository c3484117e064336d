"""One trial: break the system, post alerts through a real web process, let things go wrong, restart, and judge."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import threading
import time
from collections import Counter, defaultdict
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
from prefect.client.orchestration import get_client
from prefect.states import Crashed
from sqlalchemy.exc import SQLAlchemyError

from demo.servers import free_port
from incidents import approvals
from incidents.approvals import NotAsked
from incidents.events import Applying, Started
from incidents.incident import Incident, find
from incidents.ledger import Ledger
from incidents.models import Status, now
from incidents.outbox import deliver_due
from incidents.schema import leases, outbox
from tests.chaos.alerts import alerts
from tests.chaos.proxy import Forward, Request, plain
from tests.chaos.script import Deed, Script
from tests.chaos.system import Child, Parts
from tests.chaos.verdict import ENDED, HEALED, Judged, judge
from tests.chaos.world import ALIAS, POINTER, changes, looks_at
from tests.flows.kit import judge as judged

#: A process of ours that takes longer than this many seconds has hung.
LIMIT = 90

#: After so many rounds of restarting and reconciling what has not ended never will.
ROUNDS = 12

SLOW_DOWN = "<?xml version='1.0'?><Error><Code>SlowDown</Code><Message>Reduce your request rate.</Message></Error>"


@dataclass
class Trial:
    """One trial under way."""

    parts: Parts
    script: Script
    ledger: Ledger
    environment: dict[str, str]
    home: Path
    #: The deeds that really were done.
    done: Counter[str] = field(default_factory=Counter)
    acknowledged: set[str] = field(default_factory=set)
    died: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._lock = threading.Lock()
        self._left = list(self.script.deeds)
        self._spoiling: dict[str, tuple[Deed, int]] = {}
        self._seen: Counter[str] = Counter()
        self._born: defaultdict[str, int] = defaultdict(int)
        self._children: list[Child] = []
        self._at_work: Child | None = None
        self._sections: list[Child] = []
        self._stopped: Child | None = None
        self._stop_at_look = self.script.story == "stale"
        self._port = free_port()
        self._web: Child | None = None

    # What goes wrong, and when

    def at_write(self, kind: str, which: int, number: int, side: str, child: Child) -> None:
        """A process is about to commit, or has just committed."""
        for deed in self._due("write", number):
            if deed.side != side or kind != ("web" if deed.what == "kill web" else "section"):
                continue
            if deed.count == which and self._take(deed):
                if deed.what in ("kill worker", "kill web"):
                    child.kill()
                else:
                    self._do(deed)

    def around(self, service: str, request: Request, forward: Forward) -> bytes | None:
        """A process of ours asks S3 or MLflow."""
        with self._lock:
            self._seen["any"] += 1
            self._seen[service] += 1
            writes = changes(request) is not None
            self._seen[f"{service} writes"] += writes
            self._seen["changes"] += writes
            seen = dict(self._seen)
        acts = [deed for deed in self._due("request", seen["any"]) if deed.what == "person" and self._take(deed)]
        for deed in acts:
            if deed.side == "before":
                self._do(deed)
        if self._stop_at_look and service == "mlflow" and looks_at(request) and self._intends():
            self._stop_at_look = False
            seen_now = self.parts.world.send(request, forward)
            assert self._at_work is not None
            _stop(self._at_work.pid)
            self._stopped = self._at_work
            return seen_now
        for deed in self._due("request", seen.get(f"{service} writes" if writes else service, 0)):
            if deed.what == "spoil" and deed.service == service and (writes or not deed.writes) and self._take(deed):
                self._spoiling[service] = deed, deed.count
        kills = [deed for deed in self._due("change", seen["changes"]) if writes and self._take(deed)]
        if any(deed.side == "before" for deed in kills):
            self._kill_who_asked()
            return None
        if self._lets(service, writes):
            answer: bytes | None = self.parts.world.send(request, forward)
        else:
            answer = self._spoil(service, request, forward)
            acts += [deed for deed in self._due("spoilt", 1) if self._take(deed)]
        if kills:
            self._kill_who_asked()
        for deed in acts:
            if deed.side == "after":
                self._do(deed)
        return answer

    def _kill_who_asked(self) -> None:
        """Where two are at work, one of them."""
        for child in reversed(self._sections):
            if child.wait(0) is None:
                child.kill()
                child.wait(5)
                return

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

    def _due(self, when: str, number: int) -> list[Deed]:
        with self._lock:
            return [deed for deed in self._left if deed.when == when and deed.number == number]

    def _take(self, deed: Deed) -> bool:
        with self._lock:
            if deed not in self._left:
                return False
            self._left.remove(deed)
            how = f" {deed.service} {deed.how}" if deed.what == "spoil" else ""
            self.done[deed.what + how] += 1
            return True

    def _do(self, deed: Deed) -> None:
        if deed.what == "person":
            self.parts.world.move(ALIAS if deed.service == "alias" else POINTER, deed.how)
        elif deed.what == "kill postgres":
            self.parts.restart_postgres()

    def _intends(self) -> bool:
        found = self.ledger.events(subject=ALIAS, kinds=["applying"])
        return any(isinstance(event.body, Applying) for event in found)

    # The processes

    def start(self, kind: str, **job: Any) -> Child:
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
        for deed in self._due("ms", 0) or [deed for deed in self._left if deed.when == "ms"]:
            what = "web" if deed.what == "kill web" else "section"
            if what == kind and deed.count == which:
                threading.Timer(deed.number / 1000, self._late, (deed, child)).start()
        return child

    def _late(self, deed: Deed, child: Child) -> None:
        if child.wait(0) is None and self._take(deed):
            if deed.what == "kill postgres":
                self._do(deed)
            else:
                child.kill()

    def _attend(self, server: socket.socket, kind: str, which: int, child: Child) -> None:
        server.settimeout(LIMIT)
        with suppress(OSError), server, server.accept()[0] as line:
            number = 1
            while word := line.recv(1):
                self._seen[f"{kind} {which} writes"] = number
                self.at_write(kind, which, number, "before" if word == b"b" else "after", child)
                number += word == b"a"
                line.sendall(b".")

    def run_section(self, section: str, incident: str) -> None:
        """Run a section to its end, or to its death; what is left of the dead is put as time puts it."""
        child = self.start("section", section=section, incident=incident)
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
        if status < 0:
            self.died.append(incident)

    # The story

    def run(self) -> Judged:
        """Tell the story, and judge."""
        world, story = self.parts.world, self.script.story
        world.journal, world.ledger, world.stale = [], self.ledger, False
        for name in ("s3", "mlflow"):
            getattr(self.parts, name).around = lambda request, forward, name=name: self.around(name, request, forward)
        system = world.system
        judged(self.ledger, POINTER, system.good)
        judged(self.ledger, "model:fraud", str(system.model_good))
        system.break_it()
        self.parts.wait_served(system.model_broken)
        try:
            self._post(alerts(story, self.script.others, datetime.now(UTC)))
            for _ in range(ROUNDS):
                self._round()
                if self._stopped is not None:
                    self._wake_up()
                if all(row.status in ENDED for row in self._rows()):
                    break
        finally:
            if self._web:
                self._web.kill()
            for child in self._children:
                child.kill()
                child.wait(5)
        found = judge(self.ledger, world.journal, self.acknowledged, died=bool(self.died))
        if not found.people:
            found.broken += [(HEALED, what) for what in self._still_broken()]
        return found

    def _still_broken(self) -> list[str]:
        """What is broken in production although its incident is resolved, where no person had a hand in it."""
        system, closed = self.parts.world.system, {row.asset for row in self._rows() if row.status == Status.resolved}
        dataset = "dataset:transactions" in closed
        found = [f"the dataset is at {system.dataset}"] if dataset and system.dataset != system.good else []
        models = dataset or "model:fraud" in closed
        return [*found, f"the alias is at {system.alias}"] if models and system.alias != system.model_good else found

    def _post(self, bodies: list[tuple[str, bytes]]) -> None:
        """Send each alert as Alertmanager does: until it is acknowledged, and the same bytes again."""
        threads = [threading.Thread(target=self._send, args=one) for one in bodies]
        for thread in threads:
            thread.start()
        end = time.monotonic() + LIMIT
        while any(thread.is_alive() for thread in threads):
            if self._web is None or self._web.wait(0.02) is not None:
                self._web = self.start("web", port=self._port)
            if time.monotonic() > end:
                raise TimeoutError("the alerts are not acknowledged")

    def _send(self, fingerprint: str, body: bytes) -> None:
        headers = {"Content-Type": "application/json", "Authorization": "Bearer of the chaos"}
        url = f"http://127.0.0.1:{self._port}/alerts/alertmanager"
        end = time.monotonic() + LIMIT
        while time.monotonic() < end:
            with suppress(httpx.HTTPError):
                if httpx.post(url, content=body, headers=headers, timeout=5, trust_env=False).is_success:
                    self.acknowledged.add(fingerprint)
                    return
            time.sleep(0.03)

    def _round(self) -> None:
        """Start what waits to be started; of what then lies still, let time pass, and reconcile; ask people."""
        with suppress(SQLAlchemyError):  # the database was killed under it: the next round
            self._work_off()
            rows = self._rows()
            if all(row.status in ENDED for row in rows):
                return
            waiting = [row for row in rows if row.status == Status.waiting]
            for row in waiting:
                self._answer(f"INC-{row.number}")
            if not waiting and not self._stopped:
                self._let_time_pass()
                self.start("settle").wait(LIMIT)

    def _work_off(self) -> None:
        async def launch(job: dict[str, Any]) -> None:
            section = job["deployment"].partition("/")[0]
            await asyncio.to_thread(self.run_section, section, job["parameters"]["incident"])

        async def tell(_: dict[str, Any]) -> None:
            """Nobody is told."""

        with self.ledger.write() as writer:  # what was tried in vain, or died on the way, is due again
            again = outbox.update().where(outbox.c.done_at.is_(None))
            writer.connection.execute(again.values(next_at=now().isoformat(timespec="microseconds")))
        while asyncio.run(deliver_due(self.ledger, {"launch": launch, "tell": tell})):
            if self._stopped:
                return

    def _rows(self) -> list[Any]:
        for left in range(50, -1, -1):
            try:
                return self.ledger.incidents(limit=100)
            except SQLAlchemyError:
                if not left:
                    raise
                time.sleep(0.1)
        return []

    def _let_time_pass(self) -> None:
        """The leases of the dead are over, and Prefect has noticed that their runs are."""
        with self.ledger.write() as writer:
            writer.connection.execute(leases.update().values(expires_at="2000-01-01T00:00:00+00:00"))
        for row in self._rows():
            incident = find(self.ledger, f"INC-{row.number}")
            if incident.status is Status.open:
                asyncio.run(_crash(incident))

    def _answer(self, name: str) -> None:
        for person in ("anna", "ben"):
            with suppress(NotAsked):
                approvals.answer(
                    self.ledger, self.parts.book, name, f"person:{person}", yes=self.script.yes, why="so it is"
                )

    def _wake_up(self) -> None:
        """Its lease runs out while a process is held up; another does the work; a person undoes that; it goes on."""
        stopped, self._stopped = self._stopped, None
        assert stopped is not None
        self.done["hold a worker up beyond its lease"] += 1
        for _ in range(ROUNDS):
            self._round()
            if all(row.status in ENDED for row in self._rows()):
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


def run(parts: Parts, script: Script, database: str) -> tuple[Judged, Trial]:
    """Run one trial."""
    with ExitStack() as stack:
        ledger, environment, home = stack.enter_context(parts.ledger(database))
        trial = Trial(parts, script, ledger, environment, home)
        return trial.run(), trial
