"""Whom it touches: how many assets, whoever is at work on the same one, and whoever wanted it otherwise."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta

from incidents import events as e
from incidents.events import Gate
from incidents.facts import Facts, Request, when
from incidents.incident import Incident
from incidents.models import Mode
from incidents.playbook import Playbook
from incidents.sentences import radius


def blast_radius(request: Request, playbook: Playbook, _: Facts) -> Gate:
    """A plan that touches many assets is looked at by a person first."""
    touched = request.reach or ((request.changes,) if request.changes else ())
    limit = playbook.limits.blast_radius
    says = Mode.run if len(touched) <= limit else Mode.ask
    names = f": {', '.join(touched)}. Blast radius: {blast(touched, playbook)}" if touched else ""
    return Gate(name="blast radius", says=says, why=f"it touches {len(touched)} assets, the limit is {limit}{names}")


def blast(touched: Iterable[str], playbook: Playbook) -> str:
    """How far a change goes, with the services that answer with the models: ``1 dataset, 12 models, 3 services``."""
    assets = list(touched)
    models = (playbook.models.get(name.removeprefix("model:")) for name in assets if name.startswith("model:"))
    services = {model.server for model in models if model is not None and model.server}
    return radius(assets, len(services))


def lease(request: Request, _: Playbook, facts: Facts) -> Gate:
    """Nobody else changes the same target at this moment."""
    if facts.holder:
        return Gate(name="lease", says=Mode.ask, why=f"{facts.holder} is changing {request.plan.target} right now")
    return Gate(name="lease", says=Mode.run, why=f"nobody else is changing {request.plan.target}")


def taken_back(request: Request, playbook: Playbook, facts: Facts) -> Gate:
    """What a person has taken back is not done again without a person."""
    target, minutes = request.plan.target, playbook.limits.taken_back_minutes
    found = facts.taken_back
    over = found.at + timedelta(minutes=minutes) if found else facts.at
    if found is None or over <= facts.at:
        why = f"nobody has taken back such a change of {target} in the last {minutes:g} min"
        return Gate(name="taken back", says=Mode.run, why=why)
    who = found.by or "somebody else"
    why = f"{target} was changed like this before, and {who} took it back, as was seen at {when(found.at)}"
    return Gate(name="taken back", says=Mode.ask, why=f"{why}, until {when(over)}", until=over)


def reach(subject: str, playbook: Playbook, incident: Incident | None = None) -> tuple[str, ...]:
    """What a change of an asset touches: itself, and where it is a dataset, every declared model that learns from it.

    Those are the models that the playbook says learn from it, and those that the incident's trace found to have.
    """
    kind, _, dataset = subject.partition(":")
    if kind != "dataset":
        return (subject,)
    learners = {name for name, model in playbook.models.items() if dataset in model.learns_from}
    for event in incident.events if incident else ():
        if isinstance(event.body, e.Traced) and event.body.dataset == dataset:
            learners |= {name for name in event.body.models if name in playbook.models}
    return (subject, *(f"model:{name}" for name in sorted(learners)))
