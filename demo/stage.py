"""The demo's system: real components on free loopback ports, and what each process may know of the others."""

from __future__ import annotations

import contextlib
import os
import secrets
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import httpx

from demo import servers
from demo.process import Server, executable, free_port, isolate
from incidents.models import Frozen

ROOT = Path(__file__).parent.parent
#: Where the demo's datasets live in its bucket.
STORE = f"s3://{servers.BUCKET}/datasets"


class Places(Frozen):
    """Where the running system is, and how to speak with it."""

    prefect: str
    mlflow: str
    service: str
    intake: str
    #: The bearer token that the demo's Alertmanager shows.
    token: str
    #: The environment of a process that may do everything here: it holds the demo's S3 credentials.
    env: dict[str, str]

    def save(self, file: Path) -> None:
        """Keep them for another process of the same user, and for no other user."""
        file.touch(mode=0o600)
        file.write_text(self.model_dump_json())


@dataclass
class Stage:
    """The system by its parts."""

    s3: Server
    mlflow: Server
    prefect: Server
    service: Server
    intake: Server
    worker: Server
    places: Places

    @property
    def parts(self) -> list[Server]:
        """All of them, in the order in which they start."""
        return [self.s3, self.mlflow, self.prefect, self.intake, self.service, self.worker]


def prepare(folder: Path, *, reload_seconds: float = 1.0, playbook: Path = ROOT / "playbook.yaml") -> Stage:
    """Choose ports and credentials. Nothing runs yet. The service follows its alias every ``reload_seconds``."""
    isolate(folder)
    s3 = servers.s3(folder)
    mlflow = servers.mlflow(folder, s3)
    prefect = servers.prefect(folder)
    token = secrets.token_urlsafe(24)
    service = _service(folder, reload_seconds)
    common = {
        "LASTGOOD_HOME": str(folder / "lastgood"),
        "LASTGOOD_PLAYBOOK": str(playbook),
        "LASTGOOD_STORE": STORE,
        "LASTGOOD_FRAUD_SERVICE": service.url,
        **prefect.env,
    }
    os.environ.update(common)
    # The process that faces the network gets no credentials of production: not S3's, not MLflow's address.
    intake = _intake(folder, {**common, "LASTGOOD_TOKEN_ALERTMANAGER": token})
    service.env.update(mlflow.env)
    production = {**common, **s3.env, **mlflow.env}
    worker = servers.worker(folder, env=production)
    places = Places(
        prefect=prefect.url, mlflow=mlflow.url, service=service.url, intake=intake.url, token=token, env=production
    )
    return Stage(s3, mlflow, prefect, service, intake, worker, places)


@contextlib.contextmanager
def running(stage: Stage, said: Callable[..., object], publish: Callable[[], object]) -> Iterator[Stage]:
    """Start everything, with a first version published in between; stop everything at the end.

    ``publish`` is called when S3 and MLflow work, while Prefect's server still starts: the model service needs a model.
    ``said(text, work)`` does a piece of work and shows that it is under way.
    """
    try:
        said("start an S3 server, an MLflow server and a Prefect server", _start_servers, stage)
        publish()
        said("deploy the flows, start the worker and the model service, which follows its alias", _start_rest, stage)
        yield stage
    finally:
        with ThreadPoolExecutor(len(stage.parts)) as side_by_side:
            list(side_by_side.map(Server.stop, stage.parts))


def _start_servers(stage: Stage) -> None:
    stage.s3.start()
    stage.prefect.start()
    stage.intake.start()  # before this process has credentials that it would inherit
    stage.s3.wait_ready()
    stage.mlflow.start().wait_ready()
    os.environ.update(stage.places.env)


def _start_rest(stage: Stage) -> None:
    stage.service.start()
    stage.prefect.wait_ready()
    _prefect("work-pool", "create", "lastgood", "--type", "lastgood", "--overwrite")
    stage.worker.start()
    _prefect("--no-prompt", "deploy", "--all")
    for part in (stage.intake, stage.worker, stage.service):
        part.wait_ready()


def _prefect(*arguments: str) -> None:
    """Run Prefect's own command line against the demo's server.

    Raises:
        RuntimeError: it failed; the message is what it printed.
    """
    done = subprocess.run([executable("prefect"), *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"prefect {' '.join(arguments)} failed:\n{done.stdout}{done.stderr}")


def _service(folder: Path, reload_seconds: float) -> Server:
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    flags = {"model": "fraud", "alias": "champion", "port": port, "reload-seconds": reload_seconds}
    return Server(
        name="model service",
        argv=[sys.executable, "-m", "demo.service", *(f"--{name}={value}" for name, value in flags.items())],
        log=folder / "service.log",
        ready=partial(_answers, f"{url}/health"),
        url=url,
    )


def _intake(folder: Path, env: dict[str, str]) -> Server:
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    return Server(
        name="intake",
        argv=[executable("lastgood"), "serve", "--port", str(port)],
        log=folder / "intake.log",
        ready=partial(_answers, f"{url}/health"),
        url=url,
        settings=env,
    )


def _answers(url: str) -> bool:
    return httpx.get(url, timeout=5).is_success
