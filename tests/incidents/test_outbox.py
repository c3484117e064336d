"""The outbox: every job is done, again after a failure or a crash, and never by two at once."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import select, update
from sqlalchemy.exc import OperationalError

from incidents import outbox
from incidents.channels import announce
from incidents.events import Opened, Told
from incidents.ledger import Ledger
from incidents.models import Category, Severity, now
from incidents.outbox import GiveUp, deliver_due
from incidents.playbook import Playbook
from incidents.schema import outbox as table

Job = dict[str, Any]


def put(ledger: Ledger, *keys: str, kind: str = "launch") -> None:
    """Ask for one job each."""
    with ledger.write() as writer:
        for key in keys:
            writer.send(kind, key, {"said": key})


def rows(ledger: Ledger) -> dict[str, Any]:
    """The jobs by their keys."""
    with ledger.engine.connect() as connection:
        return {row.key: row for row in connection.execute(select(table))}


def make_due(ledger: Ledger) -> None:
    """Let the time pass that open jobs wait for."""
    with ledger.write() as writer:
        due = (now() - timedelta(seconds=1)).isoformat(timespec="microseconds")
        writer.connection.execute(update(table).where(table.c.done_at.is_(None)).values(next_at=due))


def once(ledger: Ledger, handler: Callable[[Job], Any], kind: str = "launch") -> int:
    """One round, with this handler."""
    return asyncio.run(deliver_due(ledger, {kind: handler}))


def test_a_job_is_done_once(anywhere: Ledger) -> None:
    """The handler gets the payload, its key and how often it was tried; afterwards the job is not due any more."""
    seen: list[Job] = []

    async def handler(job: Job) -> None:
        seen.append(job)

    put(anywhere, "a", "b")
    put(anywhere, "a")  # the same key again is the same job
    assert once(anywhere, handler) == 2
    assert once(anywhere, handler) == 0
    assert sorted(seen, key=str) == [{"said": key, "key": key, "attempts": 0} for key in "ab"]
    assert all(row.done_at and row.next_at is None and row.error is None for row in rows(anywhere).values())
    assert outbox.backlog(anywhere) == {"waiting": 0, "failing": 0}


def test_a_job_that_fails_is_tried_again_until_it_is_done(anywhere: Ledger) -> None:
    """What went wrong stays with the job, the next try is later, and however often it failed it is not given up."""
    tries: list[int] = []

    async def handler(job: Job) -> None:
        tries.append(job["attempts"])
        if len(tries) < 15:
            raise ConnectionError("Prefect\0 is away")

    put(anywhere, "a")
    for _ in range(14):
        assert once(anywhere, handler) == 1
        assert rows(anywhere)["a"].error == "ConnectionError: Prefect is away"
        assert rows(anywhere)["a"].next_at > now().isoformat()
        assert rows(anywhere)["a"].done_at is None
        assert outbox.backlog(anywhere) == {"waiting": 1, "failing": 1}
        make_due(anywhere)
    assert once(anywhere, handler) == 1
    assert tries == list(range(15))
    assert rows(anywhere)["a"].done_at
    assert rows(anywhere)["a"].error is None


def test_a_job_can_be_given_up(anywhere: Ledger) -> None:
    """A handler that knows that it is of no use says so, and the job is closed with the reason."""

    async def handler(_job: Job) -> None:
        raise GiveUp("there is nobody to tell")

    put(anywhere, "a")
    assert once(anywhere, handler) == 1
    make_due(anywhere)
    assert once(anywhere, handler) == 0
    assert rows(anywhere)["a"].error == "GiveUp: there is nobody to tell"


def test_a_job_of_a_kind_without_a_handler_waits(anywhere: Ledger) -> None:
    """Another process, or a later version, may know what to do with it."""
    put(anywhere, "a", kind="sing")
    assert once(anywhere, _fine) == 0
    assert once(anywhere, _fine, kind="sing") == 1


def test_two_processes_never_do_a_job_twice(anywhere: Ledger) -> None:
    """A job is claimed before it is done, so two outboxes on one ledger share the work."""
    done: list[str] = []
    keys = [f"job-{i}" for i in range(30)]
    put(anywhere, *keys)
    start = threading.Barrier(2)

    async def handler(job: Job) -> None:
        await asyncio.sleep(0.01)
        done.append(job["key"])

    def process() -> None:
        start.wait()
        while once(anywhere, handler):
            pass

    threads = [threading.Thread(target=process) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert Counter(done) == Counter(keys)


def test_a_job_is_not_lost_when_its_process_dies(anywhere: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    """The claim of the dead runs out, and the next one to look does the job."""
    monkeypatch.setattr(outbox, "CLAIM", timedelta(seconds=0.3))

    async def died(_job: Job) -> None:
        raise asyncio.CancelledError

    put(anywhere, "a")
    with pytest.raises(asyncio.CancelledError):
        once(anywhere, died)
    assert rows(anywhere)["a"].done_at is None
    while not once(anywhere, _fine):
        pass
    assert rows(anywhere)["a"].done_at
    assert rows(anywhere)["a"].attempts == 2


def test_who_comes_late_does_not_overwrite_what_became_of_a_job(
    anywhere: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that slept through its claim finds that another has taken the job, and leaves it as it is."""
    monkeypatch.setattr(outbox, "CLAIM", timedelta(0))

    async def story() -> None:
        asleep, slept = asyncio.Event(), asyncio.Event()

        async def sleeper(_job: Job) -> None:
            asleep.set()
            await slept.wait()
            raise ConnectionError("too late to say")

        late = asyncio.create_task(deliver_due(anywhere, {"launch": sleeper}))
        await asleep.wait()
        assert await deliver_due(anywhere, {"launch": _fine}) == 1
        slept.set()
        await late

    put(anywhere, "a")
    asyncio.run(story())
    assert rows(anywhere)["a"].done_at
    assert rows(anywhere)["a"].error is None


def test_jobs_that_hang_stop_no_others(ledger: Ledger) -> None:
    """A dead channel takes up its own places for as long as a try may take, and never those of another kind."""

    async def story() -> list[str]:
        done: list[str] = []
        stop, wake, all_done = asyncio.Event(), asyncio.Event(), asyncio.Event()

        async def hang(_job: Job) -> None:
            await asyncio.Event().wait()

        async def launch(job: Job) -> None:
            if job["key"] == "hangs":
                await asyncio.Event().wait()
            done.append(job["key"])
            if len(done) == 20:
                all_done.set()

        loop = asyncio.create_task(outbox.run(ledger, {"tell": hang, "launch": launch}, stop, wake))
        async with asyncio.timeout(60):
            await all_done.wait()
        stop.set()
        wake.set()
        await loop
        return done

    outbox_grace, outbox.GRACE = outbox.GRACE, 0.1
    try:
        put(ledger, *(f"dead-{i}" for i in range(2 * outbox.AT_ONCE)), kind="tell")
        put(ledger, "hangs", *(f"fine-{i}" for i in range(20)))
        assert len(asyncio.run(story())) == 20
    finally:
        outbox.GRACE = outbox_grace
    assert all(bool(row.done_at) is key.startswith("fine") for key, row in rows(ledger).items())


def test_a_try_that_takes_too_long_has_failed(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is cut off before its claim runs out, and tried again."""
    monkeypatch.setattr(outbox, "LIMIT", 0.05)

    async def hang(_job: Job) -> None:
        await asyncio.Event().wait()

    put(ledger, "a")
    assert once(ledger, hang) == 1
    assert rows(ledger)["a"].error.startswith("TimeoutError")


def test_the_loop_takes_new_jobs_and_outlives_a_database_that_is_busy(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Jobs that come while it runs are done, also after a round in which the database failed."""
    claim, failed = outbox._claim, threading.Event()

    def claim_after_a_failure(*given: Any) -> Any:
        if not failed.is_set():
            failed.set()
            raise OperationalError("SELECT", {}, Exception("database is locked"))
        return claim(*given)

    monkeypatch.setattr(outbox, "_claim", claim_after_a_failure)

    async def story() -> None:
        stop, wake, done = asyncio.Event(), asyncio.Event(), asyncio.Event()

        async def handler(_job: Job) -> None:
            done.set()

        loop = asyncio.create_task(outbox.run(ledger, {"launch": handler}, stop, wake))
        for key in "ab":
            await asyncio.to_thread(put, ledger, key)
            if key == "b":
                wake.set()
            async with asyncio.timeout(60):
                await done.wait()
            done.clear()
        stop.set()
        async with asyncio.timeout(60):
            await loop

    asyncio.run(story())
    assert failed.is_set()
    assert all(row.done_at for row in rows(ledger).values())


def test_a_message_goes_through_the_real_handler_onto_the_record(
    ledger: Ledger, book: Playbook, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The outbox and the channels fit together: a channel that is not set up is given up on, and the record says so."""
    for channel in book.channels.values():
        monkeypatch.delenv(channel.url_env, raising=False)
    opened = Opened(category=Category.data, severity=Severity.medium, asset=None, title="stale")
    with ledger.write() as writer:
        name = writer.open(opened, actor="person:anna")
        announce(writer, book, name, opened.severity, "stale", "8 hours old")
    assert asyncio.run(deliver_due(ledger, outbox.handlers(ledger))) == len(book.tell[opened.severity])
    told = [event.body for event in ledger.events() if isinstance(event.body, Told)]
    assert [body.delivered for body in told] == [False]
    assert all(row.done_at for row in rows(ledger).values())


#: Prefect reads its settings once in a process, so this one has a process of its own.
AWAY = """
import asyncio, sys
from incidents import outbox
from incidents.ledger import Ledger

ledger = Ledger(sys.argv[1])
sys.exit(0 if asyncio.run(outbox.deliver_due(ledger, outbox.handlers(ledger))) == 1 else "nothing was due")
"""


def test_a_launch_waits_while_prefect_is_away(ledger: Ledger) -> None:
    """The real handler, and an address where nothing listens: the job stays, with the reason."""
    with ledger.write() as writer:
        payload = {"deployment": "data/data", "parameters": {"incident": "INC-1"}, "name": "INC-1"}
        writer.send("launch", "launch:INC-1", payload)
    away = {**os.environ, "PREFECT_API_URL": "http://127.0.0.1:9/api"}
    subprocess.run([sys.executable, "-c", AWAY, str(ledger.engine.url)], env=away, check=True)
    [job] = rows(ledger).values()
    assert job.done_at is None
    assert job.error.startswith("NotLaunched: Prefect's API is away")


@given(st.integers(min_value=0, max_value=10**9))
def test_waits_grow_and_stay_within_the_limit(attempts: int) -> None:
    """Never at once, never longer than the limit, and the first tries soon."""
    seconds = outbox._wait(attempts).total_seconds()
    assert 0.25 <= seconds <= outbox.LONGEST_WAIT
    assert seconds <= 0.5 * 2 ** min(attempts, 20)


async def _fine(_job: Job) -> None:
    """A handler that has nothing to say."""
