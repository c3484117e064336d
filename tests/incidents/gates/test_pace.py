"""Budgets, the storm, cool-down, hold-down and flapping: what each counts, and what it leaves alone."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from incidents.limits import Budget
from incidents.models import Mode, Severity
from incidents.playbook import ActionRule, Playbook
from tests.incidents.asking import AT, PLAN, asked, deed, facts, gate, limited

TWO = Budget(at_most=2, per_minutes=10)
ELSEWHERE = {"asset": "model:fraud", "action": "revert_model"}


@pytest.mark.parametrize(
    ("name", "limits", "counted", "not_counted"),
    [
        ("action budget", {"per_action": TWO}, {"asset": "dataset:other"}, {"action": "revert_model"}),
        ("asset budget", {"per_asset": TWO}, {"action": "revert_model"}, {"asset": "model:fraud"}),
        ("storm", {"storm": TWO}, ELSEWHERE, None),
    ],
)
def test_a_budget(
    book: Playbook, name: str, limits: dict[str, Any], counted: dict[str, Any], not_counted: dict[str, Any] | None
) -> None:
    """So many within so long, and one more asks; what is of another kind, or too long ago, does not count."""
    changed = limited(book, **limits)
    one, two = deed(599, **counted), deed(30, **counted)
    assert gate(name, asked(), changed, facts(deeds=(one,))).says is Mode.run
    full = gate(name, asked(), changed, facts(deeds=(one, two)))
    assert full.says is Mode.ask
    assert full.until == AT + timedelta(seconds=1)
    assert "2 times in the last 10 min, the limit is 2" in full.why
    assert gate(name, asked(), changed, facts(deeds=(deed(600, **counted), two))).says is Mode.run
    if not_counted is not None:
        assert gate(name, asked(), changed, facts(deeds=(one, deed(1, **not_counted)))).says is Mode.run


def test_a_rule_has_its_own_pace(book: Playbook) -> None:
    """An action's own budget and cool-down stand in place of those for all."""
    rule = ActionRule(mode=Mode.run, budget=Budget(at_most=1, per_minutes=10), cool_down_seconds=0)
    changed = book.model_copy(update={"actions": {PLAN.action: rule}})
    known = facts(deeds=(deed(1),))
    assert gate("action budget", asked(), changed, known).says is Mode.ask
    assert gate("cool-down", asked(), changed, known).says is Mode.run
    assert gate("cool-down", asked(), book, known).says is Mode.ask


def test_a_budget_of_nothing_never_ends(book: Playbook) -> None:
    """With nothing to spend there is no moment from which on there is something."""
    found = gate("storm", asked(), limited(book, storm=Budget(at_most=0, per_minutes=1)), facts())
    assert (found.says, found.until) == (Mode.ask, None)


def test_cool_down(book: Playbook) -> None:
    """The same action leaves the same asset alone; another action, or another asset, may go on."""
    changed = limited(book, cool_down_seconds=60)
    held = gate("cool-down", asked(), changed, facts(deeds=(deed(500), deed(59))))
    assert (held.says, held.until) == (Mode.ask, AT + timedelta(seconds=1))
    for other in ({"action": "revert_model"}, {"asset": "dataset:other"}):
        assert gate("cool-down", asked(), changed, facts(deeds=(deed(1, **other),))).says is Mode.run
    assert gate("cool-down", asked(), changed, facts(deeds=(deed(60),))).says is Mode.run


def test_the_asset_that_is_changed_counts(book: Playbook) -> None:
    """In an incident about a dataset the model that is reverted is what cools down, not the dataset."""
    changed = limited(book, cool_down_seconds=60)
    known = facts(deeds=(deed(1, asset="model:fraud"),))
    assert gate("cool-down", asked(subject="model:fraud"), changed, known).says is Mode.ask
    assert gate("cool-down", asked(), changed, known).says is Mode.run


def test_hold_down(book: Playbook) -> None:
    """It runs once an alert has been firing for long enough, and asks where none is firing any more."""
    changed = limited(book, hold_down_seconds={Severity.high: 300})
    young = gate("hold-down", asked(), changed, facts(firing_since=AT - timedelta(seconds=299)))
    assert (young.says, young.until) == (Mode.ask, AT + timedelta(seconds=1))
    assert gate("hold-down", asked(), changed, facts(firing_since=AT - timedelta(seconds=300))).says is Mode.run
    over = gate("hold-down", asked(), changed, facts())
    assert (over.says, over.until) == (Mode.ask, None)
    assert gate("hold-down", asked(severity=Severity.critical), changed, facts()).says is Mode.run
    assert gate("hold-down", asked(incident=""), changed, facts()).says is Mode.run, "a rehearsal has no alert"


def test_flapping(book: Playbook) -> None:
    """What was opened again and again after a close, lately, is for a person."""
    changed = limited(book, flapping=TWO)
    late, early = AT - timedelta(minutes=1), AT - timedelta(minutes=11)
    assert gate("flapping", asked(), changed, facts(reopened=(early, late))).says is Mode.run
    assert gate("flapping", asked(), changed, facts(reopened=(late, late))).says is Mode.ask
