"""What would another playbook have decided? The recorded decisions, made again from what was known at each moment.

Nothing is changed and nothing is recorded. History is taken as it was: what another decision would have led to cannot
be known, only what the decision would have been.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from pydantic import AwareDatetime

from incidents import events as e
from incidents.decide import decide, strictest
from incidents.events import Event
from incidents.facts import Deed, Request
from incidents.history import ALERTS, History
from incidents.ledger import Ledger
from incidents.models import Frozen, Mode, Plan, Severity
from incidents.playbook import Playbook
from incidents.schema import DEEDS

#: What has to be read for it.
KINDS = (*ALERTS, *DEEDS, "planned", "moved", "gated", "paused", "unpaused", "froze", "thawed", "autonomy_reset")

#: In a past decision the lease is known only from what its gate said.
_SOMEBODY = "somebody else, as recorded then,"


class Decision(Frozen):
    """One decision, as it was made and as the other playbook would have made it; both without any person's yes."""

    at: AwareDatetime
    incident: str
    action: str
    asset: str
    severity: Severity
    was: Mode
    now: Mode
    #: What would stand in the way now.
    why: str
    #: Whether the change was made, and then was seen to help, or was seen not to or taken back.
    helped: bool = False
    harmed: bool = False

    @property
    def more(self) -> bool:
        """It would run by itself now, and did not then."""
        return self.now is Mode.run and self.was is not Mode.run

    @property
    def less(self) -> bool:
        """It ran by itself then, and would not now."""
        return self.was is Mode.run and self.now is not Mode.run

    @property
    def worse(self) -> bool:
        """By what came of it: what did harm would run by itself, or what helped would not."""
        return (self.more and self.harmed) or (self.less and self.helped)


class Report(Frozen):
    """All decisions of a time, made again."""

    decisions: tuple[Decision, ...]
    #: Decisions that cannot be made again, because the record does not say what was asked.
    skipped: int = 0

    @property
    def changed(self) -> tuple[Decision, ...]:
        """Those that would be other ones now."""
        return tuple(decision for decision in self.decisions if decision.was is not decision.now)

    def summary(self) -> str:
        """``would now run 14 more by itself, ask 3 times less, refuse 1 that made things worse``."""
        more = sum(decision.more for decision in self.decisions)
        less = sum(decision.less for decision in self.decisions)
        said = [f"run {more} more by itself"] + ([f"no longer run {less}"] if less else [])
        asks = sum((d.now is Mode.ask) - (d.was is Mode.ask) for d in self.decisions)
        said.append(f"ask {abs(asks)} times {'more' if asks > 0 else 'less'}")
        refused = sum(decision.less and decision.harmed for decision in self.decisions)
        said.append(f"refuse {refused} that made things worse")
        harm = sum(decision.more and decision.harmed for decision in self.decisions)
        said += [f"run {harm} by itself that made things worse"] if harm else []
        lost = sum(decision.less and decision.helped for decision in self.decisions)
        said += [f"not run {lost} that helped"] if lost else []
        return f"would now {', '.join(said)}"


def backtest(ledger: Ledger, playbook: Playbook, since: datetime) -> Report:
    """Make the decisions since a moment again with another playbook; of several on one plan the last one counts."""
    return replay(ledger.events(kinds=KINDS), playbook, since)


def replay(events: Iterable[Event], playbook: Playbook, since: datetime) -> Report:
    """The same, over the events of a whole record in their order."""
    past, plans, skipped = History(), dict[str, Plan](), 0
    made: dict[tuple[str, str], Decision] = {}
    for event in events:
        body = event.body
        if isinstance(body, e.Planned):
            plans[body.plan.hash] = body.plan
        if isinstance(body, e.Gated) and event.at >= since:
            plan = plans.get(body.plan)
            if plan is None or body.asked is None:
                skipped += 1
            else:
                made[event.incident or "", body.plan] = _again(event, body, body.asked, plan, past, playbook)
        past.add(event)
    ends = {(deed.incident, deed.plan): deed for deed in past.deeds}
    return Report(decisions=tuple(_ended(one, ends.get(key)) for key, one in made.items()), skipped=skipped)


def _again(  # noqa: PLR0917  # what was recorded, and with what it is decided again
    event: Event, gated: e.Gated, asked: e.Asked, plan: Plan, past: History, playbook: Playbook
) -> Decision:
    request = Request.model_validate(asked.model_dump() | {"plan": plan})
    holders = past.at_work(event.at)
    if any(gate.name == "lease" and gate.says is not Mode.run for gate in gated.gates):
        holders.setdefault(plan.target, _SOMEBODY)
    else:
        holders.pop(plan.target, None)
    decided = decide(request, playbook, past.facts(request, event.at, playbook.back, holders))
    return Decision(
        at=event.at,
        incident=event.incident or "",
        action=plan.action,
        asset=asked.changes,
        severity=asked.severity,
        was=_alone(gated),
        now=_alone(decided),
        why="; ".join(f"{gate.name}: {gate.why}" for gate in decided.gates if gate.says is not Mode.run),
    )


def _alone(gated: e.Gated) -> Mode:
    """What the gates say without anybody's yes: the person's who ran it by hand, or that of those who approved it."""
    return strictest(gate.says for gate in gated.gates if gate.name not in ("person", "approval"))


def _ended(decision: Decision, deed: Deed | None) -> Decision:
    """The decision with what came of it."""
    if deed is None:
        return decision
    return decision.model_copy(update={"helped": deed.fixed, "harmed": deed.failed})
