"""May it run? Every cell is decided, and no answer is more lenient than the strictest gate but for a named person."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from incidents.decide import Request, decide, strictest
from incidents.models import Mode, Plan, Risk, Severity
from incidents.playbook import ActionRule, Playbook

STRICTNESS = {Mode.never: 0, Mode.ask: 1, Mode.run: 2}
PLAN = Plan(
    action="rollback_dataset",
    parameters={"dataset": "transactions"},
    target="dataset:transactions",
    before={"version": "v2"},
    after={"version": "v1"},
    summary="transactions v2 -> v1",
)


def book_with(book: Playbook, rule: Mode | None) -> Playbook:
    """The shipped playbook with this rule for the action, or with none."""
    return book.model_copy(update={"actions": {PLAN.action: ActionRule(mode=rule)} if rule else {}})


@pytest.mark.parametrize("person", ["", "anna"])
@pytest.mark.parametrize("asset", ["dataset:transactions", None])
@pytest.mark.parametrize("reversible", [True, False])
@pytest.mark.parametrize("rule", [None, *Mode])
def test_every_cell_is_decided(
    book: Playbook, rule: Mode | None, reversible: bool, asset: str | None, person: str
) -> None:
    """Severity x risk x rule x way back x asset x person: all gates are asked, and the strictest counts."""
    changed = book_with(book, rule)
    for severity, risk in itertools.product(Severity, Risk):
        request = Request(plan=PLAN, severity=severity, risk=risk, reversible=reversible, asset=asset, person=person)
        gated = decide(request, changed)
        said = {gate.name: gate.says for gate in gated.gates if gate.name != "person"}
        assert said == {
            "matrix": book.gates[severity][risk],
            "rule": rule or Mode.ask,
            "way back": Mode.run if reversible else Mode.ask,
            "asset": Mode.run if asset else Mode.ask,
        }
        expected = min(said.values(), key=STRICTNESS.__getitem__)
        if expected is Mode.ask and person:
            expected = Mode.run
        assert gated.mode is expected
        assert (gated.plan, gated.playbook) == (PLAN.hash, book.digest)
        assert all(gate.why for gate in gated.gates)


@given(
    matrix=st.dictionaries(
        st.sampled_from(list(Severity)),
        st.fixed_dictionaries({risk: st.sampled_from(list(Mode)) for risk in Risk}),
        min_size=4,
    ),
    rule=st.sampled_from([None, *Mode]),
    severity=st.sampled_from(list(Severity)),
    risk=st.sampled_from(list(Risk)),
    reversible=st.booleans(),
    asset=st.sampled_from(["dataset:transactions", None]),
    person=st.sampled_from(["", "anna"]),
)
def test_never_more_lenient_than_the_strictest(
    book: Playbook,
    *,
    matrix: dict[Severity, dict[Risk, Mode]],
    rule: Mode | None,
    severity: Severity,
    risk: Risk,
    reversible: bool,
    asset: str | None,
    person: str,
) -> None:
    """Whatever the team's matrix: only a named person lifts an ask, nobody lifts a never, and nothing is tightened."""
    changed = book_with(book, rule).model_copy(update={"gates": matrix})
    gated = decide(
        Request(plan=PLAN, severity=severity, risk=risk, reversible=reversible, asset=asset, person=person), changed
    )
    asked = [gate for gate in gated.gates if gate.name != "person"]
    floor = min(STRICTNESS[gate.says] for gate in asked)
    if STRICTNESS[gated.mode] != floor:
        assert (floor, gated.mode, person) == (STRICTNESS[Mode.ask], Mode.run, "anna")
        assert any(gate.name == "person" and person in gate.why for gate in gated.gates)
    assert len(asked) == 4


def test_a_person_only_lifts_an_ask(book: Playbook) -> None:
    """Where it runs anyway, or never does, no person's gate stands on the sheet."""
    for rule, mode in ((Mode.run, Mode.run), (Mode.never, Mode.never)):
        request = Request(
            plan=PLAN, severity=Severity.high, risk=Risk.medium, reversible=True, asset="dataset:x", person="anna"
        )
        gated = decide(request, book_with(book, rule))
        assert gated.mode is mode
        assert "person" not in [gate.name for gate in gated.gates]


def test_nothing_to_go_by_is_never() -> None:
    """Without a single gate the answer is never."""
    assert strictest([]) is Mode.never
