"""``python -m flows.warm``, which is ``lastgood work``: run what Prefect asks for, as soon as it asks."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from contextlib import suppress
from typing import Annotated

import typer

#: A work queue each; Prefect takes a lower priority first. What a person starts goes right after severity 1.
QUEUES = {"severity-1": 1, "default": 2, "severity-2": 3, "severity-3": 4, "severity-4": 5}


def main(
    pool: Annotated[str, typer.Option(help="The work pool; it is made where there is none.")] = "lastgood",
    name: Annotated[str, typer.Option(help="The worker's name in Prefect.")] = f"lastgood-{socket.gethostname()}",
    limit: Annotated[int, typer.Option(min=1, help="So many runs at once.")] = 4,
    poll: Annotated[float, typer.Option(min=0.1, help="Seconds between looks where no event tells of a run.")] = 5,
    health_port: Annotated[int, typer.Option(min=0, max=65_535, help="GET /health on loopback; 0: nowhere.")] = 0,
) -> None:
    """Execute the flows, each in a process of its own that was ready before it was needed."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's `&` leaves it ignored
    os.environ["PREFECT_WORKER_QUERY_SECONDS"] = str(poll)
    os.environ["PREFECT_WORKER_WEBSERVER_HOST"] = "127.0.0.1"
    os.environ["PREFECT_WORKER_WEBSERVER_PORT"] = str(health_port)
    with suppress(KeyboardInterrupt, asyncio.CancelledError):
        asyncio.run(_work(pool, name, limit, health=bool(health_port)))


async def _work(pool: str, name: str, limit: int, *, health: bool) -> None:
    from prefect.utilities.processutils import setup_signal_handlers_worker

    from flows.warm.worker import WarmWorker

    setup_signal_handlers_worker(os.getpid(), "the worker", print)
    await _prepare(pool)
    await WarmWorker(work_pool_name=pool, name=name, limit=limit).start(with_healthcheck=health)


async def _prepare(pool: str) -> None:
    """Make the work pool and its queues where they are missing."""
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.actions import WorkPoolCreate
    from prefect.exceptions import ObjectAlreadyExists

    from flows.warm.worker import WarmWorker

    async with get_client() as client:
        template = WarmWorker.get_default_base_job_template()
        with suppress(ObjectAlreadyExists):
            await client.create_work_pool(WorkPoolCreate(name=pool, type=WarmWorker.type, base_job_template=template))
        found = {queue.name: queue for queue in await client.read_work_queues(work_pool_name=pool)}
        for queue, priority in QUEUES.items():
            if queue not in found:
                with suppress(ObjectAlreadyExists):
                    await client.create_work_queue(queue, work_pool_name=pool, priority=priority)


if __name__ == "__main__":
    typer.run(main)
