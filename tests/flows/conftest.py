"""A small but real ML system for the tests of the flows: published versions, trained models, a live service."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from demo.process import executable
from demo.servers import Server
from incidents import ledger as ledgers
from incidents import playbook as playbooks
from incidents import settings as all_settings
from incidents.ledger import Ledger
from tests.flows.kit import ROOT, ChangePlaybook, System, judge, small_system


@pytest.fixture(scope="session")
def system(
    s3_server: Server, mlflow_server: Server, prefect_server: Server, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[System]:
    """Good and broken data in S3, a model of each in MLflow, and a service that follows the alias."""
    with small_system(tmp_path_factory.mktemp("system")) as made:
        yield made


@pytest.fixture(scope="session")
def deployed(prefect_server: Server) -> None:
    """Deploy everything in prefect.yaml, as the README says, without a prompt."""
    for arguments in (["work-pool", "create", "lastgood", "--type", "lastgood", "--overwrite"], ["deploy", "--all"]):
        command = [executable("prefect"), "--no-prompt", *arguments]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


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


def _forget() -> None:
    for cached in (ledgers.ledger, playbooks.playbook, all_settings.settings):
        cached.cache_clear()
