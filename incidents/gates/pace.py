"""How much is being done, how often, and how soon: budgets, the storm, cool-down, hold-down, flapping."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from incidents.events import Gate
from incidents.facts import Facts, Request, when
from incidents.limits import Budget
from incidents.models import Mode
from incidents.playbook import Playbook


def action_budget(request: Request, playbook: Playbook, facts: Facts) -> Gate:
    """How often this action has begun, wherever."""
    action, rule = request.plan.action, playbook.actions.get(request.plan.action)
    budget = rule.budget if rule and rule.budget else playbook.limits.per_action
    begun = [deed.at for deed in facts.deeds_since(budget.window) if deed.action == action]
    return _within("action budget", f"{action} has begun", begun, budget)


def asset_budget(request: Request, playbook: Playbook, facts: Facts) -> Gate:
    """How often this asset has been changed, by whatever action."""
    asset, budget = request.changes, playbook.limits.per_asset
    begun = [deed.at for deed in facts.deeds_since(budget.window) if deed.asset == asset]
    return _within("asset budget", f"a change of {asset or 'an undeclared asset'} has begun", begun, budget)


def storm(_: Request, playbook: Playbook, facts: Facts) -> Gate:
    """How many actions have begun in all. Above that, something larger is wrong than each of them can mend."""
    budget = playbook.limits.storm
    begun = [deed.at for deed in facts.deeds_since(budget.window)]
    return _within("storm", "an action has begun", begun, budget)


def cool_down(request: Request, playbook: Playbook, facts: Facts) -> Gate:
    """The same action leaves the same asset alone for a while: what did not help is not simply tried again."""
    action, asset, rule = request.plan.action, request.changes, playbook.actions.get(request.plan.action)
    own = rule.cool_down_seconds if rule else None
    seconds = playbook.limits.cool_down_seconds if own is None else own
    same = [deed.at for deed in facts.deeds if (deed.action, deed.asset) == (action, asset)]
    over = max(same) + timedelta(seconds=seconds) if same else facts.at
    if over <= facts.at:
        return Gate(name="cool-down", says=Mode.run, why=f"{action} did not begin on {asset} in the last {seconds:g} s")
    why = f"{action} began on {asset} at {when(max(same))}, and leaves it alone for {seconds:g} s"
    return Gate(name="cool-down", says=Mode.ask, why=why, until=over)


def hold_down(request: Request, playbook: Playbook, facts: Facts) -> Gate:
    """Only what is still firing after a while is worth an action."""
    seconds = playbook.limits.hold_down_seconds.get(request.severity, 0)
    if not seconds:
        return Gate(name="hold-down", says=Mode.run, why=f"none at severity {int(request.severity)}")
    if not request.incident:
        return Gate(name="hold-down", says=Mode.run, why="there is no incident yet whose alert could be waited for")
    if facts.firing_since is None:
        return Gate(name="hold-down", says=Mode.ask, why="no alert of the incident is firing any more")
    over, since = facts.firing_since + timedelta(seconds=seconds), when(facts.firing_since)
    if over <= facts.at:
        return Gate(
            name="hold-down", says=Mode.run, why=f"an alert has been firing since {since}, {seconds:g} s at least"
        )
    why = f"an alert has been firing since {since}, and has to for {seconds:g} s"
    return Gate(name="hold-down", says=Mode.ask, why=why, until=over)


def flapping(request: Request, playbook: Playbook, facts: Facts) -> Gate:
    """What is mended and breaks again and again needs another remedy."""
    budget, about = playbook.limits.flapping, request.asset or "it"
    again = [at for at in facts.reopened if at > facts.at - budget.window]
    return _within("flapping", f"an incident about {about} was opened again", again, budget)


def _within(name: str, what: str, times: Sequence[datetime], budget: Budget) -> Gate:
    """Whether one more stays within the budget, and otherwise from when on."""
    said = f"{what} {_times(len(times))} in the last {budget.per_minutes:g} min, the limit is {budget.at_most}"
    if len(times) < budget.at_most:
        return Gate(name=name, says=Mode.run, why=said)
    over = sorted(times)[-budget.at_most] + budget.window if budget.at_most else None
    until = f", until {when(over)}" if over else ""
    return Gate(name=name, says=Mode.ask, why=f"{said}{until}", until=over)


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"
