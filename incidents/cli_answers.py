"""``lastgood approve`` and ``reject``: a person's answer to a plan that waits for one."""

from __future__ import annotations

from typing import Annotated

import typer

from incidents import approvals
from incidents.approvals import NotAsked
from incidents.cli_run import person, reason
from incidents.cli_terminal import Trouble, incident_name, say
from incidents.inert import one_line
from incidents.ledger import ledger
from incidents.playbook import playbook

Name = Annotated[str, typer.Argument(metavar="INCIDENT", help="For instance INC-7.")]
By = Annotated[str, typer.Option(metavar="NAME", help="Who answers; it stands on the record.")]
Shown = Annotated[str, typer.Option(metavar="HASH", help="The beginning of the hash of the plan that you have seen.")]


def approve(
    incident: Name,
    by: By,
    because: Annotated[str, typer.Option(metavar="TEXT", help="Why; it stands on the record.")] = "",
    plan: Shown = "",
) -> None:
    """Say yes to the plan that an incident waits with; it runs if the world still is as the plan found it."""
    _answer(incident, by, one_line(because), plan, yes=True)


def reject(
    incident: Name,
    by: By,
    because: Annotated[str, typer.Option(metavar="TEXT", help="Why; it stands on the record.")],
    plan: Shown = "",
) -> None:
    """Say no to it: a person takes over, and the same is not asked again for a while."""
    _answer(incident, by, reason(because), plan, yes=False)


def _answer(incident: str, by: str, why: str, plan: str, *, yes: bool) -> None:
    try:
        said = approvals.answer(
            ledger(), playbook(), incident_name(incident), person(by), yes=yes, why=why, plan=plan.strip()
        )
    except NotAsked as error:
        raise Trouble(str(error)) from None
    say(said)
