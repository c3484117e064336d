"""``lastgood expectations``: what good data is. A flow looks at the data, this command only asks for it."""

from __future__ import annotations

from typing import Annotated

import typer

from incidents import cli_run
from incidents.cli_terminal import Commands, Trouble, say
from incidents.playbook import playbook
from incidents.settings import settings

expectations = typer.Typer(cls=Commands, no_args_is_help=True, help="What good data is.")


@expectations.callback()
def _group() -> None:
    """Keep ``learn`` a command of its own, though it is the only one."""


@expectations.command()
def learn(
    dataset: Annotated[str, typer.Argument(metavar="DATASET", help="For instance transactions.")],
    version: Annotated[str, typer.Option(help="The version to learn from. Else the newest verified good.")] = "",
    wait: Annotated[float, typer.Option(min=1, max=86_400, help="Seconds to wait for the end.")] = 600,
) -> None:
    """Write a first suite from a good version, for you to read, correct and commit."""
    if dataset not in playbook().datasets:
        raise Trouble(f"the playbook declares no dataset {dataset!r}")
    parameters = {"dataset": dataset, "version": version or None}
    _, state = cli_run.start("learn/learn", parameters, f"learn {dataset}", wait)
    if state in cli_run.NOT_WELL:
        raise Trouble(f"learn {dataset}: {state}; the run's log says why")
    say(f"learn {dataset}: {state}. It is in {settings().home / 'suites'} where the worker runs, and among the run's")
    say("artifacts in Prefect. Read it, correct it, commit it to expectations/, and name it in the playbook.")
