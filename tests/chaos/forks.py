"""Forks the processes that are to be killed: a section, the reconciler, the web process. Everything is imported once.

Read from stdin, a JSON object a line: what to ``do``, with ``environment`` on top of ours, and the ``line`` to tell at
every write to the ledger. Answers ``{"id": N, "pid": P}`` at once, and ``{"id": N, "status": S}`` when it has ended.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import os
import select
from typing import Any
from uuid import UUID

from flows.warm.server import one_thread, preload
from incidents.ledger import ledger
from incidents.settings import settings
from tests.chaos.telling import LINE, tell_of_writes


def section(job: dict[str, Any]) -> None:
    """Run a section of the playbook, as the worker's child does."""
    run = getattr(importlib.import_module(f"flows.{job['section']}"), job["section"])
    asyncio.run(run(job["incident"]))


def settle(_: dict[str, Any]) -> None:
    """Reconcile once. Nothing is deployed here, so the run that a job asked for is one that Prefect does not have."""
    from flows.reconcile import reconcile
    from incidents import launch

    async def none(*_: object, **__: object) -> str:
        return str(UUID(int=0))

    launch.launch = none
    asyncio.run(reconcile(grace_seconds=0))


def web(job: dict[str, Any]) -> None:
    """Take alerts in; the outbox is worked off by the test."""
    from incidents.intake.app import create_app, server
    from incidents.playbook import playbook

    server(create_app(ledger(), playbook(), handlers={}), port=job["port"]).run()


WORK = {"section": section, "settle": settle, "web": web}


def child(job: dict[str, Any]) -> None:
    """Do one job in this process, and end."""
    code = 1
    try:
        with open(job["log"], "ab", buffering=0) as log, open(os.devnull) as nothing:  # noqa: PTH123  # numbers are what is needed
            os.dup2(nothing.fileno(), 0)
            os.dup2(log.fileno(), 1)
            os.dup2(log.fileno(), 2)
        os.environ.update({**job["environment"], LINE: job["line"]})
        settings.cache_clear()
        ledger.cache_clear()
        ledger()  # the tables are there before anybody is killed
        tell_of_writes()
        WORK[job["do"]](job)
        code = 0
    except BaseException as error:
        print(f"{type(error).__name__}: {error}", flush=True)
    finally:
        os._exit(code)


def main() -> None:
    """Do as stdin says, until it ends."""
    one_thread()
    preload([*settings().preload, "incidents.intake.app", "pyarrow.parquet", "pyarrow._acero"])
    from incidents.playbook import playbook
    from remediations import clients

    for made in (clients.s3, clients.registry, clients.http, playbook):  # as a warm child has them before its run
        made()
    say({"ready": True})
    running: dict[int, int] = {}
    waiting = b""
    while True:
        if select.select([0], [], [], 0.02 if running else 1)[0]:
            got = os.read(0, 65536)
            if not got:
                return
            waiting += got
        while b"\n" in waiting:
            line, _, waiting = waiting.partition(b"\n")
            job = json.loads(line)
            pid = os.fork()
            if not pid:
                child(job)
            running[pid] = job["id"]
            say({"id": job["id"], "pid": pid})
        while running:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if not pid:
                break
            say({"id": running.pop(pid), "status": os.waitstatus_to_exitcode(status)})


def say(message: dict[str, Any]) -> None:
    """Tell the test."""
    os.write(1, json.dumps(message).encode() + b"\n")


if __name__ == "__main__":
    main()
