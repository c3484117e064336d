"""Autonomy is earned, lost at once, and won back: Wilson's bound decides, as the playbook's thresholds say."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from incidents.gates.autonomy import standing, wilson
from incidents.limits import Autonomy
from incidents.models import Category, Health, Mode, Severity
from incidents.playbook import Playbook
from tests.incidents.asking import STRICTNESS, asked, deed, facts, gate, histories, trusting

GOOD: dict[str, Any] = {}
BAD: dict[str, Any] = {"health": Health.unhealthy}
UNDONE: dict[str, Any] = {"undone": True}
UNKNOWN: dict[str, Any] = {"health": Health.inconclusive}
UNSEEN: dict[str, Any] = {"health": None}
FORGOTTEN: dict[str, Any] = {**BAD, "forgotten": True}


@pytest.mark.parametrize(
    ("runs", "mode"),
    [
        ([], Mode.run),
        ([GOOD] * 4, Mode.run),
        ([GOOD] * 5, Mode.run),
        ([UNSEEN] * 9, Mode.run),
        ([BAD], Mode.ask),
        ([GOOD] * 50 + [BAD], Mode.ask),
        ([GOOD] * 50 + [UNDONE], Mode.ask),
        ([GOOD] * 50 + [BAD, GOOD, GOOD], Mode.ask),
        ([GOOD] * 50 + [BAD, GOOD, UNKNOWN, GOOD], Mode.ask),
        ([GOOD] * 50 + [BAD, GOOD, GOOD, GOOD], Mode.run),
        ([BAD, GOOD, GOOD, GOOD], Mode.run),
        ([BAD, GOOD, GOOD, GOOD, GOOD], Mode.ask),
        ([UNKNOWN] * 4 + [GOOD] * 3, Mode.ask),
        ([BAD] * 5, Mode.never),
        ([BAD] * 9 + [GOOD], Mode.never),
        ([FORGOTTEN] * 9, Mode.run),
        ([FORGOTTEN] * 9 + [BAD], Mode.ask),
    ],
)
def test_what_a_history_has_earned(book: Playbook, runs: list[dict[str, Any]], mode: Mode) -> None:
    """Too few say nothing, one failure takes it down at once, and a bad share keeps it down."""
    past = tuple(deed(1000 - place, **run) for place, run in enumerate(runs))
    assert gate("autonomy", asked(), book, facts(deeds=past)).says is mode


@pytest.mark.parametrize(
    "other",
    [{"action": "revert_model"}, {"category": Category.model}, {"severity": Severity.critical}],
    ids=["another action", "another category", "another severity"],
)
def test_each_kind_of_incident_counts_by_itself(book: Playbook, other: dict[str, Any]) -> None:
    """What went wrong elsewhere takes nothing away here."""
    past = tuple(deed(ago, **BAD, **other) for ago in range(9))
    assert gate("autonomy", asked(), book, facts(deeds=past)).says is Mode.run


def test_strict(book: Playbook) -> None:
    """Where the playbook is strict an action asks until it has helped often enough."""
    strict = trusting(book, strict=True)
    for helped, mode in ((0, Mode.ask), (4, Mode.ask), (5, Mode.run)):
        past = tuple(deed(ago) for ago in range(helped))
        assert gate("autonomy", asked(), strict, facts(deeds=past)).says is mode


def test_it_is_automation_that_loses_its_trust(book: Playbook) -> None:
    """What only proposes by itself, a person may still run by hand."""
    past = tuple(deed(ago, **BAD) for ago in range(5))
    assert gate("autonomy", asked(), book, facts(deeds=past)).says is Mode.never
    assert gate("autonomy", asked(person="anna"), book, facts(deeds=past)).says is Mode.ask


@given(trials=st.integers(1, 400), data=st.data(), confidence=st.floats(0.51, 0.999))
def test_wilson_is_monotone(trials: int, data: st.DataObject, confidence: float) -> None:
    """More successes never lower the bound, more failures never raise it, and it stays below the share itself."""
    successes = data.draw(st.integers(0, trials))
    bound = wilson(successes, trials, confidence)
    assert 0 <= bound <= successes / trials + 1e-12
    assert wilson(successes, trials + 1, confidence) <= bound + 1e-12
    assert wilson(successes + 1, trials + 1, confidence) >= bound - 1e-12
    assert wilson(successes, trials, min(0.9999, confidence + 0.0005)) <= bound + 1e-12


@pytest.mark.parametrize(
    ("successes", "trials", "bound"), [(0, 0, 0), (0, 10, 0), (5, 5, 0.5655), (9, 10, 0.5958), (81, 263, 0.2553)]
)
def test_wilson_by_known_values(successes: int, trials: int, bound: float) -> None:
    """81 of 263 is the example of R. G. Newcombe, Statistics in Medicine 17 (1998): 0.2553 to 0.3662."""
    assert wilson(successes, trials, 0.95) == pytest.approx(bound, abs=5e-5)


@given(
    past=histories(20),
    rules=st.builds(
        Autonomy,
        at_least=st.integers(1, 6),
        strict=st.booleans(),
        recover_after=st.integers(0, 4),
        run_from=st.sampled_from([0.2, 0.5]),
        ask_from=st.sampled_from([0, 0.2]),
    ),
)
@example(past=(deed(0),) * 4, rules=Autonomy(at_least=5, strict=True, run_from=0.3))
def test_more_history_of_no_help_is_never_milder(past: tuple[Any, ...], rules: Autonomy) -> None:
    """A failure, or a look without an answer, at any place in the history: never a milder word."""
    before = standing(past, rules)
    for place in range(len(past) + 1):
        for more in (deed(0, **BAD), deed(0, **UNDONE), deed(0, **UNKNOWN)):
            after = standing((*past[:place], more, *past[place:]), rules)
            assert STRICTNESS[after.says] <= STRICTNESS[before.says]
