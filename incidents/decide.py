"""May this plan run? Every gate is asked every time, and the strictest answer counts. Pure: no clock, no I/O."""

from __future__ import annotations

from collections.abc import Iterable

from incidents.events import Asked, Gate, Gated
from incidents.facts import Facts, Request
from incidents.gates import GATES
from incidents.models import Mode
from incidents.playbook import Playbook

__all__ = ["Facts", "Request", "decide", "strictest"]

_STRICTEST_FIRST = (Mode.never, Mode.ask, Mode.run)


def decide(request: Request, playbook: Playbook, facts: Facts) -> Gated:
    """Ask every gate, and put what each said on one sheet.

    A person who runs an action by hand is the yes that ``ask`` waits for. So is an approval, to the gates that asked
    when people were asked, and to no other. ``never`` is never overruled.
    """
    gates = tuple(gate(request, playbook, facts) for gate in GATES)
    mode = strictest(gate.says for gate in gates)
    if mode is Mode.ask and request.person:
        gates = (*gates, Gate(name="person", says=Mode.run, why=f"{request.person} runs it by hand"))
        mode = Mode.run
    approval, asking = request.approval, {gate.name for gate in gates if gate.says is Mode.ask}
    if mode is Mode.ask and approval and asking <= set(approval.answers):
        gates = (*gates, Gate(name="approval", says=Mode.run, why=f"{', '.join(approval.by)} approved it"))
        mode = Mode.run
    asked = Asked.model_validate(request.model_dump(exclude={"plan"}))
    return Gated(
        plan=request.plan.hash,
        mode=mode,
        gates=gates,
        playbook=playbook.digest,
        action=request.plan.action,
        asked=asked,
    )


def strictest(modes: Iterable[Mode]) -> Mode:
    """The strictest of several modes; with nothing to go by it is ``never``."""
    return min(modes, key=_STRICTEST_FIRST.index, default=Mode.never)
