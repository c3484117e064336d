"""From the moment a run is scheduled until its flow's first line, with all imports."""

from __future__ import annotations

import asyncio
import os
import secrets
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from uuid import UUID

import httpx

from benchmarks.harness import compare
from demo import servers
from demo.process import Server
from demo.stage import ROOT

ABOUT = """
A flow that imports MLflow, Great Expectations and boto3 is asked for through Prefect's API, and writes down when its
first line ran. Prefect's server is on SQLite; the process worker and `flow.serve()` look for work every second, where
their defaults are 15 and 10 s. Each run has a process of its own on every side.
"""
TARGETS = {("first line", "process worker"): 12.0, ("first line", "flow.serve()"): 12.0}
REASONS: dict[tuple[str, str], str] = {}

#: Runs of each side.
N = 4

#: What ``flow.serve()`` is, as its documentation has it.
SERVE = "from benchmarks.first_line import first_line; first_line.serve('served', pause_on_shutdown=False)"


def run() -> None:
    """Measure the three in turns."""
    with tempfile.TemporaryDirectory(prefix="lastgood-bench-") as name, _three(Path(name)) as deployed:
        sides = {side: partial(_once, deployment, Path(name)) for side, deployment in deployed.items()}
        compare("start", "first line", "s", sides.pop("ours"), sides, n=N, warmup=1)


@contextmanager
def _three(folder: Path) -> Iterator[dict[str, UUID]]:
    """A Prefect server with three ways to run one flow; the deployment of each."""
    servers.isolate(folder)
    with ExitStack() as stack:
        prefect = stack.enter_context(servers.prefect(folder))
        os.environ.update(prefect.env)
        code = {"PYTHONPATH": str(ROOT)}
        workers = [servers.worker(folder, "warm"), servers.process_worker(folder, "stock")]
        for worker in workers:
            worker.settings |= code
            stack.enter_context(worker)
        served = Server(
            name="flow.serve",
            argv=[sys.executable, "-c", SERVE],
            log=folder / "serve.log",
            ready=partial(_deployed, prefect.url),
            settings={**code, "PREFECT_RUNNER_POLL_FREQUENCY": "1"},
        )
        stack.enter_context(served)
        yield asyncio.run(_deploy())


def _deployed(url: str) -> bool:
    return httpx.get(f"{url}/api/deployments/name/first-line/served").is_success


async def _deploy() -> dict[str, UUID]:
    from prefect.client.orchestration import get_client

    async with get_client() as client:
        flow = await client.create_flow_from_name("first-line")
        entrypoint = "benchmarks.first_line:first_line"
        pools = {"ours": "warm", "process worker": "stock"}
        found = {
            side: await client.create_deployment(flow, pool, work_pool_name=pool, entrypoint=entrypoint, pull_steps=[])
            for side, pool in pools.items()
        }
        served = await client.read_deployment_by_name("first-line/served")
        return {**found, "flow.serve()": served.id}


def _once(deployment: UUID, folder: Path) -> float:
    """Ask for one run, and return the seconds until its first line."""
    file = folder / secrets.token_hex(8)
    began = time.time()
    asyncio.run(_ask(deployment, file))
    end = began + 60
    while time.time() < end:
        if file.exists() and (written := file.read_text()):
            time.sleep(1)  # the run ends, and whoever waits for the next one is ready
            return float(written) - began
        time.sleep(0.005)
    raise TimeoutError("the flow did not begin within 60 s")


async def _ask(deployment: UUID, file: Path) -> None:
    from prefect.client.orchestration import get_client

    async with get_client() as client:
        await client.create_flow_run_from_deployment(deployment, parameters={"file": str(file)})
