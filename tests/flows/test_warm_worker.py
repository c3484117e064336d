"""The warm worker on a real Prefect server: what the process worker gives, and what can go wrong around it."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pytest
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.objects import FlowRun
from prefect.states import Cancelling, Suspended

from demo import servers
from demo.process import executable
from demo.servers import Server, free_port
from incidents.settings import Settings
from tests.flows.kit import ROOT

#: The flows below, and what every child needs to make its clients; without that each would import it by itself.
PRELOAD = ["tests.flows.warm_flows", *(name for name in Settings().preload if name.startswith(("mlflow", "boto3")))]

#: A module that is changed while a worker runs it.
CHANGING = """from pathlib import Path
from prefect import flow

@flow
async def changing(file: str):
    Path(file).write_text('{}')
"""


def until(true: Callable[[], Any], what: str, seconds: float = 60) -> Any:
    """Wait for something to become true, and return it."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        found = true()
        if found:
            return found
        time.sleep(0.05)
    raise AssertionError(f"not within {seconds:.0f} s: {what}")


def gone(pid: int, who: str = "its process") -> None:
    """Wait until a process has ended."""
    until(lambda: not Path(f"/proc/{pid}").exists(), f"{who} has ended")


class Pool:
    """A work pool with one warm worker, and deployments of the flows in ``warm_flows``."""

    def __init__(self, client: SyncPrefectClient, folder: Path, worker: Server, name: str, health: str) -> None:
        self.client, self.folder, self.worker, self.name, self.health = client, folder, worker, name, health

    def start(self, function: str, module: str = "tests.flows.warm_flows", **given: Any) -> tuple[UUID, Path]:
        """Ask for a run; returns its id and the file that it is to write."""
        file = self.folder / secrets.token_hex(4)
        queue, env = given.pop("queue", None), given.pop("env", {})
        flow = self.client.create_flow_from_name(function)
        deployment = self.client.create_deployment(
            flow, f"{function}-{self.name}", work_pool_name=self.name, entrypoint=f"{module}:{function}", pull_steps=[]
        )
        run = self.client.create_flow_run_from_deployment(
            deployment,
            parameters={"file": str(file), **given},
            work_queue_name=queue,
            job_variables={"env": env} if env else None,
        )
        return run.id, file

    def ended(self, run: UUID) -> FlowRun:
        """The run, once it has ended."""

        def final() -> FlowRun | None:
            found = self.client.read_flow_run(run)
            return found if found.state and found.state.is_final() else None

        found = until(final, f"run {run} ended; {self.worker.tail()}")
        assert isinstance(found, FlowRun)
        return found

    def state(self, run: UUID) -> str | None:
        """The name of the state that the run ended in."""
        return self.ended(run).state_name

    def written(self, file: Path) -> dict[str, Any]:
        """What ``tell`` wrote."""
        until(file.exists, f"{file} is there; {self.worker.tail()}")
        found: dict[str, Any] = json.loads(until(file.read_text, "it is written"))
        return found


def worker(folder: Path, pool: str, *more: str) -> Server:
    """A warm worker that can import the tests."""
    made = servers.worker(folder, pool)
    made.argv += more
    made.settings |= {"PYTHONPATH": str(ROOT), "LASTGOOD_PRELOAD": json.dumps(PRELOAD)}
    return made


@pytest.fixture(scope="module")
def pool(prefect_server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pool]:
    """A worker for the tests that leave it as they find it."""
    folder, name, port = tmp_path_factory.mktemp("warm"), f"warm-{secrets.token_hex(3)}", free_port()
    with worker(folder, name, "--health-port", str(port)) as running, get_client(sync_client=True) as client:
        yield Pool(client, folder, running, name, f"http://127.0.0.1:{port}/health")


@pytest.fixture(scope="module")
def narrow_pool(prefect_server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pool]:
    """A worker with room for one run, and under it a module and a playbook that a test can change."""
    folder, name = tmp_path_factory.mktemp("narrow"), f"warm-{secrets.token_hex(3)}"
    (folder / "lastgood_changing.py").write_text(CHANGING.format("nothing"))
    (folder / "playbook.yaml").write_text((ROOT / "playbook.yaml").read_text())
    running = worker(folder, name, "--limit", "1")
    running.settings |= {
        "PYTHONPATH": f"{ROOT}:{folder}",
        "LASTGOOD_PRELOAD": json.dumps([*PRELOAD, "lastgood_changing"]),
        "LASTGOOD_PLAYBOOK": str(folder / "playbook.yaml"),
        "LASTGOOD_HOME": str(folder),
    }
    with get_client(sync_client=True) as client:
        yield Pool(client, folder, running, name, "")
    running.stop()


@pytest.fixture
def own_pool(narrow_pool: Pool) -> Iterator[Pool]:
    """The same for one test alone, which may end the worker and kill its fork server."""
    if not narrow_pool.worker.running:
        narrow_pool.worker.start().wait_ready()
    yield narrow_pool
    if not narrow_pool.worker.running:
        narrow_pool.worker.stop()


def test_a_run_has_a_process_of_its_own_forked_from_one_thread(pool: Pool) -> None:
    """Two runs are two processes and sessions, children of one process with one thread, and die before it does."""
    first, second = (pool.written(pool.start("tell")[1]) for _ in range(2))
    assert first["pid"] != second["pid"]
    assert first["parent"] == second["parent"] != pool.worker.pid
    assert first["session"] == first["pid"]
    assert first["threads_of_parent"] == 1, "a fork copies one thread only, so locks of others would stay locked"
    assert int(first["oom"]) > 0, "where memory runs out, the run dies and not the worker"


def test_what_is_imported_beforehand_starts_no_thread_and_connects_to_nothing() -> None:
    """All that the fork server imports by default leaves it one thread and no socket: a fork copies neither well."""
    code = """
import os
from incidents.settings import settings
from flows.warm import server
server.one_thread()
server.preload(list(settings().preload))
kinds = [os.readlink(f"/proc/self/fd/{number}") for number in os.listdir("/proc/self/fd") if number != "3"]
print(len(os.listdir("/proc/self/task")), [kind for kind in kinds if kind.startswith("socket:")])
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "1 []\n"
    assert "could not import" not in done.stderr


def test_a_runs_log_and_labels_are_in_prefect(pool: Pool) -> None:
    """What the flow logs stands in the UI, and so does which worker ran it."""
    from prefect.client.schemas.filters import LogFilter, LogFilterFlowRunId

    run, file = pool.start("tell")
    assert pool.state(run) == "Completed"
    pid = str(pool.written(file)["pid"])
    wanted = LogFilter(flow_run_id=LogFilterFlowRunId(any_=[run]))
    until(lambda: any(pid in log.message for log in pool.client.read_logs(wanted)), "the log has arrived")
    found = pool.client.read_flow_run(run)
    assert found.infrastructure_pid == pid
    until(lambda: "prefect.worker.type" in pool.client.read_flow_run(run).labels, "its labels have arrived")
    assert pool.client.read_flow_run(run).labels["prefect.worker.type"] == "lastgood"


def test_a_work_pools_environment_reaches_the_run(pool: Pool) -> None:
    """A job variable is the run's own, and the next run does not have it; Prefect's settings can be among them."""
    env = {"OF_THIS_RUN": "yes", "PREFECT_LOGGING_LEVEL": "DEBUG"}
    assert pool.written(pool.start("tell", env=env)[1])["variable"] == "yes"
    assert pool.written(pool.start("tell")[1])["variable"] is None


def test_a_plain_function_runs_too(pool: Pool) -> None:
    """Flows that are not async are driven as Prefect drives them, in the main thread."""
    run, file = pool.start("plain")
    assert pool.state(run) == "Completed"
    assert file.read_text() == "MainThread"


def test_a_killed_run_is_crashed_and_the_worker_goes_on(pool: Pool) -> None:
    """A run that the system kills is reported as Crashed, and the next one runs."""
    run, _ = pool.start("fall")
    assert pool.state(run) == "Crashed"
    assert pool.state(pool.start("tell")[0]) == "Completed"


def test_a_run_without_enough_memory_fails_alone(pool: Pool) -> None:
    """A run that asks for more memory than there is fails, and the next one runs."""
    run, _ = pool.start("grow")
    assert pool.state(run) == "Failed"
    assert pool.state(pool.start("tell")[0]) == "Completed"


def test_a_run_can_be_cancelled(pool: Pool) -> None:
    """Cancelled in the UI, its process ends and the run is Cancelled."""
    run, file = pool.start("last", seconds=120)
    until(file.exists, "it has begun")
    pool.client.set_flow_run_state(run, Cancelling())
    assert pool.state(run) == "Cancelled"
    pid = int(file.read_text())
    gone(pid)


def test_a_run_can_be_suspended(pool: Pool) -> None:
    """Suspended in the UI, it stops before its next task, and its process ends."""
    run, file = pool.start("steps")
    pid = int(until(lambda: file.exists() and file.read_text(), "it has begun"))
    pool.client.set_flow_run_state(run, Suspended(timeout_seconds=600), force=True)
    gone(pid)
    assert pool.client.read_flow_run(run).state_name == "Suspended"


def test_a_flow_that_is_not_there_crashes_with_a_reason(pool: Pool) -> None:
    """An entry point that can't be imported is a failed run that says so, and no broken worker."""
    run, _ = pool.start("missing")
    assert pool.state(run) in {"Crashed", "Failed"}


def test_health_is_told_on_loopback(pool: Pool) -> None:
    """The health endpoint answers as Prefect's workers do."""
    assert httpx.get(pool.health).is_success


def test_the_worst_incident_goes_first(own_pool: Pool) -> None:
    """With room for one run, what waits is taken by severity and not by age."""
    _, held = own_pool.start("hold")
    until(held.exists, "the first has begun")
    low = own_pool.start("tell", queue="severity-4")
    critical = own_pool.start("tell", queue="severity-1")
    held.with_suffix(".go").touch()
    assert own_pool.written(critical[1])["at"] < own_pool.written(low[1])["at"]


def test_a_killed_fork_server_is_replaced_and_loses_no_run(own_pool: Pool) -> None:
    """The run under way goes on and ends well, and the next run has a new parent."""
    before = own_pool.written(own_pool.start("tell")[1])["parent"]
    run, file = own_pool.start("last", seconds=3)
    until(file.exists, "it has begun")
    os.kill(before, signal.SIGKILL)
    after, told = own_pool.start("tell")
    assert own_pool.state(run) == "Completed"
    assert file.with_suffix(".end").exists()
    assert own_pool.state(after) == "Completed"
    assert own_pool.written(told)["parent"] != before


def test_a_run_whose_end_nobody_saw_is_crashed(own_pool: Pool) -> None:
    """The fork server is killed, and then the run: it is found dead all the same."""
    parent = own_pool.written(own_pool.start("tell")[1])["parent"]
    run, file = own_pool.start("last", seconds=120)
    until(file.exists, "it has begun")
    os.kill(parent, signal.SIGKILL)
    os.kill(int(until(file.read_text, "its pid is known")), signal.SIGKILL)
    assert own_pool.state(run) == "Crashed"


def test_a_worker_that_is_asked_to_end_lets_its_run_end(own_pool: Pool) -> None:
    """SIGTERM: nothing new is taken, and what is under way ends well."""
    run, file = own_pool.start("last", seconds=3)
    until(file.exists, "it has begun")
    os.kill(own_pool.worker.pid, signal.SIGTERM)
    assert own_pool.state(run) == "Completed"
    assert file.with_suffix(".end").exists()
    until(lambda: not own_pool.worker.running, "the worker has ended")


def test_a_killed_workers_run_goes_on(own_pool: Pool) -> None:
    """SIGKILL of the worker takes nothing from the run, and the idle children go with the fork server."""
    parent = own_pool.written(own_pool.start("tell")[1])["parent"]
    run, file = own_pool.start("last", seconds=3)
    until(file.exists, "it has begun")
    os.kill(own_pool.worker.pid, signal.SIGKILL)
    assert own_pool.state(run) == "Completed"
    gone(parent, "the fork server")
    assert not own_pool.worker.running


def test_changed_code_is_run_by_the_next_run(own_pool: Pool) -> None:
    """What was imported before it changed is imported anew, in the same process with the same children."""
    for says in ("first", "second"):
        (own_pool.folder / "lastgood_changing.py").write_text(CHANGING.format(says))
        run, file = own_pool.start("changing", module="lastgood_changing")
        assert (own_pool.state(run), file.read_text()) == ("Completed", says)


def test_a_changed_playbook_is_read_by_the_next_run(own_pool: Pool) -> None:
    """A child that has read the playbook while it waited does not go by it once the file has changed."""
    playbook = own_pool.folder / "playbook.yaml"
    for line in ("", "# a word more\n"):
        playbook.write_text(playbook.read_text() + line)
        run, file = own_pool.start("book")
        assert own_pool.state(run) == "Completed"
        assert file.read_text() == hashlib.sha256(playbook.read_bytes()).hexdigest()


def test_prefects_own_worker_runs_the_same_deployments(prefect_server: Server, tmp_path: Path) -> None:
    """Nothing in a flow or a deployment knows who runs it."""
    name = f"warm-{secrets.token_hex(3)}"
    made = [executable("prefect"), "--no-prompt", "work-pool", "create", name, "--type", "lastgood"]
    stock = servers.process_worker(tmp_path, name)
    stock.settings["PYTHONPATH"] = str(ROOT)
    subprocess.run(made, check=True, capture_output=True)
    with stock, get_client(sync_client=True) as client:
        pool = Pool(client, tmp_path, stock, name, "")
        run, file = pool.start("tell")
        assert pool.state(run) == "Completed"
        assert pool.written(file)["pid"]


def test_runs_outlive_a_restart_of_prefects_server(pool: Pool, prefect_server: Server) -> None:
    """The server goes away and comes back: the run under way ends well, and the worker takes the next."""
    run, file = pool.start("last", seconds=5)
    until(file.exists, "it has begun")
    prefect_server.stop()
    time.sleep(1)
    prefect_server.start().wait_ready()
    assert pool.state(run) == "Completed"
    assert pool.state(pool.start("tell")[0]) == "Completed"
