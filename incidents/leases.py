"""Leases: who may change a target now. A lease that is not renewed ends by itself, and its token only grows.

While it is held a thread renews it, so an apply may take longer than a lease lives. Who writes in many places asks
``still_ours`` before each.

Prefect's own concurrency slots leak when a worker dies, so they are not used for this.
Source of the fencing token: M. Kleppmann, "How to do distributed locking", 2016.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import datetime, timedelta

import stamina
from sqlalchemy import insert, select, update
from sqlalchemy.exc import SQLAlchemyError

from incidents.ledger import Ledger
from incidents.models import Frozen, now
from incidents.schema import leases

_log = logging.getLogger(__name__)

#: A dead holder keeps others waiting no longer than this.
LIFETIME = timedelta(minutes=2)

#: A lease is renewed so often in its life, so that one renewal may fail.
BEATS = 3


class Held(Exception):
    """Somebody else is changing the same target right now; their lease says until when."""


class Lost(Exception):
    """The lease ran out, and somebody else may have changed the target since."""


class Lease(Frozen):
    """The right to change one target until it expires."""

    target: str
    holder: str
    token: int
    expires_at: datetime


#: The lease under which this thread works, and its ledger.
_current: ContextVar[tuple[Ledger, Lease] | None] = ContextVar("lease", default=None)


@contextmanager
def lease(
    ledger: Ledger, target: str, holder: str, *, lifetime: timedelta = LIFETIME, wait_seconds: float = 0
) -> Iterator[Lease]:
    """Hold the target for the length of the block, however long; the same holder may take its own lease up again.

    Raises:
        Held: another holder's lease has not expired, after waiting for ``wait_seconds``.
    """
    take = stamina.retry(on=Held, attempts=None, timeout=wait_seconds, wait_max=1)(_take) if wait_seconds else _take
    taken = take(ledger, target, holder, lifetime)
    done = threading.Event()
    beat = threading.Thread(target=_renew, args=(ledger, taken, lifetime, done), daemon=True, name="lease")
    beat.start()
    under = _current.set((ledger, taken))
    try:
        yield taken
    finally:
        _current.reset(under)
        done.set()
        beat.join()
        with ledger.write() as writer:
            writer.connection.execute(
                update(leases)
                .where(leases.c.target == target, leases.c.token == taken.token)
                .values(expires_at=now().isoformat())
            )


def check_lease(ledger: Ledger, held: Lease) -> None:
    """Make sure, right before a change, that the lease is still ours and has not run out.

    Raises:
        Lost: it is not.
    """
    with ledger.engine.connect() as connection:
        row = connection.execute(select(leases).where(leases.c.target == held.target)).one()
    if row.token != held.token or datetime.fromisoformat(row.expires_at) <= now():
        raise Lost(f"the lease on {held.target} (token {held.token}) ran out before the change was made")


def still_ours() -> None:
    """Make sure, in the middle of a change, that the lease that it is made under is ours; nothing where there is none.

    Raises:
        Lost: it is not.
    """
    under = _current.get()
    if under is not None:
        check_lease(*under)


def _renew(ledger: Ledger, held: Lease, lifetime: timedelta, done: threading.Event) -> None:
    """Put the end off, again and again. What has run out, or is somebody else's, is not taken back."""
    while not done.wait(lifetime.total_seconds() / BEATS):
        try:
            with ledger.write() as writer:
                moment = now()
                ours = (leases.c.target == held.target) & (leases.c.token == held.token)
                renewal = update(leases).where(ours, leases.c.expires_at > moment.isoformat())
                renewed = writer.connection.execute(renewal.values(expires_at=(moment + lifetime).isoformat()))
            if not renewed.rowcount:
                _log.warning("the lease on %s (token %d) is lost", held.target, held.token)
                return
        except SQLAlchemyError as error:  # the database is busy or away: the next beat may still be in time
            _log.warning("the lease on %s can't be renewed: %s", held.target, type(error).__name__)


def _take(ledger: Ledger, target: str, holder: str, lifetime: timedelta) -> Lease:
    with ledger.write() as writer:
        row = writer.connection.execute(select(leases).where(leases.c.target == target)).first()
        moment = now()
        if row and datetime.fromisoformat(row.expires_at) > moment and row.holder != holder:
            raise Held(f"{row.holder} is changing {target} until {row.expires_at}")
        taken = Lease(
            target=target,
            holder=holder,
            token=row.token + 1 if row else 1,
            expires_at=moment + lifetime,
        )
        values = taken.model_dump() | {"expires_at": taken.expires_at.isoformat()}
        statement = update(leases).where(leases.c.target == target) if row else insert(leases)
        writer.connection.execute(statement.values(values))
        return taken
