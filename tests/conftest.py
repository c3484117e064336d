"""What all tests share: a clean environment, and the real servers, each started once, by the first test that asks."""

from __future__ import annotations

import os
import secrets
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import certifi
import httpx
import pytest
from sqlalchemy import create_engine, make_url, text

from demo import servers
from demo.servers import Server
from incidents import leases
from remediations import clients
from tests.remediations import lakefs_api


def pytest_configure(config: pytest.Config) -> None:
    """Before anything is imported or run: no test sees or touches the person's own files, servers or credentials."""
    home = Path(tempfile.mkdtemp(prefix="lastgood-tests-"))
    config.add_cleanup(lambda: shutil.rmtree(home, ignore_errors=True))
    servers.isolate(home)
    # Nothing here speaks TLS to anybody, and reading all certificates takes 20 ms of every client that is made.
    one_certificate = home / "one-certificate.pem"
    certificate, end, _ = Path(certifi.where()).read_text(encoding="utf-8").partition("-----END CERTIFICATE-----\n")
    one_certificate.write_text(certificate + end, encoding="utf-8")
    os.environ["SSL_CERT_FILE"] = str(one_certificate)
    for name in [name for name in os.environ if name.startswith("XDG_")]:
        del os.environ[name]
    os.environ["HOME"] = str(home)


#: What takes longest, the longest first. Begun last, one of them would keep one process busy and leave the other idle.
LONGEST = (
    *("flows/test_warm_worker", "flows/test_chaos", "flows/test_reconcile", "flows/test_end_to_end"),
    *("flows/test_family", "flows/test_sections", "incidents/test_intake_burst", "incidents/test_audit"),
    *("demo/test_service", "expectations/test_figures", "incidents/test_cli_run", "demo/test_servers"),
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what takes longest, and then go on with the flows, whose servers run by then."""

    def place(item: pytest.Item) -> tuple[int, bool]:
        name = str(item.path.relative_to(Path(__file__).parent).with_suffix(""))
        return (LONGEST.index(name) if name in LONGEST else len(LONGEST), not name.startswith("flows/"))

    items.sort(key=place)


@pytest.fixture(autouse=True)
def under_no_lease() -> None:
    """Begin under no lease: a test that lets leases overlap, as several processes do, may leave one behind."""
    leases._current.set(None)


def running(server: Server) -> Iterator[Server]:
    """A started server with its address in the environment, until the session ends."""
    with server, pytest.MonkeyPatch.context() as patch:
        for name, value in server.env.items():
            patch.setenv(name, value)
        _forget_clients()
        yield server
    _forget_clients()


def _forget_clients() -> None:
    """Let clients be made again, from the environment as it is now; boto3's default session keeps credentials too."""
    import boto3

    boto3.DEFAULT_SESSION = None
    s3 = (clients.s3, clients._s3_sessions, clients._s3_certificates)
    for made in (*s3, clients.aws, clients.registry, clients.lakefs):
        made.cache_clear()


@pytest.fixture(scope="session")
def forget_clients() -> Callable[[], None]:
    """For tests that change the environment: called after the change, and again after changing it back."""
    return _forget_clients


@pytest.fixture(scope="session")
def servers_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the servers keep data and logs."""
    return tmp_path_factory.mktemp("servers")


@pytest.fixture(scope="session")
def s3_server(servers_folder: Path) -> Iterator[Server]:
    """SeaweedFS; the environment points at it."""
    yield from running(servers.s3(servers_folder))


@pytest.fixture(scope="session")
def lakefs_server(servers_folder: Path) -> Iterator[str]:
    """A stand-in for lakeFS; the environment points at it, as it does for lakeFS's own tools."""
    with lakefs_api.served(servers_folder / "lakefs") as api, pytest.MonkeyPatch.context() as patch:
        patch.setenv("LAKECTL_SERVER_ENDPOINT_URL", api.url)
        patch.setenv("LAKECTL_CREDENTIALS_ACCESS_KEY_ID", lakefs_api.KEY)
        patch.setenv("LAKECTL_CREDENTIALS_SECRET_ACCESS_KEY", lakefs_api.SECRET)
        clients.lakefs.cache_clear()
        yield api.url
    clients.lakefs.cache_clear()


@pytest.fixture
def s3_prefix(s3_server: Server) -> str:
    """An empty place of this test alone, as ``s3://bucket/prefix``."""
    return f"s3://{servers.BUCKET}/test-{secrets.token_hex(6)}"


@pytest.fixture(scope="session")
def versioned_bucket(s3_server: Server) -> str:
    """A bucket that keeps old versions. Everyone uses it under prefixes of their own."""
    client = clients.s3()
    client.create_bucket(Bucket="versioned")
    client.put_bucket_versioning(Bucket="versioned", VersioningConfiguration={"Status": "Enabled"})
    return "versioned"


@pytest.fixture(scope="session")
def aws_server(s3_server: Server, servers_folder: Path) -> Iterator[Server]:
    """moto's server for AWS but for S3, which stays SeaweedFS; the environment points at both."""
    yield from running(servers.aws(servers_folder))


@pytest.fixture
def aws(aws_server: Server) -> Callable[[str], Any]:
    """An AWS in which there is nothing; makes clients, as ``aws("ecs")``."""
    httpx.post(f"{aws_server.url}/moto-api/reset").raise_for_status()
    return clients.aws


@pytest.fixture(scope="session")
def mlflow_server(servers_folder: Path) -> Iterator[Server]:
    """MLflow's tracking server and registry, artifacts on disk; the environment points at it."""
    yield from running(servers.mlflow(servers_folder))


@pytest.fixture(scope="session")
def prefect_server(servers_folder: Path) -> Iterator[Server]:
    """Prefect's server; the environment points at it, and so does a Prefect that was imported before."""
    from prefect.context import refresh_global_settings_context

    for server in running(servers.prefect(servers_folder)):
        with pytest.MonkeyPatch.context() as patch:  # for this process; a worker sees to it itself
            patch.setenv("PREFECT_API_SSL_CERT_FILE", os.environ["SSL_CERT_FILE"])
            refresh_global_settings_context()
        yield server


@pytest.fixture(scope="session")
def postgres_url(servers_folder: Path) -> Iterator[str]:
    """An SQLAlchemy address of a PostgreSQL; one database for the whole session."""
    with servers.postgres(servers_folder) as server:
        yield server.url


@pytest.fixture
def postgres_database(postgres_url: str) -> Iterator[str]:
    """The address of an empty database of this test alone."""
    name = f"test_{secrets.token_hex(6)}"
    server = create_engine(postgres_url, isolation_level="AUTOCOMMIT")
    with server.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    yield make_url(postgres_url).set(database=name).render_as_string(hide_password=False)
    with server.connect() as connection:
        connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))
    server.dispose()
