"""The system that is broken over and over: real parts that live long, proxies in front of two, a ledger a trial."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from signal import SIGKILL
from typing import Any

import httpx
from sqlalchemy import create_engine, text
from sqlalchemy.exc import SQLAlchemyError

from demo import transactions
from demo.servers import Server
from incidents.ledger import Ledger
from incidents.playbook import Playbook, load
from remediations.clients import registry
from tests.chaos.proxy import Proxy
from tests.chaos.world import ALIAS, POINTER, World, word
from tests.flows.kit import ROOT, ROWS, System

#: What of the playbook is changed: it may act as often as it likes, and does not look for long.
CHANGED = {
    "at_most: 10, ": "at_most: 9999, ",
    "at_most: 5, ": "at_most: 9999, ",
    "at_most: 20, ": "at_most: 9999, ",
    "cool_down_seconds: 5": "cool_down_seconds: 0",
    "{every_seconds: 1, within_seconds: 60}": "{every_seconds: 0.2, within_seconds: 2}",
    "{every_seconds: 5, within_seconds: 300}": "{every_seconds: 0.2, within_seconds: 2}",
    "{every_seconds: 30, within_seconds: 900}": "{every_seconds: 0.2, within_seconds: 2}",
}


class Forks:
    """The process that everything that dies is forked from."""

    def __init__(self, code: Path, environment: dict[str, str], log: Path) -> None:
        argv = [sys.executable, "-m", "tests.chaos.forks"]
        with log.open("ab") as err:
            self.process = subprocess.Popen(
                argv,
                cwd=code,
                env={**os.environ, **environment, "PYTHONPATH": str(code)},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=err,
                text=True,
            )
        self._numbers, self._lock = count(1), threading.Lock()
        self._news: dict[int, dict[str, int]] = {}
        self._heard = threading.Condition()
        self._ready = threading.Event()
        threading.Thread(target=self._listen, daemon=True, name="forks").start()

    def wait_ready(self) -> None:
        """Wait until everything is imported."""
        assert self._ready.wait(120), "the process to fork from did not start"

    def start(self, job: dict[str, Any]) -> Child:
        """Fork a process for this job."""
        number = next(self._numbers)
        assert self.process.stdin is not None
        with self._lock:
            self.process.stdin.write(json.dumps({**job, "id": number}) + "\n")
            self.process.stdin.flush()
        return Child(self, number, self.hear(number, "pid", 30) or 0)

    def hear(self, number: int, what: str, seconds: float) -> int | None:
        """What it said about a job; None where it says nothing in time."""
        with self._heard:
            self._heard.wait_for(lambda: what in self._news.get(number, {}), seconds)
            return self._news.get(number, {}).get(what)

    def stop(self) -> None:
        """End it."""
        self.process.kill()
        self.process.communicate()

    def _listen(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            news = json.loads(line)
            if "ready" in news:
                self._ready.set()
                continue
            with self._heard:
                self._news.setdefault(news.pop("id"), {}).update(news)
                self._heard.notify_all()


@dataclass(frozen=True)
class Child:
    """One forked process."""

    forks: Forks
    number: int
    pid: int

    def kill(self) -> None:
        """SIGKILL, unless it has ended: then its number may be somebody else's."""
        if self.forks.hear(self.number, "status", 0) is None:
            os.kill(self.pid, SIGKILL)

    def wait(self, seconds: float) -> int | None:
        """Its exit status; None: it goes on."""
        return self.forks.hear(self.number, "status", seconds)


@dataclass
class Parts:
    """Everything that a trial needs and that outlives it."""

    world: World
    forks: Forks
    s3: Proxy
    mlflow: Proxy
    book: Playbook
    folder: Path
    environment: dict[str, str]
    #: Where there is one, ledgers are in it, and it is killed.
    postgres: Server | None
    number: Iterator[int]
    #: A short path, as those of sockets have to be.
    sockets: Path

    @contextmanager
    def ledger(self, database: str) -> Iterator[tuple[Ledger, dict[str, str], Path]]:
        """A new ledger on ``sqlite`` or ``postgresql``, and the environment of the processes that use it."""
        number = next(self.number)
        home = self.folder / f"trial-{number}"
        home.mkdir()
        url = f"sqlite:///{home / 'ledger.db'}"
        if database == "postgresql":
            assert self.postgres is not None
            url = f"{self.postgres.url}&options=-csearch_path%3Dtrial{number}"
            self._on_postgres(f"CREATE SCHEMA trial{number}")
        made = Ledger(url)
        environment = {**self.environment, "LASTGOOD_HOME": str(home), "LASTGOOD_DATABASE_URL": url}
        try:
            yield made, environment, home
        finally:
            made.engine.dispose()
            if database == "postgresql":
                self._on_postgres(f"DROP SCHEMA trial{number} CASCADE")

    def restart_postgres(self) -> None:
        """Kill PostgreSQL with everything that belongs to it, as a power cut does, and start it again."""
        assert self.postgres is not None
        parent = self.postgres.pid
        for pid in [*_children(parent), parent]:
            try:
                os.kill(pid, SIGKILL)
            except ProcessLookupError:
                continue
        self.postgres.stop(grace=0.1)
        for _ in range(50):
            try:
                self.postgres.start().wait_ready(20)
                return
            except RuntimeError:  # the dead still hold its memory
                time.sleep(0.1)
        raise RuntimeError("PostgreSQL does not start again")

    def wait_served(self, version: int) -> None:
        """Wait until the service answers with this version."""
        end = time.monotonic() + 20
        while httpx.get(f"{self.world.system.service.url}/health").json().get("version") != version:
            assert time.monotonic() < end, "the service does not follow its alias"
            time.sleep(0.03)

    def _on_postgres(self, statement: str) -> None:
        assert self.postgres is not None
        engine = create_engine(self.postgres.url, isolation_level="AUTOCOMMIT")
        for left in range(20, -1, -1):
            try:
                with engine.connect() as connection:
                    connection.execute(text(statement))
                break
            except SQLAlchemyError:
                if not left:
                    raise
                time.sleep(0.2)
        engine.dispose()


@contextmanager
def parts(system: System, folder: Path, postgres: Server | None = None, code: Path = ROOT) -> Iterator[Parts]:
    """Put proxies in front of S3 and MLflow, start what forks, and give people versions of their own.

    ``code``: where the packages are that the forked processes run.
    """
    folder.mkdir(exist_ok=True)
    book = folder / "playbook.yaml"
    content = (ROOT / "playbook.yaml").read_text()
    for old, new in CHANGED.items():
        assert old in content
        content = content.replace(old, new)
    book.write_text(content)
    with ExitStack() as stack:
        tidy = None
        if postgres:  # it starts many times, and its data goes only at the end
            tidy, postgres.tidy = postgres.tidy, bool
            stack.callback(tidy)
            stack.callback(postgres.stop)
            postgres.start().wait_ready()
        s3 = stack.enter_context(Proxy(os.environ["AWS_ENDPOINT_URL_S3"], lambda _, forward: forward()))
        mlflow = stack.enter_context(Proxy(os.environ["MLFLOW_TRACKING_URI"], lambda _, forward: forward()))
        environment = {
            "AWS_ENDPOINT_URL_S3": s3.url,
            "MLFLOW_TRACKING_URI": mlflow.url,
            "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
            "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "0",
            "MLFLOW_HTTP_REQUEST_BACKOFF_JITTER": "0",
            "MLFLOW_HTTP_REQUEST_TIMEOUT": "2",
            "PREFECT_LOGGING_TO_API_ENABLED": "false",
            "LASTGOOD_PLAYBOOK": str(book),
            "LASTGOOD_TOKEN_ALERTMANAGER": "of the chaos",
        }
        forks = Forks(code, environment, folder / "forks.log")
        stack.callback(forks.stop)
        world = World(system, _of_people(system, folder))
        forks.wait_ready()
        sockets = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="chaos-")))
        here = {name: value for name, value in environment.items() if name.startswith("LASTGOOD")}
        yield Parts(world, forks, s3, mlflow, load(book), folder, here, postgres, count(1), sockets)


def _of_people(system: System, folder: Path) -> dict[str, str]:
    """Versions that nobody but a person chooses."""
    files = transactions.write_parquet(transactions.generate(ROWS, seed=5), folder / "people")
    chosen = system.store.pointer_to(system.store.publish(files).version, by="a person")
    good = registry().get_model_version("fraud", str(system.model_good))
    logged = good.source.removeprefix("models:/")
    made = registry().create_model_version(
        "fraud", good.source, run_id=good.run_id, model_id=logged, await_creation_for=0
    )
    return {ALIAS: str(made.version), POINTER: word(chosen).split()[0]}


def _children(parent: int) -> list[int]:
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == parent:
            found.append(int(stat.parent.name))
    return found
