"""A child of the fork server: made ready first, then given one run, which it executes as Prefect's own engine does."""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import contextvars
import json
import os
import signal
import sys
import threading
import traceback
from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NoReturn
from uuid import UUID

from prefect import flow_engine
from prefect._flow_run_suspension import FlowRunSuspensionRequest, observe_flow_run_suspension
from prefect._internal.control_listener import configure_from_env
from prefect.context import AsyncClientContext, refresh_global_settings_context
from prefect.engine import _drive_run_flow_result, handle_engine_signals
from prefect.flow_engine import load_flow, run_flow
from prefect.logging.loggers import flow_run_logger

from flows import ready
from incidents.busy import ask_again

#: Libraries that start threads when they are imported, unless told not to (the last one is Arrow's allocator). A
#: person's own setting wins.
ONE_THREAD = {
    "OPENBLAS_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "JE_ARROW_MALLOC_CONF": "background_thread:false",
}


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
    made, stamped = dict(os.environ), None
    with contextlib.suppress(Exception):  # what can't be made ready the run makes itself, or says why not
        runner.run(_connect())
        stamped = ready.ready()
    try:
        job = json.loads(pipe.recv_bytes())
    except EOFError:  # the server is gone, and nothing was asked for
        return
    pipe.close()
    os.environ.clear()
    os.environ.update(job["env"])
    if _lasting(job["env"]) != _lasting(made):  # a work pool's own environment: what was made ready does not fit
        refresh_global_settings_context()
        runner = asyncio.Runner()
        ready.forget()
    elif ready.stamp() != stamped:
        ready.forget()
    _execute(job, runner)


async def _connect() -> None:
    """Make the client that the flow's engine will use, and open its connection.

    What it asks first is a POST, by which it learns as well whether the server wants a CSRF token with those.
    """
    found = await AsyncClientContext().__aenter__()
    ask_again(found.client._client)
    await found.client.read_flows(limit=1)


def _execute(job: dict[str, Any], runner: asyncio.Runner) -> None:
    """Run a flow run."""
    if job["directory"]:
        os.chdir(job["directory"])
    configure_from_env()
    flow_engine.observe_flow_run_suspension = _observed_beside  # type: ignore[assignment,attr-defined]  # Prefect's own
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


@contextlib.contextmanager
def _observed_beside(run_id: UUID, request: FlowRunSuspensionRequest, **named: Any) -> Iterator[None]:
    """Prefect's watch for a suspension from outside, which first looks whether there is one already, in a thread.

    Prefect's engine waits until that has connected before it begins the flow, some 40 ms; the flow need not: it is
    stopped at its next task, as by any suspension that comes a moment later.
    """
    ended = threading.Event()

    def watch() -> None:
        with observe_flow_run_suspension(run_id, request, **named):
            ended.wait()

    context = contextvars.copy_context()
    watching = threading.Thread(target=context.run, args=(watch,), daemon=True)
    watching.start()
    try:
        yield
    finally:
        ended.set()
        watching.join(timeout=2)


async def _read(run_id: UUID) -> Any:
    async with AsyncClientContext.get_or_create() as found:
        return await found.client.read_flow_run(run_id)


def _lasting(env: dict[str, str]) -> dict[str, str]:
    """An environment without what Prefect says to one run only, and what the fork server said to libraries."""
    return {name: value for name, value in env.items() if not name.startswith("PREFECT__") and name not in ONE_THREAD}


def _leave(status: int) -> NoReturn:
    """Send what waits to be sent, and end without tearing down what the fork server has imported."""
    try:
        threading._shutdown()  # type: ignore[attr-defined]  # as multiprocessing ends a forked process
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        os._exit(status)
