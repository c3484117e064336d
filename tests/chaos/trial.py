"""One trial: break the system, post alerts, let things go wrong, restart, and judge. How is up to its two kinds."""

from __future__ import annotations

import time
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
from sqlalchemy.exc import SQLAlchemyError

from demo.servers import free_port
from incidents import approvals
from incidents.approvals import NotAsked
from incidents.ledger import Ledger
from incidents.models import Status, now
from incidents.schema import leases, outbox
from tests.chaos.alerts import alerts
from tests.chaos.mischief import Mischief
from tests.chaos.script import Script
from tests.chaos.system import Parts
from tests.chaos.verdict import ACTED, ENDED, HEALED, Judged, judge
from tests.chaos.world import ALIAS, POINTER
from tests.flows.kit import judge as judged

#: A process of ours that takes longer than this many seconds has hung.
LIMIT = 90


class Trial(Mischief):
    """One trial under way."""

    def __init__(self, parts: Parts, script: Script, ledger: Ledger, environment: dict[str, str], home: Path) -> None:
        super().__init__(parts, script)
        self.ledger, self.environment, self.home = ledger, environment, home
        self.acknowledged: set[str] = set()
        #: How many processes of sections were killed.
        self.died = 0
        self.port = free_port()

    def heal(self, bodies: list[tuple[str, bytes]]) -> None:
        """Post these alerts, and have all that they begin worked off, whatever dies meanwhile."""
        raise NotImplementedError

    def stop(self) -> None:
        """End every process of the trial."""
        raise NotImplementedError

    def run(self) -> Judged:
        """Tell the story, and judge."""
        world, story = self.parts.world, self.script.story
        world.journal, world.ledger, world.stale = [], self.ledger, False
        self._set_up()
        for name in ("s3", "mlflow"):
            getattr(self.parts, name).around = lambda request, forward, name=name: self.around(name, request, forward)
        try:
            self.heal(alerts(story, self.script.others, datetime.now(UTC)))
        finally:
            self.stop()
        found = judge(self.ledger, world.journal, self.acknowledged, died=bool(self.died))
        if not found.people:
            found.broken += [(HEALED, what) for what in self._still_broken()]
            ours = [change for change in world.journal if change.who == "ours"]
            if story == "gone" and ours:
                found.broken.append((ACTED, f"nothing was wrong, and we changed {ours[0].target} to {ours[0].after}"))
        return found

    def _set_up(self) -> None:
        """What is known to be good, and what is in production."""
        world, system = self.parts.world, self.parts.world.system
        judged(self.ledger, POINTER, system.good)
        judged(self.ledger, "model:fraud", str(system.model_good))
        if self.script.story == "vain":  # it was good once, and does not help any more
            judged(self.ledger, "model:fraud", str(self.parts.vain))
        if self.script.story == "gone":  # a person has mended it by now, with a version that nobody has looked at
            system.set(system.good, int(world.person[ALIAS]))
        else:
            system.break_it()
        world.follow(system.alias)

    def _still_broken(self) -> list[str]:
        """What is broken in production although its incident is resolved, where no person had a hand in it."""
        system, closed = self.parts.world.system, {row.asset for row in self.rows() if row.status == Status.resolved}
        dataset = "dataset:transactions" in closed
        found = [f"the dataset is at {system.dataset}"] if dataset and system.dataset != system.good else []
        models = dataset or "model:fraud" in closed
        return [*found, f"the alias is at {system.alias}"] if models and system.alias != system.model_good else found

    def send(self, fingerprint: str, body: bytes) -> None:
        """Send an alert as Alertmanager does: until it is acknowledged, and the same bytes again."""
        headers = {"Content-Type": "application/json", "Authorization": "Bearer of the chaos"}
        url = f"http://127.0.0.1:{self.port}/alerts/alertmanager"
        end = time.monotonic() + LIMIT
        while time.monotonic() < end:
            with suppress(httpx.HTTPError):
                if httpx.post(url, content=body, headers=headers, timeout=5, trust_env=False).is_success:
                    self.acknowledged.add(fingerprint)
                    return
            time.sleep(0.03)

    def rows(self) -> list[Any]:
        """The incidents, also where the database was killed just now."""
        for left in range(50, -1, -1):
            try:
                return self.ledger.incidents(limit=100)
            except SQLAlchemyError:
                if not left:
                    raise
                time.sleep(0.1)
        return []

    def all_ended(self) -> bool:
        """Whether every incident has come to its end."""
        return all(row.status in ENDED for row in self.rows())

    def end_leases(self) -> None:
        """Let as much time pass as the leases of the dead last."""
        with self.ledger.write() as writer:
            writer.connection.execute(leases.update().values(expires_at="2000-01-01T00:00:00+00:00"))

    def hurry(self, *, failed: bool = False) -> None:
        """Let as much time pass as a job waits that was tried in vain, or that died on the way; or just the first."""
        again = outbox.update().where(outbox.c.done_at.is_(None))
        again = again.where(outbox.c.error.is_not(None)) if failed else again
        with self.ledger.write() as writer:
            writer.connection.execute(again.values(next_at=now().isoformat(timespec="microseconds")))

    def answer(self) -> bool:
        """People say what the script has them say, where they are asked; says whether anybody was."""
        asked = False
        for row in self.rows():
            for person in ("anna", "ben") if row.status == Status.waiting else ():
                with suppress(NotAsked):
                    name, who = f"INC-{row.number}", f"person:{person}"
                    approvals.answer(self.ledger, self.parts.book, name, who, yes=self.script.yes, why="so it is")
                    asked = True
        return asked
