"""Plans that wait for people, against the real S3, MLflow and Prefect: what runs, what does not, and what is void."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select
from typer.testing import CliRunner

from flows import by_hand
from flows.answer import answer
from flows.data import data
from flows.model import model
from incidents import questions
from incidents.cli import app
from incidents.events import Alerted, AskedFor, Gated, Paused, Started
from incidents.history import AUTOMATION
from incidents.incident import find
from incidents.ledger import Ledger
from incidents.models import Alert, Category, Mode, Severity, Status, now
from incidents.outbox import deliver_due
from incidents.schema import outbox
from remediations import RevertModel
from tests.flows.kit import ChangePlaybook, System, kinds, opened, run

SECTIONS = {"data/data": data, "model/model": model}


def lastgood(*arguments: str, code: int = 0) -> str:
    """Run the command line on this test's ledger."""
    done = CliRunner().invoke(app, list(arguments))
    assert done.exit_code == code, done.output
    return done.output


def work_off(ledger: Ledger) -> list[str]:
    """Do what the outbox holds: run the sections that are to be started, as a worker does. Returns the jobs' keys."""
    ran: list[str] = []

    async def launch(job: dict[str, Any]) -> None:
        ran.append(job["key"])
        await SECTIONS[job["deployment"]](**job["parameters"])

    while asyncio.run(deliver_due(ledger, {"launch": launch})):
        pass
    return ran


def told(ledger: Ledger) -> str:
    """Everything that people are to be told."""
    with ledger.engine.connect() as connection:
        return "\n".join(connection.scalars(select(outbox.c.payload).where(outbox.c.kind == "tell")))


def test_it_waits_and_runs_when_a_person_says_yes(broken_system: System, ledger: Ledger) -> None:
    """The flow ends with nothing changed; the yes starts it again, and the very plan that was shown is applied."""
    incident = opened(ledger, "model:fraud", Category.model, Severity.low)
    assert run(model, incident).status is Status.waiting
    assert broken_system.alias == broken_system.model_broken
    assert find(ledger, incident).status is Status.waiting
    assert ledger.incidents()[0].status == "waiting"
    assert f"lastgood approve {incident}" in told(ledger)
    assert "is approved" in lastgood("approve", incident, "--by", "anna")
    assert len(work_off(ledger)) == 1
    assert find(ledger, incident).status is Status.resolved
    assert broken_system.alias == broken_system.model_good
    story = [kind for kind in kinds(ledger, incident) if kind not in {"checked", "judged", "moved", "seen"}]
    assert story.count("planned") == story.count("applied") == 1, "planned anew it is the same, and that is the plan"
    assert "approval gate: run, anna approved it" in lastgood("why", incident)


def test_every_action_of_a_section_waits_for_its_own_yes(broken_system: System, ledger: Ledger) -> None:
    """A yes to the dataset is none to the model; what was done is not done again when the flow is entered again."""
    incident = opened(ledger, "dataset:transactions", Category.data, Severity.low)
    assert run(data, incident).status is Status.waiting
    lastgood("approve", incident, "--by", "anna")
    work_off(ledger)
    assert (broken_system.dataset, broken_system.alias) == (broken_system.good, broken_system.model_broken)
    assert find(ledger, incident).status is Status.waiting
    lastgood("approve", incident, "--by", "anna")
    work_off(ledger)
    assert find(ledger, incident).status is Status.resolved
    assert broken_system.alias == broken_system.model_good
    assert kinds(ledger, incident).count("applied") == 2


def test_when_the_world_moved_the_yes_is_void_and_asked_again(broken_system: System, ledger: Ledger) -> None:
    """Law 9: a person moved the pointer after the plan was made, even to the same version: that is another world."""
    incident = opened(ledger, "dataset:transactions", Category.data, Severity.low)
    run(data, incident)
    first = find(ledger, incident).last(AskedFor)
    lastgood("approve", incident, "--by", "anna")
    broken_system.set(broken_system.broken, broken_system.model_broken)
    work_off(ledger)
    found = find(ledger, incident)
    assert found.status is Status.waiting
    assert broken_system.dataset == broken_system.broken
    assert "the world has moved" in lastgood("why", incident)
    second = found.last(AskedFor)
    assert first is not None
    assert second is not None
    assert first.body != second.body
    lastgood("approve", incident, "--by", "anna")
    work_off(ledger)
    assert broken_system.dataset == broken_system.good


def test_a_no_goes_to_a_person_and_is_remembered(broken_system: System, ledger: Ledger) -> None:
    """What was dismissed is not asked again, nor in another incident: it goes to a person, who reads who said no."""
    first = opened(ledger, "dataset:transactions", Category.data, Severity.low)
    run(data, first)
    lastgood("reject", first, "--by", "anna", "--because", "the feed is right")
    assert find(ledger, first).status is Status.escalated
    assert work_off(ledger) == []
    lastgood("close", first, "--by", "anna", "--because", "the feed is right")
    second = opened(ledger, "dataset:transactions", Category.data, Severity.low)
    outcome = run(data, second)
    assert outcome.status is Status.escalated
    assert "anna said no to the same" in outcome.why
    assert "the feed is right" in outcome.why
    assert "asked_for" not in kinds(ledger, second)
    assert broken_system.dataset == broken_system.broken


def test_a_no_stops_what_would_run_by_itself_and_not_a_person(broken_system: System, ledger: Ledger) -> None:
    """At a worse severity every gate says run, and yet somebody said no to just that; by hand a person may do it."""
    first = opened(ledger, "model:fraud", Category.model, Severity.low)
    run(model, first)
    lastgood("reject", first, "--by", "anna", "--because", "it is measured wrongly")
    lastgood("close", first, "--by", "anna", "--because", "it is measured wrongly")
    second = opened(ledger, "model:fraud", Category.model, Severity.high)
    outcome = run(model, second)
    assert outcome.status is Status.escalated
    assert "not asked again" in outcome.why
    assert "anna said no to the same" in outcome.why
    sheet = find(ledger, second).attempts[0].gated
    assert sheet is not None
    assert sheet.mode is Mode.run, "no gate was in the way"
    assert broken_system.alias == broken_system.model_broken
    revert = RevertModel(model="fraud", because="it is measured rightly now")
    asyncio.run(by_hand.revert_model(action=revert, asked_by="ben", do="apply", incident=second))
    assert broken_system.alias == broken_system.model_good


def test_a_gate_that_asks_only_now_was_not_answered(broken_system: System, ledger: Ledger) -> None:
    """A pause after the yes holds: it is asked again, about the pause as well; and that yes then overrules it."""
    incident = opened(ledger, "model:fraud", Category.model, Severity.low)
    run(model, incident)
    lastgood("approve", incident, "--by", "anna")
    ledger.append(Paused(why="wait"), actor="person:ben", subject=AUTOMATION)
    work_off(ledger)
    assert find(ledger, incident).status is Status.waiting
    assert broken_system.alias == broken_system.model_broken
    assert "pause asks now" in lastgood("why", incident)
    lastgood("approve", incident, "--by", "anna")
    work_off(ledger)
    assert broken_system.alias == broken_system.model_good


def test_entered_again_while_it_waits_nobody_is_asked_twice(broken_system: System, ledger: Ledger) -> None:
    """A run that is started twice, or by hand from the Prefect UI, finds the question that stands."""
    incident = opened(ledger, "dataset:transactions", Category.data, Severity.low)
    assert [run(data, incident).status for _ in range(2)] == [Status.waiting] * 2
    assert kinds(ledger, incident).count("asked_for") == kinds(ledger, incident).count("planned") == 1


def test_what_gets_worse_while_it_waits_goes_to_a_person(broken_system: System, ledger: Ledger) -> None:
    """A worse alert joins: whoever was asked about severity 4 was not asked about this."""
    incident = opened(ledger, "dataset:transactions", Category.data, Severity.low)
    run(data, incident)
    fields: dict[str, Any] = {"source": "generic", "fingerprint": "f", "episode": "1", "starts_at": now()}
    alert = Alert(**fields, firing=True, name="Worse", severity=Severity.critical)
    ledger.append(Alerted(alert=alert), actor="intake:generic", incident=incident)
    outcome = run(data, incident)
    assert outcome.status is Status.escalated
    assert "got worse" in outcome.why
    assert broken_system.dataset == broken_system.broken


def test_the_form_answers_and_says_why_an_answer_does_not_count(
    broken_system: System, ledger: Ledger, change_playbook: ChangePlaybook
) -> None:
    """From the Prefect UI: two different people are needed, and the one who began it is none of them."""
    change_playbook("quorum: {1: 2, 2: 1, 3: 1, 4: 1}", "quorum: {4: 2}")
    incident = opened(ledger, "model:fraud", Category.model, Severity.low)
    ledger.append(Started(flow="by_hand"), actor="person:carl", incident=incident)
    run(model, incident)

    def say(who: str) -> Any:
        form: Any = answer
        return asyncio.run(form(incident=incident, answer="approve", asked_by=who, return_state=True))

    assert say("Carl").name == "NotAsked"
    assert say("anna").name == "Approved"
    assert work_off(ledger) == []
    assert "has said yes before" in str(say("ANNA").message)
    assert say("ben").name == "Approved"
    assert len(work_off(ledger)) == 1
    assert broken_system.alias == broken_system.model_good
    sheet = find(ledger, incident).attempts[-1].gated
    assert isinstance(sheet, Gated)
    assert sheet.gates[-1].why == "anna, ben approved it"


def test_what_ran_out_is_no_yes(broken_system: System, ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    """An approval that comes to be used after its time is void, and people are asked again."""
    incident = opened(ledger, "model:fraud", Category.model, Severity.low)
    run(model, incident)
    lastgood("approve", incident, "--by", "anna")
    with monkeypatch.context() as patch:
        patch.setattr(questions, "now", lambda: now() + timedelta(days=1))
        work_off(ledger)
    assert broken_system.alias == broken_system.model_broken
    assert kinds(ledger, incident).count("asked_for") == 2
    assert find(ledger, incident).status is Status.waiting
