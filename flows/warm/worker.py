"""The warm worker, a Prefect worker of type ``lastgood``: it learns of a run at once, and a child that waits runs it.

Everything that Prefect's process worker gives stays: one process a run, logs in the UI, cancellation, crash detection,
a limit, a health endpoint. Only how a process comes to be is different, so it is that worker with another starter.
"""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path
from typing import Any
from uuid import UUID

import anyio
import anyio.abc
import certifi
from prefect.client.schemas.objects import FlowRun
from prefect.client.schemas.responses import DeploymentResponse
from prefect.events.clients import get_events_subscriber
from prefect.events.filters import EventAnyResourceFilter, EventFilter, EventNameFilter
from prefect.flows import load_flow_from_flow_run
from prefect.runner._control_channel import ControlChannel
from prefect.runner._flow_run_executor import FlowRunExecutorContext
from prefect.runner._process_manager import ProcessHandle
from prefect.settings import Settings, get_current_settings
from prefect.utilities.processutils import sanitize_subprocess_env
from prefect.workers.process import ProcessJobConfiguration, ProcessWorker, ProcessWorkerResult
from pydantic import PrivateAttr

from flows.warm.client import Child, ForkServer
from flows.warm.reads import read_once
from incidents.busy import ask_again
from incidents.settings import settings

#: The events after which there may be a run to start.
WAKING = [f"prefect.flow-run.{state}" for state in ("Scheduled", "AwaitingRetry", "Resuming")]

#: An event can arrive before what it tells of can be read: after these many seconds it is looked for again.
AGAIN = (0.0, 0.02, 0.05, 0.15, 0.4, 1.0)

#: For how long runs under way may go on when the worker is asked to end, in seconds.
GRACE = 60.0

#: How long after a run was taken up its labels are set, in seconds.
LABELS_AFTER = 2

#: The wait before the stream of events is opened again after it broke, in seconds. Each time the worker looks, too.
REOPEN = 1.0

_CHDIR = "prefect.deployments.steps.set_working_directory"


class WarmJobConfiguration(ProcessJobConfiguration):
    """A process worker's, and where the flow's code is, which Prefect has read by then anyway."""

    _deployment: DeploymentResponse | None = PrivateAttr(default=None)

    def prepare_for_flow_run(self, flow_run: FlowRun, deployment: Any = None, *others: Any, **named: Any) -> None:
        """Keep the deployment as well."""
        super().prepare_for_flow_run(flow_run, deployment, *others, **named)
        self._deployment = deployment

    @classmethod
    def _base_environment(cls) -> dict[str, str]:
        return dict(_told(get_current_settings()))

    @property
    def imported(self) -> tuple[str, str | None] | None:
        """The flow's module and function, and the folder to be in, where nothing has to be fetched first."""
        found = self._deployment
        if found is None or not found.entrypoint or "/" in found.entrypoint or ".py:" in found.entrypoint:
            return None
        steps = found.pull_steps or []
        if any(list(step) != [_CHDIR] for step in steps):
            return None
        folders = [str(step[_CHDIR]["directory"]) for step in steps]
        return found.entrypoint, folders[-1] if folders else None


class WarmWorker(ProcessWorker):
    """Runs each flow in a process forked from one that has imported everything."""

    type = "lastgood"
    job_configuration = WarmJobConfiguration
    _description = "Execute flow runs in processes forked from one that has imported everything already."
    _display_name = "lastgood (warm)"

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.forks = ForkServer(list(settings().preload), _environment)
        self._context: FlowRunExecutorContext | None = None
        self._wake = anyio.Event()
        self._polling = anyio.Lock()

    async def setup(self) -> None:
        """Start the fork server first: it takes the longest."""
        self.forks.start()
        await super().setup()
        assert self._runs_task_group is not None
        self._context = await self._exit_stack.enter_async_context(FlowRunExecutorContext())
        for client in (self.client, self._context.client):
            ask_again(client._client)
        read_once(self.client)
        for loop in (self._listen, self._poll_when_woken):
            self._runs_task_group.start_soon(self._until_teardown, loop)

    async def teardown(self, *exc_info: Any) -> None:
        """Take nothing new, let runs under way end, and then let go of everything."""
        for scope in list(self._scheduled_task_scopes):
            scope.cancel()
        assert self._context is not None
        with anyio.move_on_after(GRACE):
            while self._context.process_manager.flow_run_ids():  # noqa: ASYNC110  # Prefect tells of no end
                await anyio.sleep(0.1)
        await super().teardown(*exc_info)
        self.forks.stop()

    async def run(
        self,
        flow_run: FlowRun,
        configuration: ProcessJobConfiguration,
        task_status: anyio.abc.TaskStatus[int] | None = None,
    ) -> ProcessWorkerResult:
        """Run a flow run in a child; with a command of the work pool's own, as the process worker does."""
        assert isinstance(configuration, WarmJobConfiguration)
        if configuration._command_configured:
            return await super().run(flow_run, configuration, task_status)
        assert self._context is not None
        starter = _Starter(self.forks, configuration, self._context.control_channel)
        executor = self._context.create_executor(
            flow_run, starter, resolve_flow=load_flow_from_flow_run, propose_submitting=False
        )
        execution = await executor.submit(_Pid(task_status or anyio.TASK_STATUS_IGNORED))
        if execution is None:
            raise RuntimeError("the flow run's process could not be started")
        status = execution.status_code
        if status is None:  # nobody saw it end
            state = (await self.client.read_flow_run(flow_run.id)).state
            status = 0 if state is not None and (state.is_final() or state.is_paused()) else 1
        return ProcessWorkerResult(status_code=status, identifier=str(execution.handle.pid))

    async def get_and_submit_flow_runs(self) -> list[FlowRun]:
        """Look for runs; never twice at a time."""
        async with self._polling:
            return await super().get_and_submit_flow_runs()

    async def _propose_submitting_state(self, flow_run: FlowRun) -> None:
        """Nothing: a child has the run before anybody could see that it is being submitted."""

    async def _give_worker_labels_to_flow_run(self, flow_run_id: UUID) -> None:
        """Say in the UI who runs it: a moment later, because no run has to wait for that."""

        async def label() -> None:
            try:
                await super(WarmWorker, self)._give_worker_labels_to_flow_run(flow_run_id)
            except Exception as error:
                self._logger.debug("Run %s got no labels: %s", flow_run_id, error)

        await self._schedule_task(LABELS_AFTER, label)

    def _release_limit_slot(self, flow_run_id: Any) -> None:
        full = self._limiter is not None and self._limiter.available_tokens == 0
        super()._release_limit_slot(flow_run_id)
        if full:  # there may be something that had no room
            self._wake.set()

    async def _poll_when_woken(self) -> None:
        while True:
            await self._wake.wait()
            self._wake = anyio.Event()
            for wait in AGAIN:
                await anyio.sleep(wait)
                if await self._look():
                    break

    async def _look(self) -> bool:
        """Look for runs; whether another look just now is of no use."""
        try:
            return bool(await self.get_and_submit_flow_runs())
        except Exception as error:  # the API is away: the worker's own loop goes on polling
            self._logger.debug("Polling failed: %s", error)
            return True

    async def _listen(self) -> None:
        """Hear from Prefect's stream of events that there is a run to start."""
        while True:
            if self._work_pool is not None:
                pool = EventAnyResourceFilter(id=[f"prefect.work-pool.{self._work_pool.id}"])
                wanted = EventFilter(event=EventNameFilter(name=WAKING), any_resource=pool)
                try:
                    async with get_events_subscriber(filter=wanted, reconnection_attempts=0) as events:
                        self._wake.set()
                        async for _ in events:
                            self._wake.set()
                except Exception as error:
                    self._logger.debug("The stream of events broke: %s", error)
            await anyio.sleep(REOPEN)
            await self._look()

    async def _until_teardown(self, work: Any) -> None:
        with anyio.CancelScope() as scope:
            self._scheduled_task_scopes.add(scope)
            await work()


class _Pid:
    """Tells Prefect's worker the process's number, where its executor would tell the process."""

    def __init__(self, status: anyio.abc.TaskStatus[int]) -> None:
        self._status = status

    def started(self, handle: ProcessHandle | None = None) -> None:
        assert handle is not None
        assert handle.pid is not None
        self._status.started(handle.pid)


class _Starter:
    """Starts the process of a run, as Prefect's ``ProcessStarter`` protocol has it: by handing it to a child."""

    def __init__(self, forks: ForkServer, configuration: WarmJobConfiguration, channel: ControlChannel) -> None:
        self._forks, self._configuration, self._channel = forks, configuration, channel

    async def start(self, flow_run: FlowRun, task_status: Any = anyio.TASK_STATUS_IGNORED) -> None:
        """Come back when the process has ended."""
        child: Child = await self._forks.run(str(flow_run.id), self._environment(flow_run), self._directory())
        task_status.started(ProcessHandle(child))  # type: ignore[arg-type]  # it asks for a pid and a returncode
        await child.wait()

    def _environment(self, flow_run: FlowRun) -> dict[str, str]:
        """What ``prefect.runner``'s own starter gives to a new interpreter."""
        env: dict[str, str | None] = {**os.environ, **self._configuration.env, **_prefects()}
        port, token = self._channel.register(flow_run.id)
        env |= {
            "PREFECT__FLOW_RUN_ID": str(flow_run.id),
            "PREFECT__ENABLE_CANCELLATION_AND_CRASHED_HOOKS": "false",
            "PREFECT__CONTROL_PORT": str(port),
            "PREFECT__CONTROL_TOKEN": token,
        }
        if self._configuration.imported:
            env["PREFECT__FLOW_ENTRYPOINT"] = self._configuration.imported[0]
        return sanitize_subprocess_env(env)

    def _directory(self) -> str | None:
        chosen = self._configuration.working_dir or (self._configuration.imported or (None, None))[1]
        return str(chosen) if chosen and Path(chosen).is_dir() else None


def _prefects() -> dict[str, str]:
    """Prefect's settings of this worker, from wherever it has them, and two that let a run begin sooner.

    Prefect reads all certificates anew for every client, some 20 ms each, and a run makes four. Where its address has
    no TLS none is needed, and a file with one will do. And every run asks twice whether the server's version fits,
    which this worker has asked.
    """
    found = get_current_settings()
    given = {"PREFECT_CLIENT_SERVER_VERSION_CHECK_ENABLED": "false"}
    given |= _told(found)
    if (found.api.url or "").startswith("http://") and "PREFECT_API_SSL_CERT_FILE" not in given:
        given["PREFECT_API_SSL_CERT_FILE"] = _one_certificate()
    return given


#: The settings that were told last, and as what.
_last: tuple[Settings, dict[str, str]] | None = None


def _told(found: Settings) -> dict[str, str]:
    """Settings as variables of an environment. Telling them takes Prefect 20 ms, and a run needs them twice."""
    global _last  # noqa: PLW0603
    if _last is None or _last[0] is not found:
        _last = found, found.to_environment_variables(exclude_unset=True)
    return _last[1]


@cache
def _one_certificate() -> str:
    end = "-----END CERTIFICATE-----\n"
    file = settings().home / "one-certificate.pem"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(Path(certifi.where()).read_text(encoding="utf-8").partition(end)[0] + end, encoding="utf-8")
    return str(file)


def _environment() -> dict[str, str]:
    """The environment of every run for which its work pool says nothing more."""
    return {**os.environ, **_prefects()}
