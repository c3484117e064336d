"""A small but real ML system for the tests of the flows: published versions, trained models, a live service."""

from __future__ import annotations

import secrets
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from demo import servers, transactions
from demo.servers import Server, free_port
from demo.training import train
from incidents import ledger as ledgers
from incidents import playbook as playbooks
from incidents import settings as all_settings
from incidents.ledger import Ledger
from remediations.datasets import open_store
from tests.flows.kit import ROOT, ROWS, ChangePlaybook, System, judge


@pytest.fixture(scope="session")
def system(
    s3_server: Server, mlflow_server: Server, prefect_server: Server, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[System]:
    """Good and broken data in S3, a model of each in MLflow, and a service that follows the alias."""
    folder = tmp_path_factory.mktemp("system")
    root = f"s3://{servers.BUCKET}/flows-{secrets.token_hex(4)}"
    store = open_store(f"{root}/transactions", "transactions")
    labelled = open_store(f"{root}/labelled_transactions", "labelled_transactions")
    good = transactions.generate(ROWS)
    versions: dict[str, tuple[str, int]] = {}
    for name, frame in {"good": good, "broken": transactions.break_feed(good)}.items():
        files = transactions.write_parquet(frame, folder / name)
        version = store.publish(files).version
        trained = train(files, dataset="transactions", version=version, source=root, model="fraud", alias="champion")
        versions[name] = version, trained
    store.move(store.pointer_to(versions["good"][0], by="test"), expect=None)
    sample = transactions.write_parquet(transactions.generate(8_000, seed=99), folder / "labelled", parts=1)
    labelled.move(labelled.pointer_to(labelled.publish(sample).version, by="test"), expect=None)
    with _service(folder) as service, pytest.MonkeyPatch.context() as patch:
        patch.setenv("LASTGOOD_STORE", root)
        patch.setenv("LASTGOOD_FRAUD_SERVICE", service.url)
        yield System(
            store=store,
            service=service,
            good=versions["good"][0],
            broken=versions["broken"][0],
            model_good=versions["good"][1],
            model_broken=versions["broken"][1],
        )


@pytest.fixture
def ledger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Ledger]:
    """This process's ledger, empty, and its settings, for one test."""
    monkeypatch.setenv("LASTGOOD_HOME", str(tmp_path / "lastgood"))
    monkeypatch.setenv("LASTGOOD_PLAYBOOK", str(ROOT / "playbook.yaml"))
    _forget()
    yield ledgers.ledger()
    ledgers.ledger().engine.dispose()
    _forget()


@pytest.fixture
def change_playbook(ledger: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ChangePlaybook:
    """Let a test run under a playbook that differs from the shipped one."""

    def change(*texts: str) -> None:
        content = (ROOT / "playbook.yaml").read_text()
        for old, new in zip(texts[::2], texts[1::2], strict=True):
            assert old in content
            content = content.replace(old, new)
        (tmp_path / "playbook.yaml").write_text(content)
        monkeypatch.setenv("LASTGOOD_PLAYBOOK", str(tmp_path / "playbook.yaml"))
        playbooks.playbook.cache_clear()
        all_settings.settings.cache_clear()

    return change


@pytest.fixture
def broken_system(system: System, ledger: Ledger) -> System:
    """The system broken, and on the record that the versions before were verified good."""
    judge(ledger, "dataset:transactions", system.good)
    judge(ledger, "model:fraud", str(system.model_good))
    system.break_it()
    return system


def _service(folder: Path) -> Server:
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    flags: dict[str, Any] = {"model": "fraud", "alias": "champion", "port": port, "reload-seconds": 0.2}
    return Server(
        name="model service",
        argv=[sys.executable, "-m", "demo.service", *(f"--{name}={value}" for name, value in flags.items())],
        log=folder / "service.log",
        ready=lambda: httpx.get(f"{url}/health").is_success,
        url=url,
    )


def _forget() -> None:
    for cached in (ledgers.ledger, playbooks.playbook, all_settings.settings):
        cached.cache_clear()
