"""What comes before a change: the plan, the gates, and where they ask, the people. An answer is bound to the plan.

Where people are asked, the flow ends: no process waits for them. Their answer starts it again, and it plans anew.
"""

from __future__ import annotations

import time
from datetime import datetime

from prefect import get_run_logger

from flows import proving
from flows.case import Case, Waiting, step
from incidents import approvals, gatekeeper, questions
from incidents import events as e
from incidents.decide import Request
from incidents.gates.reach import reach
from incidents.models import Mode, Plan, now
from incidents.questions import Question
from remediations.base import CannotPlan, Remediation


async def make_plan(case: Case, action: Remediation) -> Plan | None:
    """The action's plan, on the record; None where there is no safe one, and then that is on the record.

    Where people were asked about a plan, and planned anew it is the same, it is that very plan, which their answer is
    bound to. Where it is not the same, what they said is void.
    """

    def work() -> Plan | None:
        asked = questions.last(case.incident, action.name(), action.model_dump(mode="json"))
        try:
            plan = proving.plan(case, action)
        except CannotPlan as error:
            if asked is not None:
                _void(case, asked, f"there is no safe plan any more: {error}")
            missing = e.NotPlanned(action=action.name(), target=action.subject(), why=str(error))
            case.record(missing, subject=action.subject())
            return None
        if asked is not None:
            why = _why_void(case, asked, plan)
            if why is None:
                return asked.plan
            _void(case, asked, why)
        case.record(e.Planned(plan=plan), subject=plan.target)
        return plan

    return await step(f"plan {action.name()}", work)


async def in_the_way(case: Case, action: Remediation, plan: Plan) -> str | None:
    """Ask every gate, and put every answer on the record; says what stands in the way, None where nothing does.

    Where only time holds it down, it waits and asks again.

    Raises:
        Waiting: the gates ask, and so people were asked.
    """
    if got_worse(case):
        return "it got worse while it waited for an answer"
    gated = gatekeeper.ask(case.ledger, case.playbook, request(case, action, plan), case.actor)
    until = _held_down(gated)
    if until is not None:
        await step("hold down", time.sleep, max(0.0, (until - now()).total_seconds()))
        gated = gatekeeper.ask(case.ledger, case.playbook, request(case, action, plan), case.actor)
    get_run_logger().info("%s: gates say %s", plan.summary, gated.mode)
    if gated.mode is Mode.never:
        return f"proposed, and it may not run: {plan.summary}"
    no = None if case.person else questions.dismissed(case.ledger, case.playbook, plan)
    if no is not None:  # it stops what would run by itself as well
        return f"proposed, and not asked again: {plan.summary}. {no}"
    if gated.mode is Mode.run:
        return None
    raise Waiting(await step(f"ask about {plan.action}", _ask_people, case, plan, gated))


def got_worse(case: Case) -> bool:
    """Whether the incident is worse than when its newest question was asked, and nobody has been told of that."""
    incident = case.incident
    newest = next(questions.questions(incident), None)
    told = incident.last(e.Escalated)
    asked = incident.last(e.AskedFor)
    if newest is None or asked is None or (told is not None and told.seq > asked.seq):
        return False
    return incident.severity < newest.asked.severity


def request(case: Case, action: Remediation, plan: Plan) -> Request:
    """What the gates are asked, as things stand on the record at this moment."""
    incident = case.incident
    return Request(
        plan=plan,
        category=incident.category,
        severity=incident.severity,
        risk=action.risk,
        reversible=action.reversible,
        asset=incident.asset,
        subject=action.subject(),
        reach=reach(action.subject(), case.playbook, incident),
        incident=case.name,
        person=case.person,
        approval=questions.approval(incident, plan),
    )


def _ask_people(case: Case, plan: Plan, gated: e.Gated) -> str:
    """Ask, unless they were asked the same already; where they were and it is no longer enough, ask anew."""
    with case.ledger.write() as writer:
        incident = case.incident
        asked = questions.last(incident, plan.action, dict(plan.parameters))
        now_asking = {gate.name for gate in gated.gates if gate.says is Mode.ask}
        if asked is not None and not asked.approved and now_asking <= set(asked.asked.gates):
            return f"{asked.plan.summary} waits for {asked.asked.needed} to say yes"
        if asked is not None:
            more = ", ".join(sorted(now_asking - set(asked.asked.gates)))
            void = e.ApprovalVoid(plan=plan.hash, why=f"{more or 'a gate'} asks now, and nobody was asked about that")
            writer.append(void, actor=case.actor, incident=case.name, subject=plan.target)
        new = approvals.ask(writer, case.playbook, incident, plan, gated, case.actor)
    return f"{plan.summary} waits for {new.needed} to say yes, until {new.expires_at:%Y-%m-%d %H:%M} UTC"


def _why_void(case: Case, asked: Question, plan: Plan) -> str | None:
    """Why what people were asked no longer holds; None where it does."""
    if asked.expired:
        return f"its time was over at {asked.asked.expires_at:%Y-%m-%d %H:%M} UTC"
    if plan.nothing_to_do:
        return f"nothing is to be done any more: {plan.summary}"
    if questions.world(plan) != asked.asked.world:
        return f"the world has moved, and planned anew it is {plan.summary}"
    if case.incident.severity < asked.asked.severity:
        return "it got worse since"
    return None


def _void(case: Case, asked: Question, why: str) -> None:
    case.record(e.ApprovalVoid(plan=asked.asked.plan, why=why), subject=asked.plan.target)


def _held_down(gated: e.Gated) -> datetime | None:
    """When the hold-down is over, where nothing else stands in the way, and no person has said yes."""
    in_the_way = [gate for gate in gated.gates if gate.says is not Mode.run]
    only = gated.mode is Mode.ask and [gate.name for gate in in_the_way] == ["hold-down"]
    return in_the_way[0].until if only else None
