"""Group commit: deliveries that arrive while one transaction commits are stored by the next, all of them together.

Each is answered after its own commit. A group that fails is done again one by one, so that a delivery that can't be
stored fails alone.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from sqlalchemy.exc import InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as NoConnection

from incidents.intake import WrongShape, alertmanager, generic, store, strict_json
from incidents.intake.inbox import Delivery
from incidents.intake.store import Receipt
from incidents.ledger import Ledger
from incidents.models import now
from incidents.playbook import Playbook

_log = logging.getLogger(__name__)

#: The database is away or busy; whatever else is done with it would fail alike.
AWAY = (OperationalError, InterfaceError, NoConnection)

#: A group is full at so many deliveries or bytes; it is read into objects that take many times as much.
_MOST_GROUPED, _MOST_GROUPED_BYTES = 200, 1024 * 1024

_PARSERS = {"alertmanager": alertmanager.parse, "generic": generic.parse}

#: What came of a delivery: the receipt, or why there is none.
_Outcome = Receipt | Exception


@dataclass(frozen=True)
class _Waiting:
    sender: str
    body: bytes
    outcome: asyncio.Future[_Outcome]


class Groups:
    """Takes deliveries from many requests, and stores them from one thread, a group a transaction."""

    def __init__(self, ledger: Ledger, playbook: Playbook) -> None:
        self._ledger, self._playbook = ledger, playbook
        self._waiting: deque[_Waiting] = deque()
        self._thread = ThreadPoolExecutor(1, "intake")
        self._working: asyncio.Task[None] | None = None

    async def take(self, sender: str, body: bytes) -> Receipt:
        """Store one delivery; it is stored when this returns.

        Raises:
            incidents.intake.strict_json.Malformed: the body is not JSON.
            WrongShape: the document is not of the sender's format.
        """
        waiting = _Waiting(sender, body, asyncio.get_running_loop().create_future())
        self._waiting.append(waiting)
        if self._working is None:
            self._working = asyncio.create_task(self._work())
        outcome = await waiting.outcome
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    async def _work(self) -> None:
        """Store groups until nobody waits any more."""
        try:
            while self._waiting:
                group = self._next()
                outcomes = await asyncio.get_running_loop().run_in_executor(self._thread, self._store, group)
                for one, outcome in zip(group, outcomes, strict=True):
                    if not one.outcome.done():  # its request may have been given up
                        one.outcome.set_result(outcome)
        finally:
            self._working = None

    def _next(self) -> list[_Waiting]:
        group, size = [self._waiting.popleft()], 0
        while self._waiting and len(group) < _MOST_GROUPED:
            size += len(group[-1].body)
            if size + len(self._waiting[0].body) > _MOST_GROUPED_BYTES:
                break
            group.append(self._waiting.popleft())
        return group

    def _store(self, group: Sequence[_Waiting]) -> list[_Outcome]:
        """What came of each of a group; this runs in the thread, and raises nothing."""
        read = [self._read(one) for one in group]
        deliveries = [one for one in read if isinstance(one, Delivery)]
        outcomes = iter(self._accept(deliveries) if deliveries else ())
        return [next(outcomes) if isinstance(one, Delivery) else one for one in read]

    def _read(self, one: _Waiting) -> Delivery | Exception:
        parse = _PARSERS[self._playbook.senders[one.sender].format]
        try:
            return Delivery(one.sender, one.body, parse(strict_json.parse(one.body), now()))
        except (strict_json.Malformed, WrongShape) as refused:
            return refused
        except Exception as error:
            _log.exception("a delivery of %s can't be read", one.sender)
            return error

    def _accept(self, deliveries: list[Delivery]) -> list[_Outcome]:
        try:
            return list(store.accept(self._ledger, self._playbook, deliveries))
        except AWAY as error:
            return [error] * len(deliveries)
        except Exception as error:
            if len(deliveries) == 1:
                return [error]
            _log.warning("a group can't be stored, so it is done one by one: %s", type(error).__name__)
            return [outcome for one in deliveries for outcome in self._accept([one])]
