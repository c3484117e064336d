"""One plain sentence for each kind of event. The timeline, the post-mortem and the command line all say the same."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import assert_never

from pydantic import JsonValue

from incidents import events as e
from incidents.events import Body, Event
from incidents.models import Health, Mode, Plan, Verdict, canonical

#: What a sentence says of a plan whose record it does not have.
_UNKNOWN = "a plan that is not on this record"


def plans(events: Iterable[Event]) -> dict[str, Plan]:
    """Every plan on the record, by its hash; the later sentences speak of it by that."""
    return {event.body.plan.hash: event.body.plan for event in events if isinstance(event.body, e.Planned)}


def sentence(body: Body, known: Mapping[str, Plan]) -> str:  # noqa: PLR0912, PLR0915  # one line a kind of event
    """What happened, in one sentence. ``known`` is what ``plans`` made of the same record."""
    match body:
        case e.Opened():
            about = body.asset or "no declared asset"
            return f"{body.category} incident of severity {int(body.severity)} about {about}: {body.title}"
        case e.Alerted(alert=alert):
            return f"{alert.source} alert {alert.name} joined"
        case e.AlertEnded(alert=alert):
            return f"{alert.source} says that alert {alert.name} is over"
        case e.SetAside():
            return f"alert {body.index} of a delivery from {body.sender} was set aside: {body.why}"
        case e.Started():
            return f"flow {body.flow} took it up" + (f" (run {body.run})" if body.run else "")
        case e.Checked():
            return f"{'looked' if body.phase == 'confirm' else 'looked again'}: {_verdict(body.verdict)}"
        case e.Judged():
            return f"version {body.version} is {_verdict(body.verdict)}"
        case e.Scanned():
            return f"the files of version {body.version} are {_verdict(body.verdict)}"
        case e.Suspected():
            return f"version {body.version} is in production and may be hit"
        case e.Traced():
            return f"{body.dataset} {body.version} taught {_taught(body)}"
        case e.Triaged():
            unseen = f"; could not see {', '.join(body.missing)}" if body.missing else ""
            return f"looked first at {', '.join(body.evidence) or 'nothing'}{unseen}"
        case e.Planned(plan=plan):
            return f"{plan.action}: {plan.target} {change(plan)}"
        case e.NotPlanned():
            return f"{body.action}: no safe plan for {body.target}: {body.why}"
        case e.Gated():
            return f"gates say {body.mode} to {_action(known, body.plan)}: {gates(body)}"
        case e.AskedFor():
            people = "a person" if body.needed == 1 else f"{body.needed} people"
            return f"asked {people} about {_action(known, body.plan)}, until {body.expires_at:%Y-%m-%d %H:%M} UTC"
        case e.Answered():
            return f"{'yes' if body.yes else 'no'} to {_action(known, body.plan)}" + (
                f": {body.why}" if body.why else ""
            )
        case e.Approved():
            return f"{', '.join(body.by)} approved {_action(known, body.plan)}"
        case e.ApprovalVoid():
            return f"what was asked about {_action(known, body.plan)} no longer holds: {body.why}"
        case e.Applying(plan=plan_hash):
            return f"about to apply {_action(known, plan_hash)}"
        case e.Applied(plan=plan_hash):
            return f"applied {_action(known, plan_hash)}"
        case e.Verified(plan=plan_hash):
            return f"after {_action(known, plan_hash)}: {_verdict(body.verdict)}"
        case e.Conflicted(plan=plan_hash):
            return f"left {_action(known, plan_hash)} alone, somebody else was there: {body.why}"
        case e.UndoAgreed():
            return f"asked to take back {_action(known, body.plan)}, which takes {body.needed} people: {body.why}"
        case e.Undoing(plan=plan_hash):
            return f"about to undo {_action(known, plan_hash)}: {body.why}"
        case e.Undone(plan=plan_hash):
            return f"undid {_action(known, plan_hash)}"
        case e.Moved():
            return moved(body)
        case e.Reloading():
            return f"told {body.url} to load version {body.version} of {body.model}, which it does not serve"
        case e.Contested():
            won = "may take" if body.verdict.health is Health.healthy else "may not take"
            return f"version {body.challenger} {won} the place of {body.champion}: {body.verdict.why}"
        case e.Joined():
            return f"{body.incident}, of severity {int(body.severity)}, has the same cause and waits for this"
        case e.Deferred():
            return f"waits for {body.to}, which is about its cause"
        case e.Released():
            return f"looks again, for {body.by} has ended: {body.why}"
        case e.Failed():
            return f"{body.step} broke: {body.error}"
        case e.Escalated():
            return f"handed over to the {body.to}: {body.why}"
        case e.Resolved():
            return f"resolved: {body.why}"
        case e.NotConfirmed():
            return f"closed, not confirmed: {body.why}"
        case e.Told():
            reached = "told" if body.delivered else "could not tell"
            return f"{reached} {body.channel}: {body.title}" + (f" ({body.why})" if body.why else "")
        case e.Paused():
            return f"automation paused: {body.why}"
        case e.Froze():
            return f"{body.asset} frozen: {body.why}"
        case e.Thawed():
            return f"{body.asset} may be changed again: {body.why}"
        case e.Unpaused():
            return f"automation goes on: {body.why}"
        case e.AutonomyReset():
            return f"what {body.action} did before{_where(body)} no longer counts: {body.why}"
        case e.Stormed():
            return f"storm: {body.why}"
        case _:
            assert_never(body)


def change(plan: Plan) -> str:
    """What a plan changes, as ``version 3 -> 2``; each changed field, the rest is left out."""
    if plan.nothing_to_do:
        return "already is as it should be"
    fields = [key for key in {**plan.before, **plan.after} if plan.before.get(key) != plan.after.get(key)]
    return ", ".join(f"{key} {value(plan.before.get(key))} -> {value(plan.after.get(key))}" for key in fields)


def moved(body: e.Moved) -> str:
    """What was seen of a move that was not ours: ``seen at version 4, moved from 3 by anna``."""
    at = f"seen at version {body.after}" if body.after else "seen to be gone"
    before = f"it was {body.before}" if body.before else "nothing was known before"
    by = f"moved by {body.by}" if body.by else "it is not known by whom"
    return f"{at}; {before}, {by}" + (f" ({body.why})" if body.why else "")


def gates(gated: e.Gated) -> str:
    """What stood in the way, or who overruled it, in one line: ``matrix ask (severity 4 ...); 16 more say run``."""
    told = [gate for gate in gated.gates if gate.says is not Mode.run or gate.name in ("person", "approval")]
    rest = len(gated.gates) - len(told)
    if not told:
        return f"all {rest} say run"
    said = ", ".join(f"{gate.name} {gate.says} ({gate.why})" for gate in told)
    return f"{said}; {rest} more say run" if rest else said


def value(found: JsonValue) -> str:
    """A JSON value for people: text as it is, a float with no more digits than help."""
    if found is None:
        return "nothing"
    if isinstance(found, float):
        return f"{found:.6g}"
    return found if isinstance(found, str) else canonical(found)


def _verdict(verdict: Verdict) -> str:
    return f"{verdict.health}, {verdict.why}" if verdict.why else verdict.health.value


def _taught(body: e.Traced) -> str:
    learned = [f"{model} {', '.join(versions)}" for model, versions in body.models.items() if versions]
    said = "; ".join(learned) or "no model"
    if not body.in_production:
        return said
    size = radius([f"dataset:{body.dataset}", *(f"model:{name}" for name in body.in_production)], len(body.services))
    return f"{said}. Blast radius: {size}"


def radius(assets: Iterable[str], services: int = 0) -> str:
    """How much it is, kind by kind: ``1 dataset, 12 models, 3 services``."""
    counts = Counter(asset.partition(":")[0] for asset in assets)
    counts["service"] += services
    return ", ".join(f"{count} {kind}{'' if count == 1 else 's'}" for kind, count in sorted(counts.items()) if count)


def _where(body: e.AutonomyReset) -> str:
    """`` in model incidents of severity 2``; nothing where all are meant."""
    category = f" in {body.category} incidents" if body.category else ""
    severity = f" at severity {int(body.severity)}" if body.severity else ""
    return category + severity


def _action(known: Mapping[str, Plan], plan_hash: str) -> str:
    plan = known.get(plan_hash)
    return f"{plan.action} on {plan.target}" if plan else _UNKNOWN
