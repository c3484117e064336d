"""A child of the fork server: made ready first, then given one run, which it executes as Prefect's own engine does."""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import json
import os
import signal
import sys
import threading
import traceback
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NoReturn
from uuid import UUID


def live(pipe: Connection) -> NoReturn:
    """Get ready, wait for a run, execute it, and end as a process that had been started for it would."""
    status = 1
    try:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        os.setsid()  # a terminal's Ctrl-C is the worker's business
        with contextlib.suppress(OSError):  # where memory runs out, one run dies, and not what all of them come from
            Path("/proc/self/oom_score_adj").write_text("500")
        _wait_and_execute(pipe)
        status = 0
    except SystemExit as error:
        status = error.code if isinstance(error.code, int) else int(error.code is not None)
    except BaseException:
        traceback.print_exc()
    finally:
        _leave(status)


def _wait_and_execute(pipe: Connection) -> None:
    # One loop and one context for both, so that the run finds the client that was connected before it came.
    runner = asyncio.Runner()
    with contextlib.suppress(Exception):  # Prefect is away: then the run makes its own connection, or says so
        runner.run(_connect())
    try:
        job = json.loads(pipe.recv_bytes())
    except EOFError:  # the server is gone, and nothing was asked for
        return
    pipe.close()
    if _settings(job["env"]) != _settings(dict(os.environ)):  # a work pool's own: what was made ready does not fit
        runner = asyncio.Runner()
    _execute(job, runner)


async def _connect() -> None:
    """Make the client that the flow's engine will use, and open its connection."""
    from prefect.context import AsyncClientContext

    found = await AsyncClientContext().__aenter__()
    await found.client.hello()


def _execute(job: dict[str, Any], runner: asyncio.Runner) -> None:
    """Run a flow run, with the environment that its worker gives it."""
    from prefect._internal.control_listener import configure_from_env
    from prefect.context import refresh_global_settings_context
    from prefect.engine import _drive_run_flow_result, handle_engine_signals
    from prefect.flow_engine import load_flow, run_flow
    from prefect.logging.loggers import flow_run_logger

    same = _settings(job["env"]) == _settings(dict(os.environ))
    os.environ.clear()
    os.environ.update(job["env"])
    if not same:
        refresh_global_settings_context()
    if job["directory"]:
        os.chdir(job["directory"])
    configure_from_env()
    run_id = UUID(job["run"])
    with handle_engine_signals(run_id):
        flow_run = runner.run(_read(run_id))
        logger: Any = flow_run_logger(flow_run=flow_run)
        try:
            flow = load_flow(flow_run)
        except Exception:
            logger.exception("The flow could not be loaded")
            raise
        work: Any = run_flow(flow, flow_run=flow_run, error_logger=logger)
        if asyncio.iscoroutine(work):
            runner.run(work)
        else:  # a plain function has run by now; a generator is still to be driven
            _drive_run_flow_result(flow, work)


async def _read(run_id: UUID) -> Any:
    from prefect.context import AsyncClientContext

    async with AsyncClientContext.get_or_create() as found:
        return await found.client.read_flow_run(run_id)


def _settings(env: dict[str, str]) -> dict[str, str]:
    """Prefect's settings in an environment, without what is said to one run only (``PREFECT__...``)."""
    return {name: value for name, value in env.items() if name.startswith("PREFECT_") and name[8:9] != "_"}


def _leave(status: int) -> NoReturn:
    """Send what waits to be sent, and end without tearing down what the fork server has imported."""
    try:
        threading._shutdown()  # type: ignore[attr-defined]  # as multiprocessing ends a forked process
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        os._exit(status)
