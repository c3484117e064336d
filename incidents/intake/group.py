"""Group commit: deliveries that arrive while one transaction commits are stored by the next, all of them together.

Each is answered after its own commit. A group that fails is done again one by one, so that a delivery that can't be
stored fails alone.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

from sqlalchemy.exc import InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as NoConnection

from incidents.batches import Batches
from incidents.intake import WrongShape, alertmanager, generic, store, strict_json
from incidents.intake.inbox import Delivery
from incidents.intake.store import Receipt
from incidents.ledger import Ledger
from incidents.models import now
from incidents.playbook import Playbook
from incidents.redaction import possible_in_document
from incidents.tail import BrokenTail

_log = logging.getLogger(__name__)

#: The database is away or busy; whatever else is done with it would fail alike.
AWAY = (OperationalError, InterfaceError, NoConnection)

#: A group is full at so many deliveries or bytes; it is read into objects that take many times as much.
_MOST, _HEAVIEST = 200, 1024 * 1024

_PARSERS = {"alertmanager": alertmanager.parse, "generic": generic.parse}


class Posted(NamedTuple):
    """A body as it came, and who sent it."""

    sender: str
    body: bytes


class Groups:
    """Takes deliveries from many requests, and stores them from one thread, a group a transaction."""

    def __init__(self, ledger: Ledger, playbook: Playbook) -> None:
        self._ledger, self._playbook = ledger, playbook
        self._batches: Batches[Posted, Receipt] = Batches(
            self._store,
            most=_MOST,
            weigh=lambda posted: len(posted.body),
            heaviest=_HEAVIEST,
            thread=ThreadPoolExecutor(1, "intake"),
        )

    async def take(self, sender: str, body: bytes) -> Receipt:
        """Store one delivery; it is stored when this returns.

        Raises:
            incidents.intake.strict_json.Malformed: the body is not JSON.
            WrongShape: the document is not of the sender's format.
        """
        return await self._batches.do(Posted(sender, body))

    def _store(self, group: list[Posted]) -> list[Receipt | Exception]:
        read = [self._read(posted) for posted in group]
        outcomes = iter(self._accept([one for one in read if isinstance(one, Delivery)]))
        return [next(outcomes) if isinstance(one, Delivery) else one for one in read]

    def _read(self, posted: Posted) -> Delivery | Exception:
        parse = _PARSERS[self._playbook.senders[posted.sender].format]
        try:
            document = strict_json.parse(posted.body)
            rules = possible_in_document(posted.body)
            return Delivery(posted.sender, posted.body, parse(document, now(), clean=not rules), rules)
        except (strict_json.Malformed, WrongShape) as refused:
            return refused
        except Exception as error:  # a mistake of ours, and the others of the group are not to blame
            return error

    def _accept(self, deliveries: Sequence[Delivery]) -> Sequence[Receipt | Exception]:
        if not deliveries:
            return []
        try:
            return store.accept(self._ledger, self._playbook, deliveries)
        except (*AWAY, BrokenTail) as error:
            return [error] * len(deliveries)
        except Exception as error:
            if len(deliveries) == 1:
                return [error]
            _log.warning("a group can't be stored, so it is done one by one: %s", type(error).__name__)
            return [outcome for one in deliveries for outcome in self._accept([one])]
