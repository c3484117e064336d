"""Both sides in one go: measured in turns, so that a machine that slows down slows both; medians, and their ratio.

A figure is seconds, rows a second, megabytes: whatever one call of a side returns. What a ratio says is how many times
better ours is, so the larger is the better, whatever the unit.
"""

from __future__ import annotations

import gc
import json
import statistics
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console
from rich.progress import track

RESULTS = Path(__file__).parent / "results.jsonl"
console = Console(highlight=False)

#: One measured call: does the work once and returns the figure.
Side = Callable[[], float]


@dataclass(frozen=True)
class Result:
    """One line of ``results.jsonl``."""

    bench: str
    case: str
    #: What ours is compared with.
    other: str
    ours_median: float
    other_median: float
    unit: str
    #: How many times better ours is; against a floor it is below 1, and says how much of the floor ours reaches.
    ratio: float
    #: Measured calls of each side.
    n: int


def compare(  # a sentence: this bench, this case, ours against those
    bench: str,
    case: str,
    unit: str,
    ours: Side,
    others: Mapping[str, Side],
    *,
    n: int = 5,
    warmup: int = 1,
    more_is_better: bool = False,
) -> list[Result]:
    """Measure ours and the others in turns, print medians and ratios, and append a line for each other side."""
    sides = {"ours": ours, **others}
    for side in list(sides.values()) * warmup:
        side()
    figures: dict[str, list[float]] = {name: [] for name in sides}
    for _ in track(range(n), f"{bench}: {case}", console=console, transient=True):
        for name, side in sides.items():
            gc.collect()
            figures[name].append(side())
    return record(bench, case, unit, figures, more_is_better=more_is_better)


def record(
    bench: str, case: str, unit: str, figures: Mapping[str, list[float]], *, more_is_better: bool = False
) -> list[Result]:
    """Print and append what was measured: ``figures["ours"]`` against every other side."""
    medians = {name: statistics.median(values) for name, values in figures.items()}
    mine = medians["ours"]
    results = []
    for name, theirs in medians.items():
        if name == "ours":
            continue
        ratio = mine / theirs if more_is_better else theirs / mine
        line = Result(bench, case, name, _short(mine), _short(theirs), unit, _short(ratio), len(figures[name]))
        console.print(
            f"{bench} | {case}: ours {line.ours_median:g} {unit}, {name} {line.other_median:g} {unit}: "
            f"[bold]{line.ratio:g} times[/bold] (n = {line.n})"
        )
        with RESULTS.open("a", encoding="utf-8") as file:
            file.write(json.dumps(asdict(line)) + "\n")
        results.append(line)
    return results


def _short(figure: float) -> float:
    """Four significant digits: the noise is larger."""
    return float(f"{figure:.4g}")
