"""What the playbook says of this kind of action on this kind of incident, whenever it is asked."""

from __future__ import annotations

from incidents.events import Gate
from incidents.facts import Facts, Request
from incidents.models import Mode, Severity
from incidents.playbook import Playbook


def matrix(request: Request, playbook: Playbook, _: Facts) -> Gate:
    """Severity x risk."""
    severity, risk = request.severity, request.risk
    says = playbook.gates[severity][risk]
    return Gate(name="matrix", says=says, why=f"severity {int(severity)} ({severity.name}) x {risk} risk: {says}")


def critical(request: Request, playbook: Playbook, _: Facts) -> Gate:
    """Severity 1 runs by itself only where the playbook says so in so many words."""
    if request.severity is not Severity.critical:
        return Gate(name="critical", says=Mode.run, why="it is not of severity 1")
    if playbook.autonomy.critical_runs_alone:
        return Gate(name="critical", says=Mode.run, why="the playbook says critical_runs_alone")
    return Gate(name="critical", says=Mode.ask, why="severity 1, and the playbook does not say critical_runs_alone")


def rule(request: Request, playbook: Playbook, _: Facts) -> Gate:
    """The action's own rule."""
    found = playbook.actions.get(request.plan.action)
    if found is None:
        return Gate(name="rule", says=Mode.ask, why=f"the playbook has no rule for {request.plan.action}")
    return Gate(name="rule", says=found.mode, why=f"the playbook's rule for {request.plan.action}: {found.mode}")


def way_back(request: Request, _: Playbook, __: Facts) -> Gate:
    """What cannot be undone never runs without a person."""
    if request.reversible:
        return Gate(name="way back", says=Mode.run, why="it can be undone")
    return Gate(name="way back", says=Mode.ask, why="it cannot be undone, so never without a person")


def declared(request: Request, _: Playbook, __: Facts) -> Gate:
    """The incident must be about something that the team has declared."""
    if request.asset:
        return Gate(name="asset", says=Mode.run, why=f"{request.asset} is declared in the playbook")
    return Gate(name="asset", says=Mode.ask, why="the incident names no asset that the playbook declares")
