"""The page of benchmarks: what it claims is what was measured, and what falls short says so."""

from __future__ import annotations

import json
from dataclasses import asdict
from importlib import import_module
from pathlib import Path

import pytest

from benchmarks import harness, report
from benchmarks.harness import RESULTS, Result

FELL_SHORT = Result("start", "first line", "process worker", 2.0, 8.0, "s", 4.0, 5)


def test_the_page_is_made_of_the_results() -> None:
    """docs/benchmarks.md is what results.jsonl says today; `make bench` writes both."""
    assert report.PAGE.read_text(encoding="utf-8") == report.page(report.newest(RESULTS.read_text(encoding="utf-8")))


@pytest.mark.parametrize("name", report.BENCHES)
def test_a_bench_says_what_it_measures_and_what_it_is_to_reach(name: str) -> None:
    """Every bench has its text, its targets and its reasons, and every reason is about a target."""
    module = import_module(f"benchmarks.{name}")
    assert module.ABOUT.strip()
    assert callable(module.run)
    assert set(module.REASONS) <= set(module.TARGETS)


def test_every_target_was_measured() -> None:
    """A target that nothing is measured against is a claim without a figure."""
    measured = {(one.bench, one.case, one.other) for one in report.newest(RESULTS.read_text(encoding="utf-8"))}
    targets = {(name, *key) for name in report.BENCHES for key in import_module(f"benchmarks.{name}").TARGETS}
    assert targets <= measured


def test_a_figure_that_falls_short_stays_and_says_why() -> None:
    """It is in the table, not in bold, with a note below."""
    shown = report.page([FELL_SHORT])
    assert "| first line | process worker | 2 | 8 | s | 4 | 12 | 5 |" in shown
    assert "- first line against process worker falls short of 12: " in shown


def test_the_newest_result_of_a_comparison_counts() -> None:
    """Old lines stay in the file, and not on the page."""
    newer = Result(**{**asdict(FELL_SHORT), "ratio": 13.0})
    assert report.newest("\n".join(json.dumps(asdict(one)) for one in (FELL_SHORT, newer))) == [newer]


@pytest.mark.parametrize(("more", "ratio"), [(False, 4.0), (True, 0.25)])
def test_a_ratio_says_how_many_times_better_ours_is(
    more: bool, ratio: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sides are measured in turns, and the ratio is of medians, the larger the better whatever the unit."""
    monkeypatch.setattr(harness, "RESULTS", tmp_path / "results.jsonl")
    turns: list[str] = []

    def side(name: str, figures: list[float]) -> harness.Side:
        def measured() -> float:
            turns.append(name)
            return figures[turns.count(name) - 1]

        return measured

    ours, theirs = side("ours", [99, 1, 2, 30]), side("theirs", [99, 8, 8, 1])
    [result] = harness.compare("b", "c", "s", ours, {"theirs": theirs}, n=3, more_is_better=more)
    assert turns == ["ours", "theirs"] * 4
    assert (result.ours_median, result.other_median, result.ratio) == (2, 8, ratio)
    assert json.loads((tmp_path / "results.jsonl").read_text()) == asdict(result)
