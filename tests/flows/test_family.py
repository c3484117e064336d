"""One bad dataset with many model alerts is one parent incident with children; no alert is lost, nothing done twice."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from typing import Any

import pytest

from flows.data import data
from flows.model import model
from incidents import family
from incidents import incident as incidents
from incidents.events import Resolved, Traced
from incidents.ledger import Ledger
from incidents.models import Category, Severity, Status
from incidents.outbox import deliver_due
from incidents.timeline import timeline
from tests.flows.kit import ChangePlaybook, System, judge, kinds, opened, run
from tests.flows.many_models import SERVERS, aliases, break_them, many_models, name

#: Models with an alert; FAMILY=12 takes a minute.
MODELS = int(os.environ.get("FAMILY", "4"))
SECTIONS = {"data/data": data, "model/model": model}


@pytest.fixture(scope="module")
def declared(system: System) -> Iterator[str]:
    """The models in MLflow, their servers, and what the playbook says of them."""
    with many_models(system, MODELS) as text:
        yield text


@pytest.fixture
def broken_models(broken_system: System, ledger: Ledger, declared: str, change_playbook: ChangePlaybook) -> System:
    """All of them in production with what they learned from broken data, and version 1 of each verified good."""
    lenient = ["at_most: 10, ", "at_most: 999, ", "at_most: 5, ", "at_most: 999, ", "at_most: 20, ", "at_most: 999, "]
    change_playbook(*lenient, "blast_radius: 5", "blast_radius: 99", "models:\n", f"models:\n{declared}")
    broken_system.set(broken_system.broken, broken_system.model_good)  # fraud itself is not one of them
    break_them(MODELS)
    for number in range(MODELS):
        judge(ledger, f"model:{name(number)}", "1")
    return broken_system


def children(ledger: Ledger, severity: Severity = Severity.high) -> list[str]:
    """An incident about each of the models."""
    return [opened(ledger, f"model:{name(number)}", Category.model, severity) for number in range(MODELS)]


def find(ledger: Ledger, incident: str) -> incidents.Incident:
    """An incident as it stands, and the table that incidents are found by says the same."""
    found = incidents.find(ledger, incident)
    [row] = [row for row in ledger.incidents(limit=99) if f"INC-{row.number}" == incident]
    assert (row.status, row.severity) == (found.status, found.severity)
    return found


def work_off(ledger: Ledger) -> int:
    """Start what the outbox wants to be started."""

    async def start(job: dict[str, Any]) -> None:
        await SECTIONS[job["deployment"]](**job["parameters"])

    done = 0
    while count := asyncio.run(deliver_due(ledger, {"launch": start})):
        done += count
    return done


def test_one_bad_dataset_with_many_model_alerts_is_one_parent_with_children(
    broken_models: System, ledger: Ledger
) -> None:
    """The children wait for the parent, which brings each model back once, and close with it."""
    parent = opened(ledger, "dataset:transactions", Category.data)
    waiting = children(ledger)
    assert [run(model, child).status for child in waiting] == [Status.waiting] * MODELS
    assert run(data, parent).status is Status.resolved
    assert work_off(ledger) == MODELS
    found = [find(ledger, child) for child in waiting]
    assert {child.status for child in found} == {Status.resolved}
    assert all(f"with {parent}" in str(child.events[-1].body) for child in found)
    assert kinds(ledger, parent).count("joined") == MODELS
    assert aliases(MODELS) == [1] * MODELS
    moved = [ev.subject for ev in ledger.events(kinds=["applied"]) if str(ev.subject).startswith("models:/")]
    assert sorted(map(str, moved)) == sorted(f"models:/{name(number)}@champion" for number in range(MODELS))
    story = " ".join(line.text for line in timeline(find(ledger, parent)))
    assert f"Blast radius: 1 dataset, {MODELS} models, {min(SERVERS, MODELS)} services" in story


def test_children_are_told_to_go_on_when_the_parent_escalates(broken_models: System, ledger: Ledger) -> None:
    """Nothing to bring the data back to: each model is brought back by its own section, and no alert is lost."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("incidents.known_good.versions", lambda *_: set())
        parent = opened(ledger, "dataset:transactions", Category.data)
        child = opened(ledger, f"model:{name(0)}", Category.model)
        assert run(model, child).status is Status.waiting
        assert run(data, parent).status is Status.escalated
    assert work_off(ledger) == 1
    assert find(ledger, child).status is Status.resolved
    assert kinds(ledger, child).count("applied") == 1
    assert aliases(MODELS) == [1] + [2] * (MODELS - 1)


def test_a_model_that_learned_from_good_data_waits_for_nobody(broken_models: System, ledger: Ledger) -> None:
    """An incident about data that it did not learn from is not its parent."""
    parent = opened(ledger, "dataset:transactions", Category.data)
    other = opened(ledger, "model:fraud", Category.model)
    assert run(model, other).status is not Status.waiting
    assert "joined" not in kinds(ledger, parent)


def test_a_child_that_is_worse_makes_the_parent_worse(broken_models: System, ledger: Ledger) -> None:
    """The parent is as urgent as the worst that waits for it, and entered again it waits without another word."""
    parent = opened(ledger, "dataset:transactions", Category.data, Severity.low)
    child = opened(ledger, f"model:{name(0)}", Category.model, Severity.critical)
    assert [run(model, child).status for _ in range(2)] == [Status.waiting] * 2
    assert find(ledger, parent).severity is Severity.critical
    assert kinds(ledger, child).count("deferred") == 1


def test_a_parent_that_has_ended_is_waited_for_by_nobody(ledger: Ledger) -> None:
    """Between the look and the word it ended: there is nothing to wait for, and nothing is put on either record."""
    parent = opened(ledger, "dataset:transactions", Category.data)
    child = opened(ledger, "model:fraud", Category.model)
    ledger.append(Resolved(why="good"), actor="person:anna", incident=parent)
    assert not family.defer(ledger, child, parent, "flow:model")
    assert find(ledger, child).status is Status.open


def test_whoever_waits_for_what_has_ended_is_started_by_the_reconciler(ledger: Ledger) -> None:
    """However the parent was ended, a child that nobody has told is told in the end, and only once."""
    parent = opened(ledger, "dataset:transactions", Category.data)
    child = opened(ledger, "model:fraud", Category.model)
    assert family.defer(ledger, child, parent, "flow:model")
    assert family.release_left(ledger, "flow:reconcile") == []
    ledger.append(Resolved(why="good"), actor="person:anna", incident=parent)
    assert [name for name, _ in family.release_left(ledger, "flow:reconcile")] == [child]
    assert family.release_left(ledger, "flow:reconcile") == []
    assert find(ledger, child).status is Status.open
    assert kinds(ledger, child)[-1] == "released"


def test_a_version_that_the_parent_did_not_trace_is_none_of_its(broken_models: System, ledger: Ledger) -> None:
    """As soon as the parent has traced a version, only what learned from that one waits for it."""
    parent = opened(ledger, "dataset:transactions", Category.data)
    other = Traced(dataset="transactions", version=broken_models.good, models={})
    ledger.append(other, actor="flow:data", incident=parent)
    assert run(model, opened(ledger, f"model:{name(0)}", Category.model)).status is Status.resolved
