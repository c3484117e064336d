"""A pointer that moved is no fix until the service is seen to serve what it names (mlflow#4039)."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from demo.servers import Server, free_port
from flows.checks import ModelCheck
from flows.model import model
from incidents.events import Reloading
from incidents.incident import find
from incidents.ledger import Ledger
from incidents.models import Category, Health, Status
from tests.flows.kit import ChangePlaybook, System, kinds, opened, run

TOKEN = "reload-token-of-this-test-alone"
HOOK = "reload: {{url: '{url}/reload', token_env: RELOAD_TOKEN, after_seconds: 1}}"
QUICK = ("within_seconds: 60", "within_seconds: 2")


def pinned(folder: Path, *flags: str) -> Server:
    """A service that goes on with the version that it loaded first, until it is told."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    return Server(
        name="pinned service",
        argv=[sys.executable, "-m", "demo.service", f"--port={port}", "--pinned", "--reload-seconds=0.2", *flags],
        log=folder / f"pinned{port}.log",
        ready=lambda: httpx.get(f"{url}/health").is_success,
        url=url,
        settings={"DEMO_RELOAD_TOKEN": TOKEN},
    )


@pytest.fixture(scope="module")
def services(system: System, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Server]]:
    """One that says its version, and one that says none."""
    folder = tmp_path_factory.mktemp("pinned")
    with pinned(folder) as version, pinned(folder, "--unnamed") as predictions:
        yield {"version": version, "predictions": predictions}


@pytest.fixture(params=["version", "predictions"])
def serving_broken(
    request: pytest.FixtureRequest,
    services: dict[str, Server],
    broken_system: System,
    monkeypatch: pytest.MonkeyPatch,
    change_playbook: ChangePlaybook,
) -> Callable[[str], None]:
    """The service serves the broken version, and shows its version in this way; called with what its model declares."""
    server = services[request.param]
    httpx.post(f"{server.url}/reload", headers={"Authorization": f"Bearer {TOKEN}"}).raise_for_status()
    monkeypatch.setenv("LASTGOOD_FRAUD_SERVICE", server.url)

    def declare(more: str) -> None:
        of_model = "    alias: champion\n"
        told = f"{of_model}    served_by: {request.param}\n    {more.format(url=server.url)}\n"
        change_playbook(*QUICK, of_model, told)

    return declare


def test_a_pointer_that_moved_and_is_not_served_is_no_fix(
    serving_broken: Callable[[str], None], broken_system: System, ledger: Ledger
) -> None:
    """The service never follows: what was done is left, and a person is told why it is not enough."""
    serving_broken("")
    incident = opened(ledger, "model:fraud", Category.model)
    outcome = run(model, incident)
    assert outcome.status is Status.escalated
    assert "pointer moved, not served" in outcome.why
    assert broken_system.alias == broken_system.model_good
    assert find(ledger, incident).attempts[0].state == "inconclusive"


def test_a_service_that_is_told_to_reload_is_seen_to_serve(
    serving_broken: Callable[[str], None], ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is told once, that stands on the record before it is done, and the token stands nowhere."""
    serving_broken(HOOK)
    monkeypatch.setenv("RELOAD_TOKEN", TOKEN)
    incident = opened(ledger, "model:fraud", Category.model)
    assert run(model, incident).status is Status.resolved
    told = [event for event in ledger.events(incident=incident) if isinstance(event.body, Reloading)]
    assert len(told) == 1
    assert ModelCheck(model="fraud").look().verdict.health is Health.healthy
    assert not any(TOKEN in str(event.body) for event in ledger.events())


@pytest.mark.parametrize("serving_broken", ["version"], indirect=True)
def test_a_reload_that_is_refused_goes_to_a_person(
    serving_broken: Callable[[str], None], ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The hook answers 401: that is on the record, it is not tried again, and the pointer alone is no fix."""
    serving_broken(HOOK)
    monkeypatch.setenv("RELOAD_TOKEN", "another-token-of-this-test")
    incident = opened(ledger, "model:fraud", Category.model)
    outcome = run(model, incident)
    assert outcome.status is Status.escalated
    assert "pointer moved, not served" in outcome.why
    assert kinds(ledger, incident).count("reloading") == 1
    assert kinds(ledger, incident).count("failed") == 1
    assert "another-token" not in str([event.body for event in ledger.events(incident=incident)])
