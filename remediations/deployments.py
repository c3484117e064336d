"""A job that is a run of a Prefect deployment of the team's own. Its name makes the run's idempotency key.

So the same name is the same run: asked for twice, also after a crash, it runs once. Whoever names jobs puts into
the name whose they are, as several ledgers may share a Prefect server.
"""

from __future__ import annotations

import asyncio
import contextlib

from pydantic import JsonValue

from incidents import launch
from remediations.base import Conflict

#: How long a run that is told to stop may take to end, in seconds: until then it can still make something.
STOPS = 60.0


def run(deployment: str, job: str, parameters: dict[str, str], seconds: float) -> None:
    """Start the job unless it was, and wait until it has ended, or for so long: then it goes on, and nobody waits.

    Raises:
        Conflict: Prefect is away, has no such deployment, or refused the parameters.
    """
    asyncio.run(_run(deployment, job, parameters, seconds))


def under_way(job: str) -> bool:
    """Whether a run of that name was started and has not ended."""
    return asyncio.run(_under_way(job))


def stop(job: str) -> None:
    """End the run of that name, where it goes on, and wait until it has ended.

    Raises:
        TimeoutError: it goes on all the same, and may still make something.
    """
    asyncio.run(_stop(job))


async def _run(deployment: str, job: str, parameters: dict[str, str], seconds: float) -> None:
    given: dict[str, JsonValue] = {**parameters}
    try:
        started = await launch.launch(deployment, given, key=job, name=job)
    except launch.NotLaunched as error:
        raise Conflict(f"{job} was not started: {error}") from error
    with contextlib.suppress(TimeoutError, launch.NotLaunched):  # whoever verifies finds it under way, or cannot tell
        await launch.wait(started, seconds)


async def _under_way(job: str) -> bool:
    started = await launch.find(job)
    return started is not None and await launch.alive(started)


async def _stop(job: str) -> None:
    started = await launch.find(job)
    if started is not None and await launch.alive(started):
        await launch.cancel(started)
        await launch.wait(started, STOPS)
