"""``make chaos``: many trials on SQLite and on PostgreSQL, side by side, and then the counts.

``TRIALS`` trials (1,000) from ``SEED`` (1) on, every other one on PostgreSQL. ``ONLY=model`` tells one story,
``ONLY=model:person`` one story with one kind of trouble.
Then the harness has to find every planted bug (not with ``MUTANTS=0``).
A trial that breaks a law is printed with all that is needed to see it again.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from queue import Queue
from threading import Thread
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from tests.chaos.mutants import MUTANTS
from tests.chaos.verdict import HELD_ELSEWHERE, LAWS
from tests.flows.kit import ROOT

DATABASES = ("sqlite", "postgresql")


def run(seeds: dict[str, list[int]], only: str = "all", cwd: str = str(ROOT)) -> Iterator[dict[str, Any]]:
    """Run these seeds on each database, and give every trial's story as it ends."""
    told: Queue[dict[str, Any] | None] = Queue()
    lanes = [_lane(database, only, numbers, cwd) for database, numbers in seeds.items() if numbers]
    for lane in lanes:
        Thread(target=_listen, args=(lane, told), daemon=True).start()
    try:
        open_ones = len(lanes)
        while open_ones:
            one = told.get()
            if one is None:
                open_ones -= 1
            else:
                yield one
    finally:
        for lane in lanes:
            lane.terminate()
            lane.wait(60)
    codes = [lane.returncode for lane in lanes]
    if any(codes):
        raise SystemExit(f"the lanes ended with {codes}")


def _lane(database: str, only: str, seeds: list[int], cwd: str) -> subprocess.Popen[str]:
    argv = [sys.executable, "-m", "tests.chaos.lane", database, only, *map(str, seeds)]
    argv = argv[:4] if database == "mutants" else argv
    environment = {**os.environ, "PYTHONPATH": cwd}
    return subprocess.Popen(argv, cwd=cwd, env=environment, stdout=subprocess.PIPE, text=True)


def _listen(lane: subprocess.Popen[str], told: Queue[dict[str, Any] | None]) -> None:
    assert lane.stdout is not None
    for line in lane.stdout:
        told.put(json.loads(line))
    lane.wait()
    told.put(None)


def tables(trials: list[dict[str, Any]]) -> list[Table]:
    """What happened, what went wrong on purpose, and which laws held, for each database."""
    found = []
    for title, about in (("what went wrong on purpose", "deeds"), ("how incidents ended", "endings")):
        table = Table("", *DATABASES, title=title)
        counts = {name: Counter[str]() for name in DATABASES}
        for trial in trials:
            counts[trial["database"]].update(trial.get(about, {}))
        for what in sorted(set[str]().union(*counts.values())):
            table.add_row(what, *(str(counts[name][what]) for name in DATABASES))
        found.append(table)
    table = Table("", *DATABASES, title="the counts")
    for name, key in (
        ("trials", ""),
        ("of them with the whole stack", "whole"),
        ("alerts acknowledged", "acknowledged"),
        ("changes applied", "applied"),
        ("changes undone", "undone"),
        ("changes by people", "people"),
        ("of them in the gap that MLflow leaves", "gaps"),
        ("processes of sections killed", "died"),
    ):
        rows = [[trial for trial in trials if trial["database"] == database] for database in DATABASES]
        table.add_row(name, *(str(sum(one.get(key, 0) if key else 1 for one in mine)) for mine in rows))
    for law in (*LAWS, "did not go through"):
        broken = Counter(one["database"] for one in trials for name, _ in one["broken"] if name == law)
        table.add_row(
            f"law {LAWS[law]}: {law}" if law in LAWS else law,
            *(str(broken[name]) for name in DATABASES),
            style="bold red" if broken else "green",
        )
    return [*found, table]


def harness(planted: list[dict[str, Any]]) -> Table:
    """Which planted bug was found by what, and where the laws are held that no trial can break."""
    table = Table("planted bug", "found by trial", "which says", title="the harness itself")
    for one in planted:
        table.add_row(one["mutant"], str(one["found"] or "never"), ": ".join(one["says"]))
    for law, where in HELD_ELSEWHERE.items():
        table.add_row(f"law {law}", "", f"no trial can break it; held by {', '.join(where)}")
    return table


def main() -> None:
    """Run, show how far it is, and print the counts; fails where a law was broken."""
    count, first = int(os.environ.get("TRIALS", "1000")), int(os.environ.get("SEED", "1"))
    only, console = os.environ.get("ONLY", "all"), Console(width=110)
    numbers = list(range(first, first + count))
    seeds = {"sqlite": numbers[::2], "postgresql": numbers[1::2]}
    trials: list[dict[str, Any]] = []
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's `&` leaves it ignored
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console) as bar, suppress(KeyboardInterrupt):  # then it counts what there is
        task = bar.add_task("starting", total=count)
        for trial in run(seeds, only):
            trials.append(trial)
            broken = sum(bool(one["broken"]) for one in trials)
            bar.update(task, advance=1, description=f"trials ({broken} broke a law)")
            if not console.is_terminal and len(trials) % 50 == 0:
                console.print(f"{len(trials)} of {count} trials, {broken} broke a law")
            if trial["broken"]:
                console.print_json(json.dumps(trial))
    for table in tables(trials):
        console.print(table)
    if os.environ.get("MUTANTS", "1") != "0" and len(trials) == count:
        planted = list(run({"mutants": [0]}, ""))
        console.print(harness(planted))
        if len(planted) < len(MUTANTS) or not all(one["found"] for one in planted):
            sys.exit(1)
    if len(trials) < count or any(trial["broken"] for trial in trials):
        sys.exit(1)


if __name__ == "__main__":
    main()
