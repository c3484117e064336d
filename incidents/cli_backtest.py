"""``lastgood backtest``: what would another playbook have decided?"""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from incidents import backtest as replayed
from incidents.cli_terminal import NEGATIVE, moment, say, table
from incidents.ledger import ledger
from incidents.playbook import load

#: More lines than this say nothing more to a person.
MOST = 50


class FailOn(StrEnum):
    """What ends the command with 1."""

    more_runs = "more-runs"
    worse = "worse"
    any = "any"


def backtest(
    playbook: Annotated[Path, typer.Option(metavar="FILE", help="The other playbook.")],
    since: Annotated[str, typer.Option(help="90d, 12h, 30m, or a date.")] = "90d",
    fail_on: Annotated[
        FailOn | None,
        typer.Option(
            help="Exit 1 where more-runs: anything more would run by itself; worse: what did harm would run by itself, "
            "or what helped would not; any: any decision would be another one."
        ),
    ] = None,
) -> None:
    """Make the recorded decisions again with another playbook, from what was known at each moment. Changes nothing."""
    report = replayed.backtest(ledger(), load(playbook), moment(since, "--since"))
    say(f"of {len(report.decisions)} decisions since {since}, {playbook} {report.summary()}")
    if report.skipped:
        say(f"{report.skipped} decisions cannot be made again: the record does not say what was asked")
    if report.changed:
        table(("At (UTC)", "Incident", "Action", "Asset", "Severity", "Was", "Now", "It", "Why"), _rows(report))
    if len(report.changed) > MOST:
        say(f"and {len(report.changed) - MOST} more")
    found = {
        FailOn.more_runs: any(decision.more for decision in report.decisions),
        FailOn.worse: any(decision.worse for decision in report.decisions),
        FailOn.any: bool(report.changed),
    }
    if fail_on is not None and found[fail_on]:
        raise typer.Exit(NEGATIVE)


def _rows(report: replayed.Report) -> list[tuple[object, ...]]:
    return [
        (
            f"{one.at:%Y-%m-%d %H:%M:%S}",
            one.incident,
            one.action,
            one.asset,
            int(one.severity),
            one.was,
            one.now,
            "helped" if one.helped else "made things worse" if one.harmed else "–",
            one.why or "every gate says run",
        )
        for one in report.changed[:MOST]
    ]
