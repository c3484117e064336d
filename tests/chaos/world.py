"""What is really in S3 and MLflow, and a journal of every change to it: whose, from what, to what, and on what word.

Our processes reach S3 and MLflow through proxies, people do not. One lock puts all changes into one order.
"""

from __future__ import annotations

import re
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from threading import RLock
from typing import Literal

import httpx

from incidents import events as e
from incidents.ledger import Ledger
from incidents.models import Plan
from remediations.clients import registry
from remediations.datasets.layout import Pointer
from tests.chaos.proxy import Forward, Request, status
from tests.flows.kit import RELOAD, System

ALIAS, POINTER = "models:/fraud@champion", "dataset:transactions"


@dataclass(frozen=True)
class Change:
    """One change to a pointer that really took place, or one look of ours at it."""

    who: Literal["ours", "person", "look"]
    target: str
    #: The version before and after; of a dataset's pointer its nonce too.
    before: str
    after: str
    #: The plans that the record held an intent of at that moment, as ``apply HASH`` and ``undo HASH``.
    intents: tuple[str, ...] = ()
    #: Made by a process that was held up while its lease ran out.
    stale: bool = False


@dataclass
class World:
    """The real parts, under observation."""

    system: System
    person: dict[str, str]
    journal: list[Change] = field(default_factory=list)
    lock: RLock = field(default_factory=RLock)
    #: The ledger of the trial under way, to look for intents in.
    ledger: Ledger | None = None
    stale: bool = False

    def __post_init__(self) -> None:
        self._telling = ThreadPoolExecutor(1)  # one after the other, so that none is overtaken by an older one

    def follow(self, version: int) -> None:
        """Have the service load a version, and wait until it answers with it."""
        end = time.monotonic() + 20
        while self._tell() != version:
            assert time.monotonic() < end, "the service does not follow its alias"
            time.sleep(0.03)

    def _tell(self) -> int | None:
        """Tell the service to look at the alias at once; returns what it answers with from then on."""
        with suppress(httpx.HTTPError):
            answer = httpx.post(f"{self.system.service.url}/reload", headers=RELOAD, timeout=20, trust_env=False)
            return int(answer.json().get("version") or 0)
        return None

    def now(self, target: str) -> str:
        """Where a pointer is."""
        if target == ALIAS:
            return str(self.system.alias)
        return word(self.system.store.current())

    def move(self, target: str, where: str) -> None:
        """A person changes production by themselves: to a version of their own, or back to the broken one."""
        with self.lock:
            before = self.now(target)
            if target == ALIAS:
                after = self.person[ALIAS] if where == "own" else str(self.system.model_broken)
                registry().set_registered_model_alias("fraud", "champion", after)
                self._telling.submit(self._tell)
            else:
                store = self.system.store
                version = self.person[POINTER] if where == "own" else self.system.broken
                store.move(store.pointer_to(version, by="a person"), expect=store.current())
                after = self.now(target)
            self.journal.append(Change("person", target, before, after))

    def send(self, request: Request, forward: Forward) -> bytes:
        """Send a request of ours on, and keep what it changed."""
        target = changes(request)
        if target is None:
            if not looks_at(request):
                return forward()
            with self.lock:
                answer = forward()
                if status(answer) == 200:
                    found = self.now(ALIAS)
                    self.journal.append(Change("look", ALIAS, found, found))
                return answer
        with self.lock:
            before, intents = self.now(target), self._intents(target)
            answer = forward()
            if 200 <= status(answer) < 300:
                self.journal.append(Change("ours", target, before, self.now(target), intents, self.stale))
            if target == ALIAS:
                self._telling.submit(self._tell)
            return answer

    def _intents(self, target: str) -> tuple[str, ...]:
        """What the record says, at this moment, that we are about to do to the target."""
        assert self.ledger is not None
        told = self.ledger.events(subject=target, kinds=["applying", "undoing"])
        words = {"applying": "apply", "undoing": "undo"}
        return tuple(
            f"{words[event.body.kind]} {event.body.plan}"
            for event in told
            if isinstance(event.body, e.Applying | e.Undoing)
        )


def changes(request: Request) -> str | None:
    """Which pointer a request would move."""
    path = request.path.partition("?")[0]
    if path.endswith("/registered-models/alias") and request.method in ("POST", "DELETE"):
        return ALIAS
    if request.method in ("PUT", "DELETE") and re.search(r"/transactions/current$", path):
        return POINTER
    return None


def looks_at(request: Request) -> bool:
    """Whether a request looks where the alias is."""
    return request.method == "GET" and "/registered-models/get" in request.path


def word(pointer: Pointer) -> str:
    """A pointer in one word: two moves to one version are not the same."""
    return f"{pointer.version} {pointer.nonce}"


def state(plan: Plan, side: Literal["before", "after"]) -> str:
    """What a plan says of its target, in the words of the journal."""
    found = plan.before if side == "before" else plan.after
    return f"{found['version']} {found['nonce']}" if "nonce" in found else str(found["version"])
