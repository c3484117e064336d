"""The sections of the playbook, run against a real S3 server, MLflow server, Prefect server and model service."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import UUID

import pytest
from prefect import flow
from prefect.client.orchestration import get_client

from flows.case import Case, WrongSection
from flows.checks import Look, ModelCheck
from flows.data import data
from flows.infrastructure import infrastructure
from flows.model import model
from flows.security import security
from flows.steps import confirm
from incidents import moves
from incidents.events import Escalated, Started
from incidents.incident import find
from incidents.ledger import Ledger
from incidents.models import Category, Frozen, Health, Severity, Status, Verdict
from remediations import RevertModel, RollbackDataset, pointers
from remediations.base import Conflict
from remediations.clients import registry
from tests.flows.kit import ChangePlaybook, System, judge, kinds, opened, run


def test_data_brings_the_dataset_and_the_models_trained_on_it_back(broken_system: System, ledger: Ledger) -> None:
    """The pointer, the alias and the served version really change back, and the record says in which order."""
    incident = opened(ledger, "dataset:transactions", Category.data)
    outcome = run(data, incident)
    assert outcome.status is Status.resolved, outcome.why
    assert (broken_system.dataset, broken_system.alias) == (broken_system.good, broken_system.model_good)
    look = ModelCheck(model="fraud").look()
    assert (look.version, look.verdict.health) == (str(broken_system.model_good), Health.healthy)
    story = [kind for kind in kinds(ledger, incident) if kind not in {"judged", "checked", "moved"}]
    one_action = ["planned", "gated", "applying", "applied", "verified"]
    assert story == ["opened", "started", "traced", *one_action, *one_action, "resolved"]


def test_the_model_versions_say_in_their_tags_what_was_done(broken_system: System, ledger: Ledger) -> None:
    """Whoever opens MLflow reads in both versions' tags which incident moved the alias."""
    incident = opened(ledger, "model:fraud", Category.model)
    assert run(model, incident).status is Status.resolved
    withdrawn = registry().get_model_version("fraud", str(broken_system.model_broken)).tags.values()
    restored = registry().get_model_version("fraud", str(broken_system.model_good)).tags.values()
    assert any("withdrawn" in text and incident in text for text in withdrawn)
    assert any("restored" in text and incident in text for text in restored)


def test_what_is_not_confirmed_changes_nothing(system: System, ledger: Ledger) -> None:
    """Law 5: the check that the alert claims failed is run again, and where it passes nothing is touched."""
    system.set(system.good, system.model_good)
    incident = opened(ledger, "dataset:transactions", Category.data)
    assert run(data, incident).status is Status.not_confirmed
    assert "planned" not in kinds(ledger, incident)
    assert system.dataset == system.good


def test_a_dead_service_is_inconclusive_and_goes_to_a_person(
    broken_system: System, ledger: Ledger, change_playbook: ChangePlaybook, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Law 4: a model that cannot be seen healthy is not called healed; what was done is left, and a person is asked."""
    monkeypatch.setenv("LASTGOOD_FRAUD_SERVICE", "http://127.0.0.1:9")
    change_playbook("within_seconds: 60", "within_seconds: 2")
    incident = opened(ledger, "dataset:transactions", Category.data)
    assert run(data, incident).status is Status.escalated
    assert broken_system.alias == broken_system.model_good
    attempt = find(ledger, incident).attempts[-1]
    assert (attempt.plan.action, attempt.state) == ("revert_model", "inconclusive")


class Blinking(Frozen):
    """A check of something that is changing just now: it tells nothing yet, so many times, and then it tells."""

    told: list[Health]
    subject: str = "model:fraud"
    patient: bool = True
    consecutive: int = 1

    def look(self) -> Look:
        """The next thing that there is to see."""
        health = self.told.pop(0) if len(self.told) > 1 else self.told[0]
        return Look(subject=self.subject, verdict=Verdict(health=health, why="seen"))


@pytest.mark.parametrize("finally_seen", [Health.unhealthy, Health.healthy])
def test_a_service_between_two_versions_is_looked_at_again(
    finally_seen: Health, ledger: Ledger, prefect_server: object
) -> None:
    """A service that loads a version just now answers with two; that is no reason to wake a person."""
    case = Case(opened(ledger, "model:fraud", Category.model), actor="test")

    @flow
    async def looking() -> Verdict:
        return await confirm(case, Blinking(told=[Health.inconclusive, Health.inconclusive, finally_seen]))

    assert asyncio.run(looking()).health is finally_seen


def test_without_a_version_verified_good_nothing_is_changed(system: System, ledger: Ledger) -> None:
    """Law 6: there is no 'N minus 1': what was never verified good is no target, and the incident goes to a person."""
    system.break_it()
    incident = opened(ledger, "dataset:transactions", Category.data)
    outcome = run(data, incident)
    assert outcome.status is Status.escalated
    assert "verified good" in outcome.why
    assert (system.dataset, system.alias) == (system.broken, system.model_broken)


def test_a_version_trained_on_bad_data_is_no_target(broken_system: System, ledger: Ledger) -> None:
    """A model version once verified good is passed over when the data that it learned from turned out to be bad."""
    judge(ledger, "dataset:transactions", broken_system.good, Health.unhealthy)
    outcome = run(model, opened(ledger, "model:fraud", Category.model))
    assert outcome.status is Status.escalated
    assert broken_system.good in outcome.why
    assert broken_system.alias == broken_system.model_broken


def test_low_severity_is_proposed_and_not_done(broken_system: System, ledger: Ledger) -> None:
    """An action that the matrix does not let run is on the record as proposed, with every gate's answer."""
    incident = opened(ledger, "dataset:transactions", Category.data, Severity.low)
    assert run(data, incident).status is Status.waiting
    attempt = find(ledger, incident).attempts[0]
    assert attempt.state == "proposed"
    assert attempt.gated is not None
    assert {gate.name for gate in attempt.gated.gates} >= {"matrix", "rule", "way back", "asset"}
    assert broken_system.dataset == broken_system.broken


def test_a_persons_change_in_between_is_left_as_it_is(broken_system: System, ledger: Ledger) -> None:
    """Law 3: between plan and apply a person moved the pointer; that stays, and it is a conflict on the record."""
    incident = opened(ledger, "dataset:transactions", Category.data)
    real = RollbackDataset.apply

    def meddle(action: RollbackDataset, plan: object) -> None:
        broken_system.set(broken_system.broken, broken_system.model_broken)
        real(action, plan)  # type: ignore[arg-type]  # it is the plan

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(RollbackDataset, "apply", meddle)
        outcome = run(data, incident)
    assert outcome.status is Status.escalated
    assert broken_system.dataset == broken_system.broken
    assert "conflicted" in kinds(ledger, incident)


def test_a_fix_that_does_not_help_is_undone(
    broken_system: System, ledger: Ledger, change_playbook: ChangePlaybook
) -> None:
    """Law 4: the version that once was good is not good enough today; the alias is put back, and a person is asked."""
    change_playbook("within_seconds: 60", "within_seconds: 8", "at_least: 0.7", "at_least: 1.0")
    incident = opened(ledger, "model:fraud", Category.model)
    assert run(model, incident).status is Status.escalated
    attempt = find(ledger, incident).attempts[0]
    assert attempt.state == "undone"
    assert broken_system.alias == broken_system.model_broken
    tags = registry().get_model_version("fraud", str(broken_system.model_good)).tags
    assert f"lastgood.{attempt.plan.hash[:12]}" not in tags, "the tags of what was undone are still there"


def test_an_undo_that_breaks_is_told_to_a_person(
    broken_system: System, ledger: Ledger, change_playbook: ChangePlaybook, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The alias stays at what did not help; whoever takes over reads that, and not just that something broke."""
    change_playbook("within_seconds: 60", "within_seconds: 8", "at_least: 0.7", "at_least: 1.0")
    incident = opened(ledger, "model:fraud", Category.model)

    def refused(_action: RevertModel, _plan: object) -> None:
        raise ConnectionError("the registry is away")

    monkeypatch.setattr(RevertModel, "undo", refused)
    with pytest.raises(ConnectionError):
        run(model, incident)
    found = find(ledger, incident)
    [told] = [event.body.why for event in found.events if isinstance(event.body, Escalated)]
    assert f"taking back {found.attempts[0].plan.summary} did not come to its end" in told
    assert broken_system.alias == broken_system.model_good


def test_entered_again_after_a_crash_it_goes_on_where_it_was(broken_system: System, ledger: Ledger) -> None:
    """Law 2: the process dies after the effect and before its record; entered again, nothing is applied twice."""
    incident = opened(ledger, "dataset:transactions", Category.data)
    real = RollbackDataset.apply
    calls: list[str] = []

    def die(action: RollbackDataset, plan: object) -> None:
        real(action, plan)  # type: ignore[arg-type]  # it is the plan
        raise KeyboardInterrupt  # nothing that catches errors catches this, as nothing catches a SIGKILL

    def count(action: RollbackDataset, plan: object) -> None:
        calls.append(broken_system.dataset)
        real(action, plan)  # type: ignore[arg-type]  # it is the plan

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(RollbackDataset, "apply", die)
        with pytest.raises(KeyboardInterrupt):
            run(data, incident)
    assert kinds(ledger, incident)[-1] == "applying"
    pointer = broken_system.store.current()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(RollbackDataset, "apply", count)
        assert run(data, incident).status is Status.resolved
    assert broken_system.store.current() == pointer, "the pointer was moved a second time"
    assert calls == [broken_system.good]
    assert kinds(ledger, incident).count("planned") == 2, "one plan for the dataset, one for the model"


@pytest.mark.parametrize("section", [data, infrastructure, model, security])
def test_an_incident_without_a_known_asset_goes_to_a_person(
    section: Any, ledger: Ledger, prefect_server: object
) -> None:
    """What the playbook does not declare is never changed."""
    incident = opened(ledger, None, Category(section.name))
    assert run(section, incident).status is Status.escalated


def test_a_section_refuses_an_incident_of_another_category(broken_system: System, ledger: Ledger) -> None:
    """As when two ledgers share a work pool, and both have an INC-1: nothing is done, and nothing is on the record."""
    incident = opened(ledger, "model:fraud", Category.model)
    with pytest.raises(WrongSection, match="run the section model for it"):
        run(data, incident)
    assert kinds(ledger, incident) == ["opened"]
    assert broken_system.alias == broken_system.model_broken


def test_apply_and_undo_are_safe_twice_and_refuse_after_a_third_partys_change(
    broken_system: System, ledger: Ledger
) -> None:
    """Twice is once; and where the world is neither before nor after, nothing is written, in either direction."""
    action = RevertModel(model="fraud", because="a test")
    plan = action.plan()
    for work, expected in [
        (action.apply, broken_system.model_good),
        (action.apply, broken_system.model_good),
        (action.undo, broken_system.model_broken),
        (action.undo, broken_system.model_broken),
    ]:
        work(plan)
        assert broken_system.alias == expected
    theirs = plan.model_copy(update={"before": {"version": 77}, "after": {"version": 78}})
    for refused in (action.apply, action.undo):
        with pytest.raises(Conflict, match="left as it is"):
            refused(theirs)
        assert broken_system.alias == broken_system.model_broken


def test_an_incident_says_that_somebody_moved_the_pointer(system: System, ledger: Ledger) -> None:
    """The alias was moved by hand after the last look: the incident's own timeline says so, before it is confirmed."""
    system.set(system.good, system.model_good)
    judge(ledger, "model:fraud", str(system.model_good))
    moves.see(ledger, lambda: pointers.look("model:fraud"), actor="flow:monitor")
    system.set(system.good, system.model_broken)
    incident = opened(ledger, "model:fraud", Category.model)
    assert run(model, incident).status is Status.resolved
    assert kinds(ledger, incident)[:4] == ["opened", "started", "moved", "checked"]
    told = [(move.how, move.after) for move in moves.moves(ledger, "models:/fraud@champion")]
    good, broken = str(system.model_good), str(system.model_broken)
    assert told == [("seen", good), ("seen", broken), ("applied", good)]


def test_the_run_and_the_incident_lead_to_each_other(system: System, ledger: Ledger) -> None:
    """The record has the run's id and page, and the run in Prefect is tagged with the incident and named after it."""
    incident = opened(ledger, None, Category.security)
    run(security, incident)
    started = find(ledger, incident).events[1].body
    assert isinstance(started, Started)
    assert started.url.endswith(f"/runs/flow-run/{started.run}")

    async def seen() -> tuple[list[str], str]:
        async with get_client() as client:
            found = await client.read_flow_run(UUID(started.run))
            return found.tags, found.name

    assert asyncio.run(seen()) == ([incident], f"{incident} no asset")
