"""Does what the ledger asks to be done outside: runs to start, people to tell. At least once, and never two at once.

A job is claimed by moving its ``next_at`` on, so a claim whose process died runs out and the job is done again.
"""

from __future__ import annotations

import asyncio
import json
import logging
import random
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import bindparam, func, select, update
from sqlalchemy.exc import SQLAlchemyError

from incidents.batches import Batches
from incidents.ledger import Ledger
from incidents.models import now
from incidents.redaction import redact
from incidents.schema import outbox
from incidents.tail import BrokenTail

_log = logging.getLogger(__name__)

#: Kind of job -> what does it. It is given the job's payload, its ``key``, and as ``attempts`` how often it was tried.
Handlers = Mapping[str, Callable[[dict[str, Any]], Awaitable[None]]]

#: How often the loop looks for due jobs, in seconds.
POLL = 0.5

#: Two claims are so far apart, in seconds: in a burst jobs are claimed together, and alerts are stored meanwhile.
PAUSE = 0.05

#: So many jobs of one kind are under way at once; kinds don't wait for each other.
AT_ONCE = 8

#: A try that takes longer than this many seconds has failed.
LIMIT = 30.0

#: For how long a claimed job is out of everybody else's reach: longer than any try.
CLAIM = timedelta(seconds=LIMIT + 15)

#: The longest time between two tries, in seconds.
LONGEST_WAIT = 60.0

#: How long the tries under way may go on when the process ends, in seconds.
GRACE = 5.0


# Statements are made once: making one takes longer than running it.
_DUE = outbox.c.done_at.is_(None) & (outbox.c.next_at <= bindparam("now"))
_OPEN = select(func.count(), func.count(outbox.c.error)).where(outbox.c.next_at > "")  # by the index; done is NULL
_ANY = select(outbox.c.id).where(_DUE, outbox.c.kind.in_(bindparam("kinds", expanding=True))).limit(1)
_LONGEST_DUE = (
    select(outbox).where(_DUE, outbox.c.kind == bindparam("kind")).order_by(outbox.c.next_at).limit(bindparam("free"))
)
_CLAIM = (
    update(outbox)
    .where(outbox.c.id == bindparam("_id"))
    .values(next_at=bindparam("_until"), attempts=outbox.c.attempts + 1)
)
#: Unless the claim ran out and somebody else has taken the job since.
_KEEP = (
    update(outbox)
    .where(outbox.c.id == bindparam("_id"), outbox.c.attempts == bindparam("_attempts"))
    .values({name: bindparam(f"_{name}") for name in ("done_at", "next_at", "error")})
)


class GiveUp(Exception):
    """A handler says that trying again is of no use; the message stays with the job."""


@dataclass(frozen=True)
class _Job:
    id: int
    key: str
    kind: str
    #: JSON.
    payload: str
    #: How often it was tried before.
    attempts: int


#: How a try went, as columns of the outbox.
_Values = dict[str, str | None]
_Kept = Batches[tuple[_Job, _Values], None]


def handlers(ledger: Ledger) -> Handlers:
    """What does each kind of job in the real world; imported when the first such job is due."""

    async def launch(job: dict[str, Any]) -> None:
        from incidents import launch as prefect

        await prefect.launch_job(ledger, job)

    async def tell(job: dict[str, Any]) -> None:
        from incidents.channels import deliver

        await deliver(ledger, {name: value for name, value in job.items() if name != "key"})

    return {"launch": launch, "tell": tell}


async def deliver_due(ledger: Ledger, handlers: Handlers) -> int:
    """Try the jobs that are due now, at most ``AT_ONCE`` of each kind, and return how many there were."""
    jobs, kept = await asyncio.to_thread(_claim, ledger, dict.fromkeys(handlers, AT_ONCE)), _kept(ledger)
    await asyncio.gather(*(_try(job, handlers, kept) for job in jobs))
    return len(jobs)


async def run(ledger: Ledger, handlers: Handlers, stop: asyncio.Event, wake: asyncio.Event) -> None:
    """Try jobs as they fall due until ``stop``; set ``wake`` when there is a new one, so that it need not wait."""
    under_way: dict[asyncio.Task[None], str] = {}
    kept = _kept(ledger)

    def ended(task: asyncio.Task[None]) -> None:
        del under_way[task]
        wake.set()

    while not stop.is_set():
        wake.clear()
        began = time.monotonic()
        busy = Counter(under_way.values())
        try:
            jobs = await asyncio.to_thread(_claim, ledger, {kind: AT_ONCE - busy[kind] for kind in handlers})
        except (SQLAlchemyError, BrokenTail) as error:  # away, busy, or a person has to see to it: look again later
            _log.warning("the outbox can't be read: %s", type(error).__name__)
            jobs = []
        for job in jobs:
            task = asyncio.create_task(_try(job, handlers, kept))
            under_way[task] = job.kind
            task.add_done_callback(ended)
        with suppress(TimeoutError):
            await asyncio.wait_for(wake.wait(), POLL)
        if jobs:
            await asyncio.sleep(began + PAUSE - time.monotonic())
    if under_way:
        _, late = await asyncio.wait(under_way, timeout=GRACE)
        for task in late:
            task.cancel()


def backlog(ledger: Ledger) -> dict[str, int]:
    """How many jobs are not done: ``waiting`` in all, ``failing`` those of them that were tried in vain."""
    with ledger.engine.connect() as connection:
        waiting, failing = connection.execute(_OPEN).one()
    return {"waiting": waiting, "failing": failing}


async def _try(job: _Job, handlers: Handlers, kept: _Kept) -> None:
    """Try one job and keep how it went. Whatever goes wrong with it stays with it."""
    try:
        async with asyncio.timeout(LIMIT):
            await handlers[job.kind]({**json.loads(job.payload), "key": job.key, "attempts": job.attempts})
    except GiveUp as error:
        values = {"done_at": _text(now()), "next_at": None, "error": _said(error)}
    except Exception as error:  # a handler may fail in any way, and none of them may stop the others
        _log.warning("outbox job %s failed, try %d: %s", job.key, job.attempts + 1, type(error).__name__)
        values = {"done_at": None, "next_at": _text(now() + _wait(job.attempts)), "error": _said(error)}
    else:
        values = {"done_at": _text(now()), "next_at": None, "error": None}
    try:
        await kept.do((job, values))
    except SQLAlchemyError as error:  # then the claim runs out, and the job is done again
        _log.warning("how outbox job %s went can't be stored: %s", job.key, type(error).__name__)


def _claim(ledger: Ledger, room: Mapping[str, int]) -> list[_Job]:
    """Take due jobs, the longest due first, at most ``room`` of each kind."""
    moment = _text(now())
    with ledger.engine.connect() as connection:  # mostly nothing is due, and then nothing needs to be locked
        if connection.scalar(_ANY, {"now": moment, "kinds": list(room)}) is None:
            return []
    jobs: list[_Job] = []
    with ledger.write() as writer:
        for kind, free in room.items():
            rows = writer.connection.execute(_LONGEST_DUE, {"now": moment, "kind": kind, "free": free})
            jobs += [_Job(row.id, row.key, row.kind, row.payload, row.attempts) for row in rows]
        if jobs:
            until = _text(now() + CLAIM)
            writer.connection.execute(_CLAIM, [{"_id": job.id, "_until": until} for job in jobs])
    return jobs


def _kept(ledger: Ledger) -> _Kept:
    """Stores how tries went; those that end at the same time, together."""

    def keep(tries: list[tuple[_Job, _Values]]) -> list[None]:
        rows = [
            {"_id": job.id, "_attempts": job.attempts + 1, **{f"_{name}": value for name, value in values.items()}}
            for job, values in tries
        ]
        with ledger.write() as writer:
            writer.connection.execute(_KEEP, rows)
        return [None] * len(tries)

    return Batches(keep, most=100)


def _wait(attempts: int) -> timedelta:
    """Twice as long after each try, up to a limit, and never the same for two jobs."""
    longest = min(LONGEST_WAIT, 0.5 * 2 ** min(attempts, 10))
    return timedelta(seconds=longest * random.uniform(0.5, 1))  # noqa: S311  # spreads retries, guards nothing


def _said(error: Exception) -> str:
    return redact(f"{type(error).__name__}: {error}")[:1000].replace("\0", "")


def _text(moment: datetime) -> str:
    return moment.isoformat(timespec="microseconds")
