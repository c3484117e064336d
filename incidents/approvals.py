"""A person's yes or no to a plan. It binds to the plan and to the state of the world that the plan was made from.

Nobody waits: the flow that asked has ended. Enough yes puts the incident's section into the outbox again, in the
transaction of the last answer; the flow plans anew, and what it finds must be the same.
"""

from __future__ import annotations

from datetime import timedelta

from incidents import events as e
from incidents import family, storm
from incidents.channels import Ask
from incidents.gates.reach import blast
from incidents.incident import Incident, find
from incidents.ledger import Ledger, Writer
from incidents.models import Mode, Plan, now
from incidents.people import identity
from incidents.playbook import Playbook
from incidents.questions import Question, name, proposal, standing, world
from incidents.sentences import change
from incidents.starting import start


class NotAsked(Exception):
    """An answer that does not count; the message says why, and nothing was recorded."""


def ask(  # noqa: PLR0917  # a sentence with six parts: ask whom, by which rules, about what, because of what
    writer: Writer, playbook: Playbook, incident: Incident, plan: Plan, gated: e.Gated, actor: str
) -> e.AskedFor:
    """Put the question on the record, and tell people how to answer it, in one transaction."""
    rules = playbook.approvals
    asked = e.AskedFor(
        plan=plan.hash,
        world=world(plan),
        proposal=proposal(plan),
        severity=incident.severity,
        needed=rules.quorum.get(incident.severity, 1),
        expires_at=now() + timedelta(seconds=rules.expires_seconds),
        gates=tuple(gate.name for gate in gated.gates if gate.says is Mode.ask),
    )
    writer.append(asked, actor=actor, incident=incident.name, subject=plan.target)
    why = "; ".join(f"{gate.name}: {gate.why}" for gate in gated.gates if gate.says is Mode.ask)
    text = "\n".join(
        (
            f"{plan.summary}\n{plan.action} on {plan.target}: {change(plan)}",
            f"Blast radius: {blast(gated.asked.reach if gated.asked else (), playbook) or 'not known'}",
            f"It asks because of {why}",
            f"{asked.needed} to say yes until {asked.expires_at:%Y-%m-%d %H:%M} UTC. Plan {plan.hash[:12]}.",
            f"lastgood approve {incident.name} --by YOU --plan {plan.hash[:12]}",
            f"lastgood reject {incident.name} --by YOU --because WHY --plan {plan.hash[:12]}",
        )
    )
    title = f"{incident.name} asks: {plan.summary}"
    links = Ask(plan=plan.hash, expires_at=asked.expires_at)
    storm.tell(writer, playbook, incident.name, incident.severity, title, text, links)
    return asked


def answer(
    ledger: Ledger,
    playbook: Playbook,
    about: str,
    person: str,
    *,
    yes: bool,
    why: str = "",
    plan: str = "",
    link: str = "",
) -> str:
    """Put a person's answer on the record, with all that follows from it; says what that is.

    ``person`` is an actor, ``person:anna``; ``plan`` the beginning of the hash that they were shown, empty for any.

    Raises:
        NotAsked: the answer does not count.
    """
    with ledger.write() as writer:  # nobody else answers, asks or closes until this is committed
        incident = find(ledger, about)
        question = _open_question(incident, plan)
        if link and link in question.links:
            raise NotAsked("this link was used before")
        if yes:
            _may_say_yes(incident, question, person)
        told = e.Answered(plan=question.asked.plan, yes=yes, why=why, link=link)
        writer.append(told, actor=person, incident=incident.name, subject=question.plan.target)
        if not yes:
            said = f"{name(person)} said no to {question.plan.summary}" + (f": {why}" if why else "")
            hand_over(writer, playbook, incident, said, person)
            return f"{said}. The {playbook.owners[incident.category]} takes over"
        by = (*question.yes, name(person))
        if len(by) < question.asked.needed:
            return f"{len(by)} of {question.asked.needed} have said yes to {question.plan.summary}"
        approved = e.Approved(plan=question.asked.plan, by=by)
        writer.append(approved, actor=person, incident=incident.name, subject=question.plan.target)
        start(
            writer, incident, f"launch:{incident.name}:{question.asked.plan[:32]}:{len(by)}:{_asked_so_far(incident)}"
        )
        return f"{question.plan.summary} is approved, and is begun if the world is still the same"


def hand_over(writer: Writer, playbook: Playbook, incident: Incident, why: str, actor: str) -> None:
    """Escalate from outside of any flow, and tell the people, in the same transaction."""
    to = playbook.owners[incident.category]
    writer.append(e.Escalated(to=to, why=why), actor=actor, incident=incident.name, subject=incident.asset)
    family.release(writer, incident.name, why, actor)
    storm.tell(
        writer, playbook, incident.name, incident.severity, f"{incident.name} needs the {to}: {incident.title}", why
    )


def _open_question(incident: Incident, plan: str) -> Question:
    question = standing(incident)
    if question is None:
        raise NotAsked(f"{incident.name} is {incident.status}, and asks nothing")
    if not question.asked.plan.startswith(plan.lower()):
        raise NotAsked(f"{incident.name} asks about another plan by now, {question.asked.plan[:12]}")
    if question.expired:
        raise NotAsked(f"the time for an answer was over at {question.asked.expires_at:%Y-%m-%d %H:%M} UTC")
    return question


def _may_say_yes(incident: Incident, question: Question, person: str) -> None:
    """See that it is somebody who has neither answered nor asked for it themselves."""
    began = {identity(event.actor) for event in incident.events if isinstance(event.body, e.Opened | e.Started)}
    if identity(person) in began:
        raise NotAsked(f"{name(person)} asked for it, and so can't be the one to approve it")
    if identity(person) in {identity(f"person:{one}") for one in question.yes}:
        raise NotAsked(f"{name(person)} has said yes before; {question.asked.needed} different people are needed")


def _asked_so_far(incident: Incident) -> int:
    return sum(isinstance(event.body, e.AskedFor) for event in incident.events)
