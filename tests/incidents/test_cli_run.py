"""``lastgood run`` and ``lastgood serve``: a flow is asked for by name and waited for, and alerts come in."""

from __future__ import annotations

import asyncio
import os
import secrets
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from typer.testing import Result

from demo.servers import Server, free_port
from incidents import cli_run
from incidents import events as e
from incidents.ledger import Ledger
from incidents.models import Category, Severity

SHIPPED = Path(__file__).parents[2] / "playbook.yaml"
LASTGOOD = Path(sys.executable).with_name("lastgood")
Run = Callable[..., Result]


def open_incident(ledger: Ledger) -> None:
    """Put INC-1 on the record."""
    opened = e.Opened(category=Category.model, severity=Severity.medium, asset="model:fraud", title="in cents")
    with ledger.write() as writer:
        writer.open(opened, actor="intake:generic")


def said(result: Result, code: int) -> str:
    """The one line on stderr with which a command ended."""
    assert (result.exit_code, result.stdout) == (code, ""), result.output
    [line] = result.stderr.splitlines()
    return line.removeprefix("lastgood: ")


def test_fields() -> None:
    """Text after =, JSON after :=, and whatever stands after the first of them belongs to the value."""
    assert cli_run.fields(["model=fraud", "version:=3", "note=a=b", "on:=true", "empty=", "list:=[1,2]"]) == {
        "model": "fraud",
        "version": 3,
        "note": "a=b",
        "on": True,
        "empty": "",
        "list": [1, 2],
    }


def test_serve_refuses_weak_tokens(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Off loopback every sender needs a token of 16 characters; a variable that lacks one is named, none is shown."""
    for host in ("0.0.0.0", "::", "10.0.0.1", "example.org"):  # noqa: S104  # they must be refused
        monkeypatch.setenv("LASTGOOD_TOKEN_ALERTMANAGER", "fifteen-letters")
        monkeypatch.setenv("LASTGOOD_TOKEN_GENERIC", "sixteen-letters!")
        line = said(run("serve", "--host", host), 2)
        assert line.startswith(f"{host} is reachable from elsewhere, so each of LASTGOOD_TOKEN_ALERTMANAGER must hold")
        assert "fifteen" not in line
        monkeypatch.delenv("LASTGOOD_TOKEN_GENERIC")
        assert "LASTGOOD_TOKEN_GENERIC" in said(run("serve", "--host", host), 2)


def test_serve(tmp_path: Path) -> None:
    """The intake runs on loopback without a token to its name, takes an alert with one, and ends on SIGTERM."""
    port = free_port()
    environment = os.environ | {
        "LASTGOOD_HOME": str(tmp_path),
        "LASTGOOD_PLAYBOOK": str(SHIPPED),
        "LASTGOOD_TOKEN_GENERIC": "the-token",
    }
    log = tmp_path / "log"
    with log.open("w") as out:
        process = subprocess.Popen([LASTGOOD, "serve", "--port", str(port)], stdout=out, stderr=out, env=environment)
    try:
        headers = {"Authorization": "Bearer the-token"}
        alert = {"name": "Drift", "labels": {"dataset": "transactions"}}
        answer = _until_answered(
            lambda: httpx.post(f"http://127.0.0.1:{port}/alerts/generic", json=alert, headers=headers)
        )
        assert answer.status_code == 202, answer.text
        assert answer.headers.get("server") is None
    finally:
        process.terminate()
        assert process.wait(20) in (0, -15), log.read_text()
    ledger = Ledger(f"sqlite:///{tmp_path / 'ledger.db'}")
    assert next(event.body.kind for event in ledger.events()) == "opened"
    ledger.engine.dispose()


def test_run_without_prefect(tmp_path: Path) -> None:
    """Where Prefect's API is away that is said, and nothing is on the record."""
    arguments = ("run", "revert_model", "--plan", "--by", "anna", "--because", "a drill")
    done = subprocess.run(
        [LASTGOOD, *arguments],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ
        | {
            "LASTGOOD_HOME": str(tmp_path),
            "PREFECT_API_URL": f"http://127.0.0.1:{free_port()}/api",
            "PREFECT_CLIENT_MAX_RETRIES": "0",
        },
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("lastgood: Prefect's API is away")
    assert len(done.stderr.splitlines()) == 1


@pytest.fixture
def by_hand(prefect_server: Server) -> str:
    """The real form of an action, deployed under a name of this test alone; no worker takes its runs up."""
    name = f"revert_model_{secrets.token_hex(4)}"

    async def deploy() -> None:
        from prefect.client.orchestration import get_client
        from prefect.utilities.callables import parameter_schema

        from flows.by_hand import revert_model

        async with get_client() as client:
            await client.create_deployment(
                await client.create_flow(revert_model),
                name,
                parameter_openapi_schema=parameter_schema(revert_model).model_dump(),
                enforce_parameter_schema=True,
            )

    asyncio.run(deploy())
    return name


def test_run(by_hand: str, ledger: Ledger) -> None:
    """The run is asked for with the form's own fields and who asked, waited for, and its record is printed."""
    open_incident(ledger)
    arguments = ["run", by_hand, "--set", "model=fraud", "--apply", "--by", "anna", "--because", "it answers badly"]
    done = _play(ledger, [*arguments, "--incident", "inc-1"], "Resolved", "COMPLETED")
    assert done["parameters"] == {
        "action": {"model": "fraud", "because": "it answers badly"},
        "do": "apply",
        "asked_by": "anna",
        "incident": "INC-1",
    }
    assert done["name"] == f"{by_hand} apply, person:anna"
    assert done["code"] == 0
    lines = done["stdout"].splitlines()
    assert lines[0].startswith("asked for it: run ")
    assert "INC-1: in cents" in lines
    assert any("flow by_hand took it up" in line for line in lines)
    assert lines[-1] == f"{by_hand} apply: Resolved"


def test_run_that_does_not_end_well(by_hand: str, ledger: Ledger) -> None:
    """A run that was handed over or broke is a no; a form that does not take a field says so."""
    open_incident(ledger)
    arguments = ["run", by_hand, "--set", "model=fraud", "--apply", "--by", "anna", "--because", "it answers badly"]
    done = _play(ledger, arguments, "Escalated", "COMPLETED")
    assert (done["code"], done["stderr"]) == (1, f"lastgood: {by_hand} apply: Escalated\n")
    refused = _lastgood(
        ledger, ["run", by_hand, "--plan", "--set", "model:=[]", "--by", "anna", "--because", "a drill"]
    )
    assert refused.returncode == 1
    assert refused.stderr.startswith("lastgood: Prefect's API answered 409")
    late = _lastgood(ledger, [*arguments, "--wait", "1"])
    assert late.returncode == 1
    assert "has not ended after 1 s" in late.stderr


def _lastgood(ledger: Ledger, arguments: list[str]) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"LASTGOOD_DATABASE_URL": str(ledger.engine.url)}
    return subprocess.run([LASTGOOD, *arguments], capture_output=True, text=True, check=False, env=environment)


def _play(ledger: Ledger, arguments: list[str], name: str, kind: str) -> dict[str, Any]:
    """Run the command while this plays the worker: it starts on the record, and ends the run in the state given."""
    found: dict[str, Any] = {}

    def work() -> None:
        done = _lastgood(ledger, arguments)
        found.update(code=done.returncode, stdout=done.stdout, stderr=done.stderr)

    command = threading.Thread(target=work)
    command.start()
    api = os.environ["PREFECT_API_URL"]
    wanted = {
        "flow_runs": {"state": {"type": {"any_": ["SCHEDULED"]}}},
        "deployments": {"name": {"any_": [arguments[1]]}},
    }
    [flow_run] = _until_answered(lambda: httpx.post(f"{api}/flow_runs/filter", json=wanted).json() or None)
    found |= {"parameters": flow_run["parameters"], "name": flow_run["name"]}
    ledger.append(e.Started(flow="by_hand", run=flow_run["id"]), actor="person:anna", incident="INC-1")
    state = {"state": {"type": kind, "name": name}, "force": True}
    httpx.post(f"{api}/flow_runs/{flow_run['id']}/set_state", json=state).raise_for_status()
    command.join(60)
    return found


def _until_answered(ask: Callable[[], Any], seconds: float = 60) -> Any:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            answer = ask()
        except httpx.TransportError:
            answer = None
        if answer is not None:
            return answer
        time.sleep(0.1)
    raise AssertionError("there was no answer")
