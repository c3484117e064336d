"""Makes ``docs/benchmarks.md`` and its plots of the newest line of each comparison in ``results.jsonl``."""

from __future__ import annotations

import json
from importlib import import_module
from pathlib import Path
from types import ModuleType

from benchmarks.harness import RESULTS, Result

PAGE = Path(__file__).parent.parent / "docs" / "benchmarks.md"

#: Each is a module here with ``ABOUT`` (what is measured, and how), ``TARGETS`` ((case, other) -> the ratio to reach),
#: ``REASONS`` ((case, other) -> why it is not reached) and ``run()``. Importing one is cheap.
BENCHES = ("start", "alert_to_fix", "validate", "rollback", "intake", "ledger", "taint")

_HEAD = """# Benchmarks

`make bench` measures all of this on your machine. Both sides run in turns in one go; figures are medians, and a ratio
says how many times better ours is (against a floor: how much of the floor it reaches, 1 being all of it). The machine
behind the figures below had 2 shared cores: trust ratios more than absolute figures.
"""


def newest(lines: str) -> list[Result]:
    """The last result of each comparison, in the order in which they first stood there."""
    found: dict[tuple[str, str, str], Result] = {}
    for line in lines.splitlines():
        result = Result(**json.loads(line))
        found[result.bench, result.case, result.other] = result
    return list(found.values())


def page(results: list[Result]) -> str:
    """The page as Markdown."""
    parts = [_HEAD]
    for name in BENCHES:
        mine = [result for result in results if result.bench == name]
        if mine:
            module = import_module(f"benchmarks.{name}")
            parts.append(
                f"## {name}\n\n{module.ABOUT.strip()}\n\n{_table(mine, module)}\n![{name}](bench-{name}.svg)\n"
            )
    return "\n".join(parts)


def write() -> None:
    """Write the page and a plot a bench."""
    results = newest(RESULTS.read_text(encoding="utf-8"))
    PAGE.write_text(page(results), encoding="utf-8")
    for name in BENCHES:
        mine = [result for result in results if result.bench == name]
        if mine:
            _plot(name, mine)


def _table(results: list[Result], module: ModuleType) -> str:
    lines = [
        "| case | against | ours | theirs | unit | ratio | at least | n |",
        "| --- | --- | --: | --: | --- | --: | --: | --: |",
    ]
    notes = []
    for one in results:
        target = module.TARGETS.get((one.case, one.other))
        short = target is not None and one.ratio < target
        ratio, wanted = f"{one.ratio:g}" if short else f"**{one.ratio:g}**", "" if target is None else f"{target:g}"
        cells = (one.case, one.other, f"{one.ours_median:g}", f"{one.other_median:g}", one.unit, ratio, wanted, one.n)
        lines.append(f"| {' | '.join(map(str, cells))} |")
        if short:
            why = module.REASONS.get((one.case, one.other), "the reason is not known yet")
            notes.append(f"- {one.case} against {one.other} falls short of {target:g}: {why}.")
    return "\n".join(lines) + "\n" + ("\n" + "\n".join(notes) + "\n" if notes else "")


def _plot(name: str, results: list[Result]) -> None:
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams["svg.hashsalt"] = name  # the same figures make the same file
    from matplotlib import pyplot as plt

    labels = [f"{one.case}\nagainst {one.other}" for one in results]
    figure, axes = plt.subplots(figsize=(8, 0.55 * len(results) + 1))
    bars = axes.barh(labels, [one.ratio for one in results], color="#2f6f4f")
    axes.bar_label(bars, labels=[f"{one.ratio:g}" for one in results], padding=3)
    axes.axvline(1, color="#888888", linewidth=1)
    axes.set_xscale("log")
    axes.margins(x=0.15)
    axes.invert_yaxis()
    axes.set_xlabel("times better (log scale)")
    axes.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    figure.savefig(PAGE.with_name(f"bench-{name}.svg"), metadata={"Date": None})
    plt.close(figure)
