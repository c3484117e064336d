"""Champion against challenger on the same rows: a paired bootstrap, and a look at every slice. Pure.

A row counts only by what both answered and what is true, which is one of eight kinds. So drawing rows with replacement
is drawing how many there are of each kind, and 2,000 resamples of a million rows take no longer than of a hundred.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from pydantic import JsonValue

from incidents.models import Health, Verdict
from incidents.playbook import Sample
from incidents.upkeep import Contest
from remediations.scoring import Labelled

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

#: Seeded, so that the same answers always get the same verdict.
_SEED = 20_261_125


def judge(
    sample: Labelled, champion: Sequence[bool], challenger: Sequence[bool], health: Sample, rules: Contest
) -> Verdict:
    """Healthy: the challenger is good enough, and not worse than the champion by more than the margin.

    Unhealthy: that was not shown. Inconclusive: there are too few rows to tell.
    """
    import numpy as np

    kinds = 4 * np.asarray(sample.truth, bool) + 2 * np.asarray(champion, bool) + np.asarray(challenger, bool)
    counts = np.bincount(kinds, minlength=8)
    old, new = (float(value) for value in _values(counts[None, :], health.metric)[:, 0])
    counted = _counted(counts, health.metric)
    seen: dict[str, JsonValue] = {"metric": health.metric, "champion": old, "challenger": new, "counted": counted}
    if counted < health.minimum:
        why = f"only {counted} rows count for {health.metric}, {health.minimum} are needed"
        return Verdict(health=Health.inconclusive, why=why, evidence=seen)
    lower = _lower(counts, health.metric, rules)
    worst = _worst_slice(sample.rows, kinds, health.metric, rules)
    said = f"{health.metric} {new:.3f} against {old:.3f} on {counted} rows"
    seen |= {"difference_at_least": lower, "margin": rules.margin, "slices": list(rules.slices)}
    if new < health.at_least:
        why = f"{said}, below {health.at_least}"
    elif lower < -rules.margin:
        why = f"{said}; the difference may be as low as {lower:.3f}, and {-rules.margin:g} is allowed"
    elif worst is not None and worst[1] < -rules.slice_margin:
        why = f"{said}, but on {worst[0]} it is {-worst[1]:.3f} worse"
    else:
        why = f"{said}; the difference is at least {lower:.3f}"
        return Verdict(health=Health.healthy, why=why, evidence=seen)
    return Verdict(health=Health.unhealthy, why=why, evidence=seen)


def _values(counts: NDArray[np.int64], metric: str) -> NDArray[np.float64]:
    """The metric of champion and challenger for each line of counts of the eight kinds; 0 where nothing counts."""
    import numpy as np

    kinds = np.arange(8)
    truth, answers = kinds & 4 > 0, (kinds & 2 > 0, kinds & 1 > 0)
    values = []
    for answer in answers:
        right, of = {
            "recall": (truth & answer, truth),
            "precision": (truth & answer, answer),
            "accuracy": (truth == answer, np.ones(8, bool)),
        }[metric]
        values.append(counts[:, right].sum(1) / np.maximum(counts[:, of].sum(1), 1))
    return np.stack(values)


def _counted(counts: NDArray[np.int64], metric: str) -> int:
    """How many rows the metric is made of; for precision, of the model that has fewer of them."""
    if metric == "recall":
        return int(counts[4:].sum())
    if metric == "precision":
        return int(min(counts[[2, 3, 6, 7]].sum(), counts[[1, 3, 5, 7]].sum()))
    return int(counts.sum())


def _lower(counts: NDArray[np.int64], metric: str, rules: Contest) -> float:
    """The lower bound of what the challenger has more than the champion."""
    import numpy as np

    draws = np.random.default_rng(_SEED).multinomial(counts.sum(), counts / counts.sum(), size=rules.resamples)
    old, new = _values(draws, metric)
    return float(np.quantile(new - old, 1 - rules.confidence))


def _worst_slice(
    rows: Sequence[dict[str, Any]], kinds: NDArray[np.int64], metric: str, rules: Contest
) -> tuple[str, float] | None:
    """The slice on which the challenger is worst against the champion, and by how much; None where none counts."""
    import numpy as np

    found: list[tuple[str, float]] = []
    for column in rules.slices:
        values = np.asarray([str(row.get(column)) for row in rows])
        for value in np.unique(values):
            counts = np.bincount(kinds[values == value], minlength=8)
            if _counted(counts, metric) >= rules.slice_minimum:
                old, new = _values(counts[None, :], metric)[:, 0]
                found.append((f"{column} {value}", float(new - old)))
    return min(found, key=lambda one: one[1], default=None)
