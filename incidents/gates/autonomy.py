"""Autonomy is earned: what an action may do by itself depends on how often it was seen to help."""

from __future__ import annotations

import math
from collections.abc import Iterable
from statistics import NormalDist

from incidents.events import Gate
from incidents.facts import Deed, Facts, Request
from incidents.limits import Autonomy
from incidents.models import Frozen, Mode
from incidents.playbook import Playbook


class Standing(Frozen):
    """What the history of one action at one kind of incident amounts to."""

    #: How often it was begun and something was seen of it afterwards, how often it helped, how often it did not.
    runs: int
    fixed: int
    failed: int
    #: Wilson's lower bound on the share that helped.
    bound: float
    says: Mode
    why: str


def autonomy(request: Request, playbook: Playbook, facts: Facts) -> Gate:
    """The highest mode that the action has earned for this category and severity."""
    cell = request.plan.action, request.category, request.severity
    same = [deed for deed in facts.deeds if (deed.action, deed.category, deed.severity) == cell]
    found = standing(same, playbook.autonomy)
    if found.says is Mode.never and request.person:  # it is automation that has lost its trust
        return Gate(name="autonomy", says=Mode.ask, why=f"{found.why}; a person may")
    return Gate(name="autonomy", says=found.says, why=found.why)


def standing(deeds: Iterable[Deed], rules: Autonomy) -> Standing:
    """Judge a history, the oldest first. One more failure or one more look without an answer never makes it milder."""
    counted = [deed for deed in deeds if not deed.forgotten and (deed.undone or deed.health is not None)]
    fixed, failed = sum(deed.fixed for deed in counted), sum(deed.failed for deed in counted)
    bound = wilson(fixed, len(counted), rules.confidence)
    seen = f"helped in {fixed} of {len(counted)} runs"
    share = f"{seen}, so in at least {bound:.0%} of all ({rules.confidence:.0%} sure)"
    if len(counted) >= rules.at_least and bound < rules.ask_from:
        says, why = Mode.never, f"{share}: below {rules.ask_from:.0%} it only proposes"
    elif failed and (since := _since_failure(counted)) < rules.recover_after:
        says, why = Mode.ask, f"it failed, and has helped {since} times since: {rules.recover_after} are needed"
    elif len(counted) >= rules.at_least and bound < rules.run_from:
        says, why = Mode.ask, f"{share}: below {rules.run_from:.0%} it asks"
    elif rules.strict and fixed < rules.at_least:
        says, why = Mode.ask, f"{seen}, and the playbook is strict: it asks until it has helped {rules.at_least} times"
    elif len(counted) < rules.at_least:
        says, why = Mode.run, f"{seen}: too few to judge by, so the rest of the playbook decides"
    else:
        says, why = Mode.run, share
    return Standing(runs=len(counted), fixed=fixed, failed=failed, bound=bound, says=says, why=why)


def wilson(successes: int, trials: int, confidence: float) -> float:
    """The lower bound of the score interval of a share, 0 to 1; with no success it is 0.

    Source: E. B. Wilson, "Probable Inference, the Law of Succession, and Statistical Inference", 1927.
    """
    if not successes:
        return 0.0
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    share, spread = successes / trials, z * z / trials
    margin = z * math.sqrt(share * (1 - share) / trials + spread / (4 * trials))
    return max(0.0, (share + spread / 2 - margin) / (1 + spread))


def _since_failure(deeds: list[Deed]) -> int:
    """How often it helped after the last time that it did not."""
    count = 0
    for deed in reversed(deeds):
        if deed.failed:
            break
        count += deed.fixed
    return count
