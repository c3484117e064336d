"""What several tests of the dataset stores and of the actions share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from demo import servers
from demo.servers import Server
from incidents import ledger as ledgers
from incidents import playbook as playbooks
from incidents import settings as all_settings
from remediations import clients
from tests.remediations import kubernetes, sagemaker_api
from tests.remediations.plain_keys import PlainKeys

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A ledger of this test alone, where a test makes none itself."""
    monkeypatch.setenv("LASTGOOD_HOME", str(tmp_path / "record"))
    _forget()
    yield
    _forget()


@pytest.fixture
def keys(versioned_bucket: str) -> PlainKeys:
    """An empty prefix of this test alone."""
    return PlainKeys()


@pytest.fixture
def kubernetes_api() -> Iterator[kubernetes.Api]:
    """A Deployment behind the documented API of Kubernetes."""
    with kubernetes.served() as api:
        yield api


@pytest.fixture
def moto_s3(aws: Callable[[str], Any], aws_server: Server, forget_clients: Callable[[], None]) -> Iterator[None]:
    """moto's S3 in place of SeaweedFS: it knows settings of a bucket that the other does not, and it asks IAM."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL_S3", aws_server.url)
        forget_clients()
        clients.s3().create_bucket(Bucket=servers.BUCKET)
        yield
    forget_clients()


@pytest.fixture
def sagemaker(
    aws: Callable[[str], Any], aws_server: Server, forget_clients: Callable[[], None]
) -> Iterator[sagemaker_api.Api]:
    """moto's SageMaker with what it lacks in front of it."""
    with sagemaker_api.served(aws_server.url) as api, pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL_SAGEMAKER", api.url)
        forget_clients()
        yield api
    forget_clients()


@pytest.fixture
def declare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    """An empty ledger, and a way to put more into the shipped playbook; what it has of a model is added to."""

    def add(text: str) -> None:
        yaml = YAML(typ="safe")
        book, declared = yaml.load((ROOT / "playbook.yaml").read_text()), yaml.load(text)
        for name, model in declared.pop("models", {}).items():
            book["models"].setdefault(name, {}).update(model)
        with (tmp_path / "playbook.yaml").open("w") as file:
            yaml.dump(book | declared, file)
        _forget()

    monkeypatch.setenv("LASTGOOD_PLAYBOOK", str(tmp_path / "playbook.yaml"))
    monkeypatch.setenv("LASTGOOD_HOME", str(tmp_path / "home"))
    add("{}")
    yield add
    ledgers.ledger().engine.dispose()
    _forget()


def _forget() -> None:
    for cached in (ledgers.ledger, playbooks.playbook, all_settings.settings):
        cached.cache_clear()
