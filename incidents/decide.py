"""May this plan run? Every gate is asked every time, and the strictest answer counts. Pure: no clock, no I/O."""

from __future__ import annotations

from incidents.events import Gate, Gated
from incidents.models import Frozen, Mode, Plan, Risk, Severity
from incidents.playbook import Playbook

_STRICTEST_FIRST = (Mode.never, Mode.ask, Mode.run)


class Request(Frozen):
    """What the gates look at."""

    plan: Plan
    severity: Severity
    risk: Risk
    reversible: bool
    #: The asset the incident is about; None when it named none that the playbook declares.
    asset: str | None
    #: The person who runs it by hand; empty when a flow asks.
    person: str = ""


def decide(request: Request, playbook: Playbook) -> Gated:
    """Ask every gate, and put what each said on one sheet.

    A person who runs an action by hand is the yes that ``ask`` waits for; ``never`` is never overruled.
    """
    gates: tuple[Gate, ...] = (
        _matrix(request, playbook),
        _rule(request, playbook),
        _way_back(request),
        _declared(request),
    )
    mode = strictest([gate.says for gate in gates])
    if mode is Mode.ask and request.person:
        gates = (*gates, Gate(name="person", says=Mode.run, why=f"{request.person} runs it by hand"))
        mode = Mode.run
    return Gated(plan=request.plan.hash, mode=mode, gates=gates, playbook=playbook.digest)


def strictest(modes: list[Mode]) -> Mode:
    """The strictest of several modes; with nothing to go by it is ``never``."""
    return min(modes, key=_STRICTEST_FIRST.index, default=Mode.never)


def _matrix(request: Request, playbook: Playbook) -> Gate:
    severity, risk = request.severity, request.risk
    says = playbook.gates[severity][risk]
    return Gate(name="matrix", says=says, why=f"severity {int(severity)} ({severity.name}) x {risk} risk: {says}")


def _rule(request: Request, playbook: Playbook) -> Gate:
    rule = playbook.actions.get(request.plan.action)
    if rule is None:
        return Gate(name="rule", says=Mode.ask, why=f"the playbook has no rule for {request.plan.action}")
    return Gate(name="rule", says=rule.mode, why=f"the playbook's rule for {request.plan.action}: {rule.mode}")


def _way_back(request: Request) -> Gate:
    if request.reversible:
        return Gate(name="way back", says=Mode.run, why="it can be undone")
    return Gate(name="way back", says=Mode.ask, why="it cannot be undone, so never without a person")


def _declared(request: Request) -> Gate:
    if request.asset:
        return Gate(name="asset", says=Mode.run, why=f"{request.asset} is declared in the playbook")
    return Gate(name="asset", says=Mode.ask, why="the incident names no asset that the playbook declares")
