"""The gates around real changes: what they stop at the last moment is read back from S3 and MLflow as unchanged."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from typer.testing import CliRunner

from flows import by_hand
from flows.data import data
from flows.model import model
from incidents import gatekeeper
from incidents.cli import app
from incidents.events import AlertEnded, Applying, Gated, Opened, Paused
from incidents.history import AUTOMATION
from incidents.incident import find
from incidents.ledger import Ledger
from incidents.models import Alert, Category, Mode, Severity, Status, now
from remediations import RevertModel, RollbackDataset
from tests.flows.kit import ChangePlaybook, System, kinds, opened, run

HOLD = "hold_down_seconds: {1: 0, 2: 0, 3: 0, 4: 0}"


def lastgood(*arguments: str) -> str:
    """Run the command line on this test's ledger."""
    done = CliRunner().invoke(app, list(arguments))
    assert done.exit_code == 0, done.output
    return done.stdout


def fired(ledger: Ledger) -> tuple[str, Alert]:
    """An incident about the dataset, with the alert that opened it."""
    fields: dict[str, Any] = {"source": "generic", "fingerprint": "f", "episode": "1", "starts_at": now()}
    alert = Alert(**fields, firing=True, name="DatasetBroken", severity=Severity.high)
    body = Opened(
        category=Category.data, severity=Severity.high, asset="dataset:transactions", title="broken", alert=alert
    )
    with ledger.write() as writer:
        return writer.open(body, actor="intake:generic"), alert


def test_a_pause_between_the_decision_and_the_change_stops_it(
    broken_system: System, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The gates said run; a person pauses; right before the change they are asked again, and nothing is changed."""
    incident = opened(ledger, "dataset:transactions", Category.data)
    before = broken_system.store.current(), broken_system.alias
    real = gatekeeper.ask

    def then_paused(*given: Any) -> Gated:
        gated = real(*given)
        assert gated.mode is Mode.run
        ledger.append(Paused(why="stop everything"), actor="person:anna", subject=AUTOMATION)
        return gated

    monkeypatch.setattr(gatekeeper, "ask", then_paused)
    outcome = run(data, incident)
    assert outcome.status is Status.escalated
    assert "automation is paused, anna: stop everything" in outcome.why
    assert (broken_system.store.current(), broken_system.alias) == before
    story = kinds(ledger, incident)
    assert story.count("gated") == 2
    assert not {"applying", "applied", "conflicted", "failed"} & set(story)
    assert find(ledger, incident).attempts[0].state == "proposed"
    assert "pause gate: ask, automation is paused, anna: stop everything" in lastgood("why", incident)


def test_the_kill_switch_from_end_to_end(broken_system: System, ledger: Ledger) -> None:
    """Paused, automation proposes and changes nothing; a person by hand still acts; unpaused, it heals again."""
    lastgood("pause", "--by", "anna", "--because", "a deployment")
    first = opened(ledger, "dataset:transactions", Category.data)
    assert run(data, first).status is Status.waiting
    assert (broken_system.dataset, broken_system.alias) == (broken_system.broken, broken_system.model_broken)
    action = RollbackDataset(dataset="transactions", because="it is in cents")
    flow: Any = by_hand.rollback_dataset
    assert asyncio.run(flow(asked_by="anna", action=action, do="apply", incident=first)).status is Status.resolved
    assert broken_system.dataset == broken_system.good
    second = opened(ledger, "model:fraud", Category.model)
    assert run(model, second).status is Status.waiting
    assert broken_system.alias == broken_system.model_broken
    lastgood("unpause", "--by", "anna", "--because", "the deployment is through")
    assert run(model, second).status is Status.resolved
    assert broken_system.alias == broken_system.model_good


def test_a_crash_pauses_what_others_would_do_until_it_is_settled(broken_system: System, ledger: Ledger) -> None:
    """While what a dead process changed is not known, nothing else is changed; entered again, it is, and all heals."""
    first = opened(ledger, "model:fraud", Category.model)

    def die(action: RevertModel, plan: object) -> None:
        raise KeyboardInterrupt  # nothing that catches errors catches this, as nothing catches a SIGKILL

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(RevertModel, "apply", die)
        with pytest.raises(KeyboardInterrupt):
            run(model, first)
    second = opened(ledger, "dataset:transactions", Category.data)
    assert run(data, second).status is Status.waiting
    assert broken_system.dataset == broken_system.broken
    assert f"a crash left in doubt what {first} changed" in lastgood("why", second)
    assert run(model, first).status is Status.resolved
    assert run(data, second).status is Status.resolved
    assert (broken_system.dataset, broken_system.alias) == (broken_system.good, broken_system.model_good)


def test_what_is_held_down_waits_and_is_asked_again(
    broken_system: System, ledger: Ledger, change_playbook: ChangePlaybook
) -> None:
    """An alert that goes on firing is acted on once it has for long enough; both decisions are on the record."""
    change_playbook(HOLD, "hold_down_seconds: {2: 6}")
    incident, _ = fired(ledger)
    assert run(data, incident).status is Status.resolved
    says = [event.body.mode for event in ledger.events(incident=incident) if isinstance(event.body, Gated)]
    assert says[:2] == [Mode.ask, Mode.run]
    assert broken_system.dataset == broken_system.good


def test_what_stops_firing_while_it_is_held_down_is_left(
    broken_system: System, ledger: Ledger, change_playbook: ChangePlaybook, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An alert that is over before its time is none to act on; a person is told."""
    change_playbook(HOLD, "hold_down_seconds: {2: 6}")
    incident, alert = fired(ledger)
    real = gatekeeper.ask

    def then_over(*given: Any) -> Gated:
        gated = real(*given)
        ended = AlertEnded(alert=alert.model_copy(update={"firing": False}))
        ledger.append(ended, actor="intake:generic", incident=incident)
        return gated

    monkeypatch.setattr(gatekeeper, "ask", then_over)
    assert run(data, incident).status is Status.waiting
    assert broken_system.dataset == broken_system.broken
    assert "hold-down gate: ask, no alert of the incident is firing any more" in lastgood("why", incident)


def test_the_intent_says_what_is_touched(broken_system: System, ledger: Ledger) -> None:
    """On the record of the intent stand the asset that is changed, everything that it touches, and every gate."""
    incident = opened(ledger, "dataset:transactions", Category.data)
    assert run(data, incident).status is Status.resolved
    intents = [event.body for event in ledger.events(incident=incident) if isinstance(event.body, Applying)]
    asked = [intent.asked for intent in intents if intent.asked]
    assert [(one.subject, one.reach) for one in asked] == [
        ("dataset:transactions", ("dataset:transactions", "model:fraud")),
        ("model:fraud", ("model:fraud",)),
    ]
    assert all(gate.says is Mode.run for intent in intents for gate in intent.gates)
    assert [intent.action for intent in intents] == [RollbackDataset.name(), RevertModel.name()]
