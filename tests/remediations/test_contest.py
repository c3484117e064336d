"""Champion against challenger: laws that any fair comparison keeps, whatever they answered."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from incidents.models import Health, Verdict
from incidents.playbook import Sample
from incidents.upkeep import Contest
from remediations.contest import judge
from remediations.scoring import Labelled

Metric = Literal["recall", "precision", "accuracy"]
METRICS: list[Metric] = ["recall", "precision", "accuracy"]
ANSWERS = st.lists(st.tuples(st.booleans(), st.booleans(), st.booleans()), min_size=1, max_size=60)


def asked(metric: Metric = "accuracy", **given: Any) -> Sample:
    """What is measured; by default everything counts and any value is enough."""
    return Sample(dataset="d", label="y", **{"metric": metric, "at_least": 0, "minimum": 1} | given)


def judged(answers: list[tuple[bool, bool, bool]], health: Sample, **rules: Any) -> Verdict:
    """The verdict on (truth, champion, challenger) triples."""
    truth, old, new = ([one[place] for one in answers] for place in range(3))
    sample = Labelled([{"at": place % 2} for place in range(len(truth))], truth, "v1")
    return judge(sample, old, new, health, Contest(**rules))


@given(answers=ANSWERS, metric=st.sampled_from(METRICS))
def test_who_answers_alike_is_never_worse(answers: list[tuple[bool, bool, bool]], metric: Metric) -> None:
    """The champion against itself wins, however few the rows, where nothing but the comparison counts."""
    alike = [(truth, old, old) for truth, old, _ in answers]
    verdict = judged(alike, asked(metric), margin=0, slices=["at"], slice_margin=0, slice_minimum=1)
    assert verdict.health is not Health.unhealthy


@given(answers=ANSWERS, metric=st.sampled_from(METRICS))
def test_the_order_of_the_rows_does_not_matter(answers: list[tuple[bool, bool, bool]], metric: Metric) -> None:
    """The same rows in another order get the same verdict, word for word."""
    assert judged(answers, asked(metric)) == judged(answers[::-1], asked(metric))


@given(answers=ANSWERS)
def test_right_everywhere_always_wins_and_never_loses_to_another(answers: list[tuple[bool, bool, bool]]) -> None:
    """Whoever is right on every row may take anybody's place; against it, whoever is much worse may not."""
    perfect = [(truth, old, truth) for truth, old, _ in answers]
    assert judged(perfect, asked(), margin=0).health is Health.healthy
    worse = [(truth, truth, old) for truth, old, _ in answers]
    wrong = sum(truth != old for truth, old, _ in answers) / len(answers)
    assume(wrong > 0.2)
    assert judged(worse, asked(), margin=0).health is Health.unhealthy


@pytest.mark.parametrize("metric", METRICS)
def test_the_bound_is_that_of_a_bootstrap_over_rows(metric: Metric) -> None:
    """Drawing kinds gives the interval that drawing rows gives, done here the plain way."""
    chance = np.random.default_rng(5)
    truth = chance.random(600) < 0.4
    old, new = truth ^ (chance.random(600) < 0.15), truth ^ (chance.random(600) < 0.2)
    verdict = judged(list(zip(truth.tolist(), old.tolist(), new.tolist(), strict=True)), asked(metric), resamples=4000)
    draws = []
    for _ in range(4000):
        t, a, b = (values[at] for at in [chance.integers(0, 600, 600)] for values in (truth, old, new))
        share = [{"recall": x[t], "precision": t[x], "accuracy": x == t}[metric].mean() for x in (a, b)]
        draws.append(share[1] - share[0])
    bound = verdict.evidence["difference_at_least"]
    assert isinstance(bound, float)
    assert bound == pytest.approx(float(np.quantile(draws, 0.05)), abs=0.006)


def test_too_few_rows_are_inconclusive() -> None:
    """Two positives say nothing about recall, however many rows there are."""
    answers = [(True, False, True)] * 2 + [(False, False, False)] * 500
    assert judged(answers, asked("recall", minimum=100)).health is Health.inconclusive


def test_not_worse_is_not_enough_where_neither_is_good() -> None:
    """A challenger that is as bad as a bad champion is no way out."""
    assert judged([(True, False, False)] * 200, asked("recall", at_least=0.7)).health is Health.unhealthy


def test_a_slice_that_suffers_is_seen() -> None:
    """Better in all, and much worse for some: it stays out, and the reason names them."""
    truth, rows = [True] * 2000, [{"country": "DE" if place < 1800 else "IS"} for place in range(2000)]
    old = [place % 10 != 0 for place in range(2000)]
    new = [place < 1800 or place % 2 == 0 for place in range(2000)]
    sample = Labelled(rows, truth, "v1")
    won = judge(sample, old, new, asked("recall"), Contest())
    assert won.health is Health.healthy
    lost = judge(sample, old, new, asked("recall"), Contest(slices=("country",)))
    assert lost.health is Health.unhealthy
    assert "country IS" in lost.why
    few = Contest(slices=("country",), slice_minimum=300)
    assert judge(sample, old, new, asked("recall"), few).health is Health.healthy
