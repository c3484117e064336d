"""Flows for the tests of the warm worker, each with one way to behave."""

from __future__ import annotations

import asyncio
import json
import os
import resource
import signal
import threading
import time
from pathlib import Path

from prefect import flow, get_run_logger, task

from incidents.playbook import playbook


@flow
async def tell(file: str) -> None:
    """Write down which process it runs in."""
    seen = {
        "pid": os.getpid(),
        "parent": os.getppid(),
        "session": os.getsid(0),
        "oom": Path("/proc/self/oom_score_adj").read_text().strip(),
        "variable": os.environ.get("OF_THIS_RUN"),
        "threads_of_parent": len(list(Path(f"/proc/{os.getppid()}/task").iterdir())),
        "at": time.time(),
    }
    get_run_logger().info("it is %s", seen["pid"])
    Path(file).write_text(json.dumps(seen))


@flow
async def book(file: str) -> None:
    """Write down which playbook it goes by."""
    Path(file).write_text(playbook().digest)


@flow
def plain(file: str) -> None:
    """A flow that is not async."""
    Path(file).write_text(threading.current_thread().name)


@flow
async def last(file: str, seconds: float) -> None:
    """Say that it has begun, and go on for a while."""
    Path(file).write_text(str(os.getpid()))
    await asyncio.sleep(seconds)
    Path(file).with_suffix(".end").write_text("done")


@flow
async def hold(file: str) -> None:
    """Say that it has begun, and go on until it is let go."""
    Path(file).write_text(str(os.getpid()))
    while not Path(file).with_suffix(".go").exists():  # noqa: ASYNC110  # another process makes the file
        await asyncio.sleep(0.05)


@flow
async def fall(file: str) -> None:
    """Die as a process does that the system kills."""
    Path(file).write_text(str(os.getpid()))
    os.kill(os.getpid(), signal.SIGKILL)


@flow
async def grow(file: str) -> None:
    """Ask for more memory than there is for it."""
    Path(file).write_text(str(os.getpid()))
    resource.setrlimit(resource.RLIMIT_AS, (8 << 30, 8 << 30))
    bytearray(16 << 30)


@flow
async def steps(file: str) -> None:
    """Say that it has begun, and take one small step after another."""

    @task
    async def step() -> None:
        await asyncio.sleep(0.1)

    Path(file).write_text(str(os.getpid()))
    for _ in range(600):
        await step()
