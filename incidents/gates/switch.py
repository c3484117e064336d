"""The kill switch: a person's pause, the one that a crash leaves, and an asset that was frozen.

All say ``ask``: while automation is held, a person may still act by hand.
"""

from __future__ import annotations

from incidents.events import Gate
from incidents.facts import Facts, Request
from incidents.models import Mode, Risk
from incidents.playbook import Playbook


def pause(_: Request, __: Playbook, facts: Facts) -> Gate:
    """Nobody has paused automation."""
    if facts.paused:
        return Gate(name="pause", says=Mode.ask, why=f"automation is paused, {facts.paused}")
    return Gate(name="pause", says=Mode.run, why="automation is not paused")


def frozen(request: Request, _: Playbook, facts: Facts) -> Gate:
    """No incident has frozen the asset: where ``when_bad`` is ``freeze``, it stands still until a person has looked.

    What is of low risk changes nothing that anybody uses, as keeping evidence does, and is not held.
    """
    if facts.frozen and request.risk is not Risk.low:
        lift = f"lifted by `lastgood thaw {request.changes}`"
        return Gate(name="frozen", says=Mode.ask, why=f"{request.changes} is frozen, {facts.frozen}; {lift}")
    held = "is frozen, and this changes nothing that anybody uses" if facts.frozen else "is not frozen"
    return Gate(name="frozen", says=Mode.run, why=f"{request.changes or 'it'} {held}")


def crash(_: Request, playbook: Playbook, facts: Facts) -> Gate:
    """No crash has left a change in doubt.

    In doubt is an incident whose last word is an intent without its effect, while it does not hold the lease: whoever
    was at work there is gone, and what they changed is not known. A run that died before any intent changed nothing.
    """
    if not facts.in_doubt:
        return Gate(name="crash", says=Mode.run, why="no change was left in doubt by a crash")
    left = f"a crash left in doubt what {', '.join(facts.in_doubt)} changed"
    if not playbook.limits.pause_after_crash:
        return Gate(name="crash", says=Mode.run, why=f"{left}, and the playbook says not to pause after a crash")
    return Gate(name="crash", says=Mode.ask, why=f"{left}; it is settled there, or lifted by `lastgood unpause`")
