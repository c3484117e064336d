"""What people were asked about an incident's plans, and what they answered: a fold over its events."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

from incidents import events as e
from incidents.events import Event
from incidents.incident import Incident
from incidents.ledger import Ledger
from incidents.models import Frozen, Plan, Status, digest, now
from incidents.playbook import Playbook

#: The fields of ``Plan.after`` that tell one move from another, and not one state from another.
_OF_ONE_MOVE = ("nonce", "moved_by")


class Question(Frozen):
    """What people were asked last about one action, and what they have answered."""

    asked: e.AskedFor
    plan: Plan
    #: Who said yes, in order.
    yes: tuple[str, ...] = ()
    refused: bool = False
    approved: bool = False
    void: bool = False
    links: tuple[str, ...] = ()

    @property
    def expired(self) -> bool:
        """Whether its time is over."""
        return self.asked.expires_at <= now()


def world(plan: Plan) -> str:
    """What an approval binds to besides the hash: what is to be done, and the state that it was planned from."""
    return digest(plan.model_dump(mode="json", exclude={"summary", "because"}))


def proposal(plan: Plan) -> str:
    """What is to be done, whatever the incident and whatever the state before."""
    parameters = {name: value for name, value in plan.parameters.items() if name != "because"}
    after = {name: value for name, value in plan.after.items() if name not in _OF_ONE_MOVE}
    return digest([plan.action, parameters, plan.target, after])


def questions(incident: Incident) -> Iterator[Question]:
    """Every question that was asked in the incident, the newest first, with its own answers."""
    answers: list[Event] = []
    for event in reversed(incident.events):
        if isinstance(event.body, e.AskedFor):
            asked = event.body
            theirs = [one for one in reversed(answers) if getattr(one.body, "plan", "") == asked.plan]
            yield _question(incident, asked, theirs)
            answers = [one for one in answers if one not in theirs]
        elif isinstance(event.body, e.Answered | e.Approved | e.ApprovalVoid):
            answers.append(event)


def standing(incident: Incident) -> Question | None:
    """The question that the incident waits on; None where it waits on none."""
    return next(questions(incident), None) if incident.status is Status.waiting else None


def last(incident: Incident, action: str, parameters: dict[str, object]) -> Question | None:
    """The newest question about an action with these parameters that neither a no nor the world has settled."""
    about = (one for one in questions(incident) if (one.plan.action, one.plan.parameters) == (action, parameters))
    found = next(about, None)
    return found if found and not found.void and not found.refused else None


def approval(incident: Incident, plan: Plan) -> e.Approval | None:
    """The yes that stands for this very plan at this moment."""
    found = last(incident, plan.action, dict(plan.parameters))
    if found is None or not found.approved or found.expired or found.asked.plan != plan.hash:
        return None
    if incident.severity < found.asked.severity:
        return None
    return e.Approval(by=found.yes, answers=found.asked.gates)


def dismissed(ledger: Ledger, playbook: Playbook, plan: Plan) -> str | None:
    """Who said no to the same proposal lately, when and why; None where nobody did, or enough said yes to it since."""
    asked = dict[tuple[str | None, str], str]()
    found = None
    since = now() - timedelta(seconds=playbook.approvals.dismissed_for_seconds)
    for event in ledger.events(subject=plan.target, kinds=["asked_for", "answered", "approved"]):
        body = event.body
        if isinstance(body, e.AskedFor):
            asked[event.incident, body.plan] = body.proposal
        elif not isinstance(body, e.Answered | e.Approved) or asked.get((event.incident, body.plan)) != proposal(plan):
            continue
        elif isinstance(body, e.Approved):
            found = None
        elif not body.yes and event.at > since:
            found = event
    if found is None or not isinstance(found.body, e.Answered):
        return None
    why = f": {found.body.why}" if found.body.why else ""
    return f"{name(found.actor)} said no to the same at {found.at:%Y-%m-%d %H:%M} UTC, in {found.incident}{why}"


def _question(incident: Incident, asked: e.AskedFor, answers: list[Event]) -> Question:
    told = [(event.actor, event.body) for event in answers if isinstance(event.body, e.Answered)]
    return Question(
        asked=asked,
        plan=incident.attempt(asked.plan).plan,
        yes=tuple(name(actor) for actor, body in told if body.yes),
        refused=any(not body.yes for _, body in told),
        approved=any(isinstance(event.body, e.Approved) for event in answers),
        void=any(isinstance(event.body, e.ApprovalVoid) for event in answers),
        links=tuple(body.link for _, body in told if body.link),
    )


def name(actor: str) -> str:
    """A person's name, without what makes it an actor."""
    return actor.removeprefix("person:")
