"""The verbs the flows are written in: confirm, trace, remediate, escalate, resolve.

Every verb puts what it did on the ledger, and reads the ledger first: a step that is on the record is not done a
second time. So a flow can be entered again after a crash, and goes on where it was.
"""

from __future__ import annotations

from prefect.artifacts import acreate_markdown_artifact

from flows.asking import in_the_way, make_plan, request
from flows.case import Case, Outcome, step
from flows.checks import Check
from flows.looking import confirm, watch
from incidents import events as e
from incidents import family, gatekeeper, postmortem, storm
from incidents.agreement import agreed
from incidents.gatekeeper import Refused
from incidents.incident import Incident
from incidents.leases import Held, Lost, check_lease, lease
from incidents.models import Frozen, Health, Plan, Status, Verdict
from incidents.settings import settings
from remediations.base import Conflict, Remediation, verified
from remediations.lineage import in_production, trained_on

__all__ = ["Fix", "confirm", "escalate", "not_confirmed", "remediate", "resolve", "trace", "undo", "watch", "well"]

#: How long an action waits for somebody else's lease on its target, in seconds.
PATIENCE = 30


class Fix(Frozen):
    """How an attempt to fix something ended: done, or why not."""

    done: bool
    why: str


async def trace(case: Case, dataset: str, version: str) -> list[str]:
    """Follow a bad dataset version to what learned from it; returns the declared models that are in production.

    Entered again, a model that was begun to be brought back counts as well: it was not seen to recover yet.
    """
    models = await step(f"trace {dataset} {version}", trained_on, dataset, version)
    declared = {name: case.playbook.models[name] for name in models if name in case.playbook.models}
    aliases = {name: model.alias for name, model in declared.items()}
    current = await step("look at what serves", in_production, aliases) if aliases else {}
    serving = [name for name, now in current.items() if str(now) in models[name]]
    services = sorted({server for name in serving if (server := declared[name].server)})
    traced = e.Traced(
        dataset=dataset, version=version, models=models, in_production=tuple(serving), services=tuple(services)
    )
    case.record(traced, subject=f"dataset:{dataset}")
    return sorted({*serving, *(name for name in declared if _begun(case.incident, f"model:{name}"))})


async def remediate(case: Case, action: Remediation, symptom: Check | None) -> Fix:
    """Plan, ask the gates, put the intent on the record, apply, see whether it helped, undo if it did not.

    This is the one place that does it. Entered again after a crash it goes on from the record: what was applied is
    not planned anew, and what was seen is not looked for again.

    Raises:
        Waiting: people were asked; their answer starts the flow again.
    """
    attempt = case.incident.latest(action.name(), action.model_dump(mode="json"))
    if attempt is None or not attempt.applying:
        plan = await make_plan(case, action)
        if plan is None or plan.nothing_to_do:
            return await _not_run(case, plan, symptom)
        why = await in_the_way(case, action, plan)
        if why is not None:
            return Fix(done=False, why=why)
        attempt = case.incident.attempt(plan.hash)
    plan, verdict = attempt.plan, attempt.verdict
    try:
        if not attempt.applied:
            await step(f"apply {plan.action}", _apply, case, action, plan)
        if verdict is None:
            verdict = await _verify(case, action, plan, symptom)
        if verdict.health is Health.unhealthy and _by_itself(action) and not attempt.undone:
            await step(f"undo {plan.action}", undo, case, action, plan, verdict.why)
    except Refused as refused:
        return Fix(done=False, why=str(refused))
    except (Conflict, Held, Lost) as refused:
        case.record(e.Conflicted(plan=plan.hash, why=str(refused)), subject=plan.target)
        return Fix(done=False, why=str(refused))
    if verdict.health is Health.healthy:
        return Fix(done=True, why=f"{plan.summary}; {verdict.why}")
    left = "undone" if verdict.health is Health.unhealthy and _by_itself(action) else "left as it is"
    return Fix(done=False, why=f"{plan.summary} was not seen to help, and was {left}: {verdict.why}")


async def well(case: Case, why: str) -> Outcome:
    """Close the incident where all is well: with the incident that it waited for, or because it never was so."""
    released = case.incident.last(e.Released)
    if released is not None and isinstance(released.body, e.Released):
        return await resolve(case, f"with {released.body.by}: {why}")
    return await not_confirmed(case, why)


async def escalate(case: Case, why: str) -> Outcome:
    """Hand over to the person who owns the category, with all that was seen."""
    to = case.playbook.owners[case.incident.category]
    return await _end(case, e.Escalated(to=to, why=why), Status.escalated, f"needs the {to}")


async def resolve(case: Case, why: str) -> Outcome:
    """Close the incident: the symptom is gone, and that was seen."""
    return await _end(case, e.Resolved(why=why), Status.resolved, "resolved")


async def not_confirmed(case: Case, why: str) -> Outcome:
    """Close the incident: what the alert claims was looked for and not found."""
    return await _end(case, e.NotConfirmed(why=why), Status.not_confirmed, "not confirmed")


def _begun(incident: Incident, asset: str) -> bool:
    """Whether the incident has begun to change an asset."""
    intents = (event.body for event in incident.events if isinstance(event.body, e.Applying))
    return any(intent.asked is not None and intent.asked.changes == asset for intent in intents)


def undo(case: Case, action: Remediation, plan: Plan, why: str) -> None:
    """Bring back what was there before the plan: intent, then effect.

    Raises:
        Refused: it takes several people, and not all of them have asked for it.
    """
    people = agreed(case.incident, plan.hash, case.playbook) if action.undo_needs > 1 else set()
    if action.undo_needs > 1 and len(people) < action.undo_needs:
        raise Refused(f"{len(people)} of {action.undo_needs} people have asked for {plan.action} to be taken back")
    with lease(case.ledger, plan.target, case.name, wait_seconds=PATIENCE) as held:
        case.record(e.Undoing(plan=plan.hash, why=why, token=held.token), subject=plan.target)
        check_lease(case.ledger, held)
        action.undo(plan)
        case.record(e.Undone(plan=plan.hash), subject=plan.target)


async def _not_run(case: Case, plan: Plan | None, symptom: Check | None) -> Fix:
    """What there is to say where nothing was changed."""
    if plan is None:
        last = case.incident.last(e.NotPlanned)
        return Fix(done=False, why=last.body.why if last and isinstance(last.body, e.NotPlanned) else "no safe plan")
    verdict = (await watch(case, symptom)) if symptom else Verdict(health=Health.healthy, why="nothing was to be done")
    return Fix(done=verdict.health is Health.healthy, why=f"{plan.summary}; {verdict.why}")


def _by_itself(action: Remediation) -> bool:
    """Whether it is taken back without a person: where that is possible, and does not need several to agree."""
    return action.reversible and action.undo_needs == 1


def _apply(case: Case, action: Remediation, plan: Plan) -> None:
    """Under the lease: ask the gates once more, intent, effect."""
    with lease(case.ledger, plan.target, case.name, wait_seconds=PATIENCE) as held:
        gatekeeper.intend(case.ledger, case.playbook, request(case, action, plan), case.actor, held.token)
        check_lease(case.ledger, held)
        action.apply(plan)
        case.record(e.Applied(plan=plan.hash), subject=plan.target)


async def _verify(case: Case, action: Remediation, plan: Plan, symptom: Check | None) -> Verdict:
    """Has the target moved, and is the symptom gone?"""
    verdict = await step(f"verify {plan.action}", verified, action, plan)
    if verdict.health is Health.healthy and symptom is not None:
        verdict = await watch(case, symptom)
    case.record(e.Verified(plan=plan.hash, verdict=verdict), subject=plan.target)
    return verdict


async def _end(case: Case, body: e.Escalated | e.Resolved | e.NotConfirmed, status: Status, word: str) -> Outcome:
    """Record how it ended, tell the people in the same transaction, and leave the post-mortem."""

    def work() -> None:
        incident = case.incident
        with case.ledger.write() as writer:
            writer.append(body, actor=case.actor, incident=case.name, subject=incident.asset)
            family.release(writer, case.name, body.why, case.actor)
            title = f"{case.name} {word}: {incident.title}"
            storm.tell(writer, case.playbook, case.name, incident.severity, title, body.why)

    await step(word, work)
    try:
        page = await step("write the post-mortem", _post_mortem, case)
        await acreate_markdown_artifact(key=case.name.lower(), markdown=page, description=f"{case.name} {word}")
    except Exception as error:  # the incident has ended, whether or not its paper can be written
        case.record(e.Failed(step="post-mortem", error=f"{type(error).__name__}: {error}"[:2000]))
    return Outcome(incident=case.name, status=status, why=body.why)


def _post_mortem(case: Case) -> str:
    incident = case.incident
    postmortem.write(incident, settings().home / "postmortems")
    return postmortem.render(incident)
