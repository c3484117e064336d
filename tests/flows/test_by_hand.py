"""Actions run by a person: plan changes nothing, apply lands on the record with who asked, undo takes it back."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from flows import by_hand
from flows.case import Outcome
from incidents.events import Alerted, Opened
from incidents.incident import find
from incidents.ledger import Ledger
from incidents.models import Alert, Category, Plan, Severity, Status, now
from remediations import ALL, QuarantineModel, RevertModel, RollbackDataset
from tests.flows.kit import System, judge, kinds, opened

REVERT = RevertModel(model="fraud", because="the champion answers badly")
ROLLBACK = RollbackDataset(dataset="transactions", because="the feed is in cents")


def ask(flow: Any, **given: Any) -> Any:
    """Run an action's flow as the Prefect UI does."""
    return asyncio.run(flow(asked_by="anna", **given))


def test_a_plan_changes_nothing_and_opens_nothing(broken_system: System, ledger: Ledger) -> None:
    """`plan` is what the form begins with, so it has to be harmless."""
    before = len(ledger.events())
    plan = ask(by_hand.revert_model, action=REVERT)
    assert isinstance(plan, Plan)
    assert plan.after == {"version": broken_system.model_good}
    assert broken_system.alias == broken_system.model_broken
    assert len(ledger.events()) == before


def test_an_apply_is_on_the_record_with_who_asked_and_why(broken_system: System, ledger: Ledger) -> None:
    """A year later the record says who moved the alias, and what for."""
    outcome = ask(by_hand.revert_model, action=REVERT, do="apply")
    assert outcome.status is Status.resolved, outcome.why
    assert broken_system.alias == broken_system.model_good
    incident = find(ledger, outcome.incident)
    assert {event.actor for event in incident.events} == {"person:anna"}
    assert "the champion answers badly" in incident.title
    gates = incident.attempts[0].gated
    assert gates is not None
    assert {gate.name: gate.says for gate in gates.gates}["matrix"] == "ask", "severity 3 asks, and anna is the answer"


def test_an_undo_takes_back_what_the_last_apply_did(broken_system: System, ledger: Ledger) -> None:
    """Undo works from the record alone, and the second undo finds nothing to take back."""
    ask(by_hand.rollback_dataset, action=ROLLBACK, do="apply")
    assert broken_system.dataset == broken_system.good
    applied = ask(by_hand.rollback_dataset, action=ROLLBACK, do="undo")
    assert applied.status is Status.resolved
    assert broken_system.dataset == broken_system.broken
    assert "undone" in kinds(ledger, "INC-1")
    assert ask(by_hand.rollback_dataset, action=ROLLBACK, do="undo").status is Status.escalated


def test_an_apply_can_belong_to_an_incident(broken_system: System, ledger: Ledger) -> None:
    """What a person does about an incident stands in that incident."""
    incident = opened(ledger, "model:fraud", Category.model, Severity.low)
    outcome: Outcome = ask(by_hand.revert_model, action=REVERT, do="apply", incident=incident)
    assert (outcome.incident, outcome.status) == (incident, Status.resolved)


def test_what_does_not_heal_leaves_the_incident_as_it_stands(broken_system: System, ledger: Ledger) -> None:
    """Contained, and let in again: both are on the incident's record, and the trouble that it is about goes on."""
    incident = opened(ledger, "model:fraud", Category.security)
    shut = QuarantineModel(model="fraud", version=broken_system.model_broken, because="it may be tampered with")
    assert ask(by_hand.quarantine_model, action=shut, do="apply").incident == incident
    told = kinds(ledger, incident)
    assert told[-2:] == ["applied", "verified"]
    assert (find(ledger, incident).status, ledger.incidents()[0].closed_at) == (Status.open, None)
    assert QuarantineModel(model="fraud", version=broken_system.model_broken).plan().before["tag"] is not None
    assert ask(by_hand.quarantine_model, action=shut, do="undo").status is Status.escalated, "it takes two"
    outcome = asyncio.run(by_hand.quarantine_model(action=shut, asked_by="ben", do="undo"))
    assert (outcome.incident, outcome.status) == (incident, Status.escalated)
    assert kinds(ledger, incident)[-1] == "undone"


@pytest.mark.parametrize(
    ("asset", "category"), [("dataset:transactions", Category.model), ("model:fraud", Category.security)]
)
def test_an_incident_about_something_else_goes_on(
    broken_system: System, ledger: Ledger, asset: str, category: Category
) -> None:
    """The model is seen to be well again, which says nothing of another asset, nor of a breach."""
    incident = opened(ledger, asset, category, Severity.low)
    outcome: Outcome = ask(by_hand.revert_model, action=REVERT, do="apply", incident=incident)
    assert (broken_system.alias, outcome.incident) == (broken_system.model_good, incident)
    assert (find(ledger, incident).status is Status.resolved, ledger.incidents()[0].closed_at) == (False, None)


def test_an_incident_that_an_alert_has_joined_is_about_more_than_the_action(
    broken_system: System, ledger: Ledger
) -> None:
    """Begun by hand, and somebody else has seen a symptom since: what contains does not end it."""
    shut = QuarantineModel(model="fraud", version=99, because="a version that is not there")
    first: Outcome = ask(by_hand.quarantine_model, action=shut, do="apply")
    told = Alert(source="generic", fingerprint="f", episode="1", starts_at=now(), firing=True, name="it answers badly")
    ledger.append(Alerted(alert=told), actor="intake", incident=first.incident)
    fits = shut.model_copy(update={"version": broken_system.model_broken})
    again: Outcome = ask(by_hand.quarantine_model, action=fits, do="apply")
    assert (again.incident, ledger.incidents()[0].closed_at) == (first.incident, None)
    assert kinds(ledger, first.incident)[-1] == "verified"


def test_an_incident_that_is_about_the_action_ends_with_it(broken_system: System, ledger: Ledger) -> None:
    """Begun by hand, what contains is all there is to do, and so it is closed; another action does not close it."""
    shut = QuarantineModel(model="fraud", version=99, because="a version that is not there")
    first: Outcome = ask(by_hand.quarantine_model, action=shut, do="apply")
    assert first.status is Status.escalated
    fits = shut.model_copy(update={"version": broken_system.model_broken})
    again: Outcome = ask(by_hand.quarantine_model, action=fits, do="apply")
    assert (again.incident, again.status) == (first.incident, Status.resolved)


def test_without_a_reason_nothing_is_done(broken_system: System, ledger: Ledger) -> None:
    """Why is the half of the record that nobody can find out later."""
    with pytest.raises(ValueError, match="because"):
        ask(by_hand.revert_model, action=RevertModel(model="fraud"), do="apply")
    assert broken_system.alias == broken_system.model_broken


def test_a_version_never_verified_good_is_refused_by_hand_too(broken_system: System, ledger: Ledger) -> None:
    """Law 6 holds for people as well; the incident says what is missing."""
    action = RevertModel(model="fraud", to=broken_system.model_broken, because="I want it")
    outcome: Outcome = ask(by_hand.revert_model, action=action, do="apply")
    assert outcome.status is Status.escalated
    assert "never verified good" in outcome.why


def test_even_if_good_leaves_a_good_version(broken_system: System, ledger: Ledger) -> None:
    """A person who knows better can leave a version that the record calls good."""
    judge(ledger, "model:fraud", str(broken_system.model_broken))
    assert RevertModel(model="fraud").plan().nothing_to_do
    plan = RevertModel(model="fraud", even_if_good=True).plan()
    assert plan.after == {"version": broken_system.model_good}


@pytest.mark.parametrize("action", ALL, ids=lambda action: action.name())
def test_the_form_is_drawn_from_the_actions_own_fields(action: Any) -> None:
    """Every field of the action is in the flow's schema, with its description, so the form explains itself."""
    schema = by_hand.FLOWS[action.name()].parameters.model_dump()
    fields = schema["definitions"][action.__name__]["properties"]
    assert set(fields) == set(action.model_fields)
    assert all(field["description"] for field in fields.values())
    assert {"action", "asked_by"} == set(schema["required"])
    assert schema["properties"]["asked_by"]["description"]


def test_a_by_hand_incident_is_titled_by_its_action(broken_system: System, ledger: Ledger) -> None:
    """The list of incidents tells what people did from what alerts began."""
    ask(by_hand.revert_model, action=REVERT, do="apply")
    first = ledger.events(incident="INC-1")[0].body
    assert isinstance(first, Opened)
    assert first.title.startswith("revert_model by hand: anna: ")
