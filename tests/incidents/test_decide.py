"""May it run? Every gate is asked, the strictest counts, and only a named person lifts an ask."""

from __future__ import annotations

import itertools
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from incidents.decide import decide, strictest
from incidents.facts import Facts, Request
from incidents.gates import GATES
from incidents.limits import Budget, Freeze
from incidents.models import Category, Health, Mode, Risk, Severity
from incidents.playbook import ActionRule, Playbook
from tests.incidents import asking
from tests.incidents.asking import AT, PLAN, STRICTNESS, asked, deed, facts, histories, knowledge, requests

#: What a decision's sheet lists, in this order, each once.
NAMES = (
    "matrix",
    "critical",
    "rule",
    "way back",
    "asset",
    "blast radius",
    "autonomy",
    "action budget",
    "asset budget",
    "storm",
    "cool-down",
    "hold-down",
    "flapping",
    "freeze",
    "lease",
    "taken back",
    "pause",
    "frozen",
    "crash",
)
modes = st.sampled_from(list(Mode))
budgets = st.builds(Budget, at_most=st.integers(0, 6), per_minutes=st.sampled_from([1, 60, 600]))
severities = st.sampled_from(list(Severity))


@st.composite
def books(draw: st.DrawFn, book: Playbook) -> Playbook:
    """The shipped playbook with any matrix, rule, limits, freeze and autonomy."""
    matrix = {severity: {risk: draw(modes) for risk in Risk} for severity in Severity}
    rule = draw(st.none() | st.builds(ActionRule, mode=modes, budget=st.none() | budgets))
    limits: dict[str, Any] = {
        "per_action": draw(budgets),
        "per_asset": draw(budgets),
        "storm": draw(budgets),
        "flapping": draw(budgets),
        "cool_down_seconds": draw(st.sampled_from([0, 60])),
        "hold_down_seconds": draw(st.dictionaries(severities, st.sampled_from([0, 300]))),
        "blast_radius": draw(st.integers(1, 5)),
        "taken_back_minutes": draw(st.sampled_from([0, 60])),
        "pause_after_crash": draw(st.booleans()),
    }
    rules = {
        "at_least": draw(st.integers(1, 4)),
        "strict": draw(st.booleans()),
        "recover_after": draw(st.integers(0, 3)),
    }
    freeze = Freeze(
        name="now",
        timezone="UTC",
        first_day=AT.date(),
        last_day=AT.date(),
        breaks_through=draw(st.none() | severities),
        says=draw(st.sampled_from([Mode.ask, Mode.never])),
    )
    made = asking.trusting(asking.limited(book, **limits), **rules, critical_runs_alone=draw(st.booleans()))
    changed = {
        "gates": matrix,
        "actions": {PLAN.action: rule} if rule else {},
        "freeze": draw(st.sampled_from([(), (freeze,)])),
    }
    return made.model_copy(update=changed)


@pytest.mark.parametrize("person", ["", "anna"])
@pytest.mark.parametrize("asset", ["dataset:transactions", None])
@pytest.mark.parametrize("reversible", [True, False])
@pytest.mark.parametrize("rule", [None, *Mode])
def test_every_cell_is_decided(
    book: Playbook, rule: Mode | None, reversible: bool, asset: str | None, person: str
) -> None:
    """Severity x risk x rule x way back x asset x person, where nothing else stands in the way."""
    changed = book.model_copy(update={"actions": {PLAN.action: ActionRule(mode=rule)} if rule else {}})
    for severity, risk in itertools.product(Severity, Risk):
        request = asked(severity=severity, risk=risk, reversible=reversible, asset=asset, person=person)
        gated = decide(request, changed, facts())
        said = {gate.name: gate.says for gate in gated.gates if gate.name != "person"}
        assert said == dict.fromkeys(NAMES, Mode.run) | {
            "matrix": book.gates[severity][risk],
            "rule": rule or Mode.ask,
            "way back": Mode.run if reversible else Mode.ask,
            "asset": Mode.run if asset else Mode.ask,
        }
        expected = min(said.values(), key=STRICTNESS.__getitem__)
        assert gated.mode is (Mode.run if expected is Mode.ask and person else expected)
        assert (gated.plan, gated.playbook, gated.action) == (PLAN.hash, book.digest, PLAN.action)


@given(data=st.data(), request=requests, known=knowledge)
def test_never_more_lenient_than_the_strictest(
    book: Playbook, *, data: st.DataObject, request: Request, known: Facts
) -> None:
    """Every gate is on the sheet once, with a reason; the strictest counts; a person lifts an ask, nobody a never."""
    gated = decide(request, data.draw(books(book)), known)
    sheet = [gate for gate in gated.gates if gate.name != "person"]
    assert tuple(gate.name for gate in sheet) == NAMES
    assert len(sheet) == len(GATES)
    assert all(gate.why for gate in gated.gates)
    floor = min((gate.says for gate in sheet), key=STRICTNESS.__getitem__)
    if gated.mode is not floor:
        assert (floor, gated.mode, request.person) == (Mode.ask, Mode.run, "anna")
        assert [gate.says for gate in gated.gates if gate.name == "person"] == [Mode.run]
    if any(gate.says is Mode.never for gate in gated.gates):
        assert gated.mode is Mode.never


@given(data=st.data(), request=requests, known=knowledge)
def test_a_gate_that_holds_automation_back_never_holds_a_person(
    book: Playbook, *, data: st.DataObject, request: Request, known: Facts
) -> None:
    """A person by hand is stopped only by what says never: the matrix, the rule or a freeze."""
    gated = decide(asked(**request.model_dump() | {"person": "anna"}), data.draw(books(book)), known)
    nevers = {gate.name for gate in gated.gates if gate.says is Mode.never}
    assert nevers <= {"matrix", "rule", "freeze"}
    assert gated.mode is (Mode.never if nevers else Mode.run)


@given(data=st.data(), request=requests, past=histories(), ago=st.floats(0, 8000), undone=st.booleans())
def test_failures_never_make_it_more_lenient(
    book: Playbook, *, data: st.DataObject, request: Request, past: tuple[Any, ...], ago: float, undone: bool
) -> None:
    """With one more failure anywhere in the history no gate says anything milder, whatever the playbook."""
    changed = data.draw(books(book))
    health = data.draw(st.sampled_from([None, Health.healthy])) if undone else Health.unhealthy
    same = {"action": PLAN.action, "category": request.category, "severity": request.severity}
    failure = deed(ago, health=health, undone=undone, **same)
    worse = tuple(sorted((*past, failure), key=lambda one: one.at))
    before = decide(request, changed, facts(deeds=past))
    after = decide(request, changed, facts(deeds=worse))
    for one, other in zip(before.gates, after.gates, strict=False):
        if "person" not in (one.name, other.name):
            assert STRICTNESS[other.says] <= STRICTNESS[one.says], (one, other)
    assert STRICTNESS[after.mode] <= STRICTNESS[before.mode]


@given(data=st.data(), request=requests, known=knowledge)
def test_it_is_the_same_answer_again(book: Playbook, *, data: st.DataObject, request: Request, known: Facts) -> None:
    """No clock and no chance is in it: the same question has the same answer, and its record says what was asked."""
    changed = data.draw(books(book))
    gated = decide(request, changed, known)
    assert gated.asked is not None
    again = Request.model_validate(gated.asked.model_dump() | {"plan": request.plan})
    assert decide(again, changed, known) == gated


@given(data=st.data(), request=requests, known=knowledge)
def test_until_is_when_it_says_otherwise(
    book: Playbook, *, data: st.DataObject, request: Request, known: Facts
) -> None:
    """What a gate says is over at a moment is over at that moment, and not before."""
    changed = data.draw(books(book))
    for gate in decide(request, changed, known).gates:
        if gate.until is not None:
            at = {step: known.model_copy(update={"at": gate.until + timedelta(microseconds=step)}) for step in (-1, 0)}
            assert asking.gate(gate.name, request, changed, at[-1]).says is not Mode.run
            assert asking.gate(gate.name, request, changed, at[0]).says is Mode.run


def test_a_person_only_lifts_an_ask(book: Playbook) -> None:
    """Where it runs anyway, or never does, no person's gate stands on the sheet."""
    for rule in (Mode.run, Mode.never):
        changed = book.model_copy(update={"actions": {PLAN.action: ActionRule(mode=rule)}})
        gated = decide(asked(person="anna"), changed, facts())
        assert gated.mode is rule
        assert "person" not in [gate.name for gate in gated.gates]


def test_nothing_to_go_by_is_never() -> None:
    """Without a single gate the answer is never."""
    assert strictest([]) is Mode.never


def test_severity_1_alone_only_by_explicit_word(book: Playbook) -> None:
    """The matrix alone does not let anything run by itself at severity 1."""
    critical = asked(severity=Severity.critical)
    assert decide(critical, book, facts()).mode is Mode.run
    silent = asking.trusting(book, critical_runs_alone=False)
    assert decide(critical, silent, facts()).mode is Mode.ask
    assert decide(asked(severity=Severity.high, category=Category.model), silent, facts()).mode is Mode.run
