"""The servers: on loopback only, gone when they are stopped, and gone when we are."""

from __future__ import annotations

import contextlib
import os
import pwd
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from ipaddress import ip_address
from pathlib import Path

import boto3
import httpx
import pytest
from botocore import UNSIGNED
from botocore.config import Config
from botocore.exceptions import ClientError
from sqlalchemy import create_engine, text

from demo import servers
from demo.servers import NotReady, Server, free_port

#: A server that cannot do anything, for what holds of every server.
SLEEP = [sys.executable, "-c", "import time; print('asleep', flush=True); time.sleep(600)"]

linux = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")


def server(folder: Path, *argv: str, ready: Callable[[], bool] = lambda: True) -> Server:
    """Any command as a server."""
    return Server(name="any", argv=list(argv) or SLEEP, log=folder / "any.log", ready=ready)


def processes(server: Server) -> set[int]:
    """The server and every process below it, whatever group those put themselves into."""
    parents = {}
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError, ValueError):
            parents[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
    found = {server.pid}
    while more := {child for child, parent in parents.items() if parent in found} - found:
        found |= more
    return found


def owners(processes: set[int]) -> set[int]:
    """The user ids of those of the processes that still run."""
    found = set()
    for pid in processes:
        with contextlib.suppress(OSError):
            found.add(Path(f"/proc/{pid}").stat().st_uid)
    assert found
    return found


def addresses(server: Server) -> dict[str, set[str]]:
    """The TCP addresses its processes listen on, and those they are or want to be connected to."""
    inodes, handles = set(), list[Path]()
    for pid in processes(server):
        with contextlib.suppress(OSError):  # a process that has ended since has no more addresses
            handles = list(Path(f"/proc/{pid}/fd").iterdir())
        for handle in handles:
            with contextlib.suppress(OSError):
                inodes.add(str(handle.readlink()).removeprefix("socket:[").removesuffix("]"))
    found: dict[str, set[str]] = {"listens": set(), "connects": set()}
    for table in ("tcp", "tcp6"):
        for row in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            _, local, remote, state, *rest = row.split()
            if rest[5] in inodes:
                found["listens" if state == "0A" else "connects"].add(address(local if state == "0A" else remote))
    return found


def address(word: str) -> str:
    """``0100007F:1F90`` is ``127.0.0.1``: the kernel prints each 32 bits in its own byte order."""
    raw = bytes.fromhex(word.partition(":")[0])
    packed = b"".join(raw[at : at + 4][:: 1 if sys.byteorder == "big" else -1] for at in range(0, len(raw), 4))
    found = ip_address(packed)
    return str(getattr(found, "ipv4_mapped", None) or found)


def alive(pid: int) -> bool:
    """Whether a process runs; a zombie that nobody has reaped does not."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


def soon(condition: Callable[[], bool], seconds: float = 20) -> bool:
    """Whether it comes true within that time."""
    deadline = time.monotonic() + seconds
    while not (true := condition()) and time.monotonic() < deadline:
        time.sleep(0.05)
    return true


#: The pool of the worker that is started here.
POOL = f"servers-{secrets.token_hex(3)}"


@pytest.fixture(scope="module")
def worker(prefect_server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A worker that is online in a pool of its own."""
    with servers.worker(tmp_path_factory.mktemp("worker"), POOL, prefect_server.env) as running:
        yield running


@linux
@pytest.mark.parametrize("which", ["s3_server", "mlflow_server", "prefect_server", "worker"])
def test_every_component_stays_on_loopback(which: str, request: pytest.FixtureRequest) -> None:
    """Every address that a component listens on or connects to, in any of its processes, is 127.0.0.1."""
    found = addresses(request.getfixturevalue(which))
    assert found["listens"] == {"127.0.0.1"}
    assert found["connects"] <= {"127.0.0.1", "0.0.0.0"}  # noqa: S104 - the remote end of a socket not yet connected


@linux
def test_the_look_at_addresses_sees_others(tmp_path: Path) -> None:
    """A listener on another address, in a grandchild that left the group, is found; IPv6 is read as well."""
    assert address("B80D0120000000000000000001000000:1F90") == "2001:db8::1"
    assert address("0000000000000000FFFF00000100007F:1F90") == "127.0.0.1"
    inner = (
        "import socket, time; a = socket.create_server(('127.0.0.2', 0));"
        "print('listening', flush=True); time.sleep(600)"
    )
    outer = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {inner!r}], start_new_session=True)"
    log = tmp_path / "any.log"
    with server(tmp_path, sys.executable, "-c", outer, ready=lambda: "listening" in log.read_text()) as grandparent:
        assert addresses(grandparent)["listens"] == {"127.0.0.2"}
        grandchild = (processes(grandparent) - {grandparent.pid}).pop()
    os.kill(grandchild, signal.SIGKILL)


def test_s3_answers_nobody_without_a_signature(s3_server: Server) -> None:
    """Neither to read nor to write nor to list; with one it does all three."""
    mine = boto3.client("s3", endpoint_url=s3_server.url)
    mine.put_object(Bucket=servers.BUCKET, Key="secret", Body=b"x")
    anybody = boto3.client("s3", endpoint_url=s3_server.url, config=Config(signature_version=UNSIGNED))
    for attempt in (
        lambda: anybody.get_object(Bucket=servers.BUCKET, Key="secret"),
        lambda: anybody.put_object(Bucket=servers.BUCKET, Key="secret", Body=b"y"),
        lambda: anybody.list_objects_v2(Bucket=servers.BUCKET),
    ):
        with pytest.raises(ClientError, match="AccessDenied"):
            attempt()
    assert mine.get_object(Bucket=servers.BUCKET, Key="secret")["Body"].read() == b"x"


def test_the_filer_behind_s3_is_closed(s3_server: Server) -> None:
    """Its port knows no credentials: left open, anybody could read, write and delete there."""
    port = next(word for word in s3_server.argv if word.startswith("-filer.port=")).partition("=")[2]
    key = f"http://127.0.0.1:{port}/buckets/{servers.BUCKET}/ready"
    assert [httpx.request(verb, key).status_code for verb in ("GET", "PUT", "DELETE")] == [404, 404, 404]
    boto3.client("s3", endpoint_url=s3_server.url).head_object(Bucket=servers.BUCKET, Key="ready")


def test_mlflow_keeps_models_and_artifacts(mlflow_server: Server, tmp_path: Path) -> None:
    """A run with an artifact goes in over HTTP and comes back."""
    from mlflow import MlflowClient

    client = MlflowClient(mlflow_server.url)
    run = client.create_run(client.create_experiment("servers"))
    (tmp_path / "note").write_text("kept")
    client.log_artifact(run.info.run_id, str(tmp_path / "note"))
    (tmp_path / "back").mkdir()
    assert Path(client.download_artifacts(run.info.run_id, "note", str(tmp_path / "back"))).read_text() == "kept"


def test_a_worker_is_online(worker: Server, prefect_server: Server) -> None:
    """Ready means that Prefect's server says so, and that the pool has been made."""
    pool = f"{prefect_server.env['PREFECT_API_URL']}/work_pools/{POOL}"
    assert httpx.get(pool).json()["type"] == "lastgood"
    online = httpx.post(f"{pool}/workers/filter", json={}).json()
    assert [(found["name"], found["status"]) for found in online] == [(worker.name, "ONLINE")]


@linux
def test_postgres_listens_on_no_port(servers_folder: Path) -> None:
    """It is reached by its socket alone, does not run as root, and takes its files along when it ends."""
    with servers.postgres(servers_folder) as postgres:
        assert addresses(postgres)["listens"] == set()
        assert 0 not in owners(processes(postgres))
        engine = create_engine(postgres.url)
        with engine.begin() as connection:
            connection.execute(text("CREATE TABLE kept (word text)"))
            connection.execute(text("INSERT INTO kept VALUES ('ü')"))
        connection = engine.connect()
        assert connection.execute(text("SELECT word FROM kept")).scalar_one() == "ü"
        home, all_of_it = Path(postgres.url.partition("host=")[2]), processes(postgres)
    # It stopped although this connection was open.
    connection.invalidate()
    connection.close()
    assert not home.exists()
    assert not [pid for pid in all_of_it if alive(pid)]


def test_a_server_that_dies_while_starting_says_why(tmp_path: Path) -> None:
    """The error ends with what it said last."""
    dies = server(tmp_path, "sh", "-c", "echo no such disk >&2; exit 3", ready=lambda: False)
    with pytest.raises(NotReady, match=r"any exited with 3(.|\n)*no such disk$"):
        dies.start().wait_ready()


def test_a_server_that_never_works_is_stopped(tmp_path: Path) -> None:
    """The error says what was wrong at the last look, and nothing keeps running."""

    def refused() -> bool:
        raise ConnectionError("refused")

    never = server(tmp_path, ready=refused).start()
    pid = never.pid
    with pytest.raises(NotReady, match=r"did not work after 0.2 s \(refused\)"):
        never.wait_ready(0.2)
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


@linux
def test_stop_ends_the_whole_group(tmp_path: Path) -> None:
    """Also a child that ignores SIGTERM while its parent obeys; and stopping again is fine."""
    stubborn = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True)"
    inner = f"{stubborn}; time.sleep(600)"
    outer = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {inner!r}])"
    log = tmp_path / "any.log"
    running = server(tmp_path, sys.executable, "-c", outer, ready=lambda: "deaf" in log.read_text())
    pids = processes(running.start().wait_ready())
    assert len(pids) == 2
    running.stop()
    running.stop()
    assert soon(lambda: not any(alive(pid) for pid in pids))


STARTER = """
import sys
from pathlib import Path
from demo.servers import Server
command = [sys.executable, "-c", "import time; time.sleep(600)"]
server = Server(name="any", argv=command, log=Path(sys.argv[1]), ready=lambda: True).start()
print(server.pid, flush=True)
sys.stdin.read()
"""

IN_A_THREAD = STARTER.replace(
    "True).start()", "True)\nfrom threading import Thread\nt = Thread(target=server.start)\nt.start()\nt.join()"
)


@linux
def test_a_killed_server_starts_again_and_what_it_started_goes_on(tmp_path: Path) -> None:
    """SIGKILL of one process, as when memory runs out: its child lives, and a supervisor can start it anew."""
    outer = f"import subprocess, sys; subprocess.run({SLEEP!r})"
    log = tmp_path / "any.log"
    running = server(tmp_path, sys.executable, "-c", outer, ready=lambda: "asleep" in log.read_text())
    [parent, child] = sorted(processes(running.start().wait_ready()), key=running.pid.__ne__)
    running.kill()
    running.kill()
    assert (running.alive, alive(parent), alive(child)) == (False, False, True)
    os.kill(child, signal.SIGKILL)
    with running:
        assert running.alive
        assert running.pid != parent


@linux
@pytest.mark.parametrize("end", ["SIGKILL", "SIGTERM", "itself"])
def test_servers_end_with_the_process_that_started_them(tmp_path: Path, end: str) -> None:
    """Whether it is killed, asked to end, or comes to its end having forgotten them."""
    starter = subprocess.Popen(
        [sys.executable, "-c", STARTER, str(tmp_path / "log")], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert starter.stdout is not None
    pid = int(starter.stdout.readline())
    assert alive(pid)
    if end == "itself":
        starter.communicate("")
    else:
        starter.send_signal(signal.Signals[end])
        starter.communicate()
    assert soon(lambda: not alive(pid))


@linux
@pytest.mark.parametrize("thread", ["main", "another"])
def test_sigint_reaches_servers_of_a_background_job(tmp_path: Path, thread: str) -> None:
    """A shell starts what stands before ``&`` with SIGINT ignored; a Prefect worker would inherit that for good."""
    code = STARTER if thread == "main" else IN_A_THREAD
    starter = subprocess.Popen(
        ["sh", "-c", "trap '' INT; exec \"$@\"", "sh", sys.executable, "-c", code, str(tmp_path / "log")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert starter.stdout is not None
    pid = int(starter.stdout.readline())
    assert ignores_sigint(starter.pid)
    assert soon(lambda: "time.sleep" in Path(f"/proc/{pid}/cmdline").read_text())
    assert not ignores_sigint(pid)
    starter.communicate("")


def ignores_sigint(pid: int) -> bool:
    """What the kernel says of that process."""
    mask = next(line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("SigIgn"))
    return bool(int(mask.split()[1], 16) & 1 << (signal.SIGINT - 1))


def test_isolation_forgets_what_is_personal(tmp_path: Path) -> None:
    """A person's keys and servers are gone for us and our children; the off switches stay."""
    look = (
        "import os, sys; from pathlib import Path; from demo.servers import isolate; isolate(Path(sys.argv[1]));"
        "print(*sorted(f'{k}={v}' for k, v in os.environ.items()), sep='\\n')"
    )
    personal = {"AWS_PROFILE": "boss", "PREFECT_API_KEY": "pnu_1", "MLFLOW_TRACKING_TOKEN": "t", "PGPASSWORD": "p"}
    told = subprocess.run(
        [sys.executable, "-c", look, str(tmp_path)],
        env={**os.environ, **personal, "EDITOR": "ed", "AWS_SECRET_ACCESS_KEY": "x", "LASTGOOD_DATABASE_URL": "y"},
        capture_output=True,
        text=True,
        check=True,
    )
    found = dict(line.split("=", 1) for line in told.stdout.splitlines())
    assert not {*personal, "AWS_SECRET_ACCESS_KEY", "LASTGOOD_DATABASE_URL"} & set(found)
    assert found["EDITOR"] == "ed"
    assert found["PREFECT_HOME"].startswith(str(tmp_path))
    assert (found["PREFECT_SERVER_ANALYTICS_ENABLED"], found["MLFLOW_DISABLE_TELEMETRY"]) == ("false", "true")


def test_no_test_sees_the_persons_own_files() -> None:
    """The home of this very session is a temporary folder."""
    assert "lastgood-tests-" in str(Path.home())
    assert not Path(os.environ["PREFECT_HOME"]).is_relative_to(pwd.getpwuid(os.getuid()).pw_dir)


def test_ports_are_given_once() -> None:
    """Free, different, and with a second one free at the distance asked for."""
    given = [free_port() for _ in range(200)]
    assert len(set(given)) == 200
    assert free_port(10_000) + 10_000 <= 65535
