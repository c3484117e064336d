"""The system that is broken over and over: real parts that live long, proxies in front of two, a ledger a trial."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path
from signal import SIGKILL
from threading import Lock

import certifi
from sqlalchemy import create_engine, text
from sqlalchemy.exc import SQLAlchemyError

from demo import transactions
from demo.servers import Server
from incidents.ledger import Ledger
from incidents.playbook import Playbook, load
from remediations.clients import registry
from tests.chaos.children import Forks
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
    #: Prefect's server, which is killed where the whole stack runs.
    prefect: Server
    #: Where the packages are that run in the processes that are killed, and what is in their environment.
    code: Path
    given: dict[str, str]
    #: A model version that was good once, and does not help any more.
    vain: int
    number: Iterator[int]
    #: A short path, as those of sockets have to be.
    sockets: Path
    #: Two of a trial's threads may kill PostgreSQL in the same instant.
    killing_postgres: Lock = field(default_factory=Lock)

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
        with self.killing_postgres:
            kill_whole(self.postgres)
            for _ in range(50):
                try:
                    self.postgres.start().wait_ready(20)
                    return
                except RuntimeError:  # the dead still hold its memory
                    time.sleep(0.1)
        raise RuntimeError("PostgreSQL does not start again")

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
def parts(
    system: System, folder: Path, prefect: Server, postgres: Server | None = None, code: Path = ROOT
) -> Iterator[Parts]:
    """Put proxies in front of S3 and MLflow, start what forks, and give people versions of their own.

    ``code``: where the packages are that run in the processes that are killed.
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
            "PREFECT_API_SSL_CERT_FILE": _one_certificate(folder),
            "LASTGOOD_PLAYBOOK": str(book),
            "LASTGOOD_TOKEN_ALERTMANAGER": "of the chaos",
        }
        forks = Forks(code, environment, folder / "forks.log")
        stack.callback(forks.stop)
        likes = (system.model_good, system.model_good, system.model_broken, system.model_broken)
        # The version right before the broken one was never looked at, so going back by one is not going back to a
        # good one.
        own, _, vain, broken = (_again(like) for like in likes)
        world = World(replace(system, model_broken=broken), {ALIAS: str(own), POINTER: _of_people(system, folder)})
        forks.wait_ready()
        sockets = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="chaos-")))
        here = {name: value for name, value in environment.items() if name.startswith("LASTGOOD")}
        yield Parts(
            world=world,
            forks=forks,
            s3=s3,
            mlflow=mlflow,
            book=load(book),
            folder=folder,
            environment=here,
            postgres=postgres,
            prefect=prefect,
            code=code,
            given=environment,
            vain=vain,
            number=count(1),
            sockets=sockets,
        )


def kill_whole(server: Server) -> None:
    """SIGKILL a server and the processes that it has started."""
    for pid in children(server.pid) if server.alive else ():
        with suppress(ProcessLookupError):
            os.kill(pid, SIGKILL)
    server.kill()


def children(parent: int) -> list[int]:
    """The processes that a process has started."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == parent:
            found.append(int(stat.parent.name))
    return found


def _one_certificate(folder: Path) -> str:
    """As the warm worker does: without TLS none is needed, and reading all of them takes 60 ms a client."""
    found, end = Path(certifi.where()).read_text(encoding="utf-8").partition("-----END CERTIFICATE-----\n")[:2]
    file = folder / "one-certificate.pem"
    file.write_text(found + end, encoding="utf-8")
    return str(file)


def _again(like: int) -> int:
    """Register another version of the same content, as one that is there."""
    good = registry().get_model_version("fraud", str(like))
    logged = good.source.removeprefix("models:/")
    made = registry().create_model_version(
        "fraud", good.source, run_id=good.run_id, model_id=logged, await_creation_for=0
    )
    return int(made.version)


def _of_people(system: System, folder: Path) -> str:
    """A dataset version that nobody but a person chooses."""
    files = transactions.write_parquet(transactions.generate(ROWS, seed=5), folder / "people")
    chosen = system.store.pointer_to(system.store.publish(files).version, by="a person")
    return word(chosen).split()[0]
