"""``lastgood audit`` and ``lastgood playbook``: is the record whole, and is the playbook valid?"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from incidents import audit as proof
from incidents.cli_terminal import Commands, Trouble, moment, say
from incidents.ledger import ledger
from incidents.playbook import Playbook, load
from incidents.settings import settings

audit = typer.Typer(cls=Commands, no_args_is_help=True, help="Prove that the record is whole, and take it along.")
playbook = typer.Typer(cls=Commands, no_args_is_help=True, help="Check the playbook before it is needed.")


@audit.command()
def verify() -> None:
    """Walk the whole chain; exit 1 and name the event where it is broken."""
    report = proof.verify(ledger())
    if report.broken:
        raise Trouble("\n".join(report.broken))
    if not report.events:
        raise Trouble("the ledger holds no event, so there is nothing that could be proven")
    say(f"whole: {report.events} events, head {report.head}")


@audit.command()
def export(
    since: Annotated[str, typer.Option(help="Only events from this moment on, ISO 8601; UTC unless it says so.")] = "",
    out: Annotated[Path | None, typer.Option(help="The file to write; stdout by default.")] = None,
) -> None:
    """Write the events as JSON lines, each with its hash."""
    start = moment(since, "--since") if since else None
    if out is None:
        proof.export(ledger(), sys.stdout, since=start)
        return
    with out.open("w", encoding="utf-8") as file:
        count = proof.export(ledger(), file, since=start)
    say(f"{count} events in {out}")


@playbook.command()
def check(file: Annotated[Path | None, typer.Argument(help="LASTGOOD_PLAYBOOK by default.")] = None) -> None:
    """Load the playbook; exit 1 with a line for each finding."""
    path = file or settings().playbook
    found = load(path)
    say(f"{path} is valid: {len(found.routes)} routes, {len(found.datasets)} datasets, {len(found.models)} models")
    say(f"sha256 {found.digest}")


@playbook.command()
def schema() -> None:
    """Print the JSON Schema of the playbook, for editors."""
    sys.stdout.write(json.dumps(Playbook.model_json_schema(), indent=2) + "\n")
