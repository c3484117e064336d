"""What is left where no earlier version is good: make another of good data, and let it in only if it wins."""

from __future__ import annotations

from flows.case import Case, step
from flows.checks_of import model_check
from flows.steps import Fix, remediate
from incidents import events as e
from incidents.models import Health, Verdict
from incidents.playbook import Sample, playbook
from remediations import PromoteModel, RetrainModel, RevertModel, contest, scoring
from remediations.lineage import learned_from, serving
from remediations.loading import NotLoaded


async def retrain(case: Case, model: str, before: Fix) -> Fix:
    """Train on verified data, compare on fresh rows, promote what won; ``before`` is how going back ended.

    1. Only where there was nothing to go back to, or going back was seen not to help and was undone.
    2. Have a challenger made of the dataset's current version, where that was verified good.
    3. Let it and the champion answer the same labelled rows, which neither has learned from.
    4. Promote it where it is good enough and not worse, in all and on every slice; see the metric recover.
    """
    going_back = RevertModel(model=model, because=case.name)
    went_back = case.incident.latest(going_back.name(), going_back.model_dump(mode="json"))
    if case.playbook.models[model].training is None or (went_back is not None and not went_back.undone):
        return before
    training = RetrainModel(model=model, because=case.name)
    fix = await remediate(case, training, None)
    if not fix.done:
        return Fix(done=False, why=f"{before.why}. {fix.why}")
    plans = [attempt.plan for attempt in case.incident.attempts if attempt.plan.action == training.name()]
    job = str(plans[-1].after["job"])
    challenger = (await step("find the challenger", training.made, job))[-1]
    verdict = await compare(case, model, challenger)
    if verdict.health is not Health.healthy:
        why = f"version {challenger} was trained and did not win: {verdict.why}"
        return Fix(done=False, why=f"{before.why}. {why}")
    return await remediate(case, PromoteModel(model=model, to=challenger, because=case.name), model_check(model))


async def compare(case: Case, model: str, challenger: int) -> Verdict:
    """Champion and challenger on the same rows, on the record; where it was done before, what was seen then."""
    for event in case.incident.events:
        if isinstance(event.body, e.Contested) and event.body.challenger == challenger:
            return event.body.verdict
    champion, verdict = await step(f"compare with version {challenger}", _compare, model, challenger)
    told = e.Contested(champion=champion, challenger=challenger, verdict=verdict)
    case.record(told, subject=f"model:{model}")
    return verdict


def _compare(model: str, challenger: int) -> tuple[int, Verdict]:
    declared = playbook().models[model]
    champion = serving(model, declared.alias)
    if not isinstance(declared.health, Sample):
        why = f"{model} has no labelled rows in the playbook on which the two could be compared"
        return champion, Verdict(health=Health.inconclusive, why=why)
    sample = scoring.labelled(declared.health, all_rows=True)
    holdout = declared.health.dataset, sample.version
    if holdout in learned_from(model, champion) | learned_from(model, challenger):
        why = f"{' '.join(holdout)} is not fresh: one of the two has learned from it"
        return champion, Verdict(health=Health.inconclusive, why=why)
    try:
        old, new = (scoring.predict(model, version, sample.rows) for version in (champion, challenger))
    except NotLoaded as refused:
        return champion, Verdict(health=Health.unhealthy, why=str(refused)[:500])
    return champion, contest.judge(sample, old, new, declared.health, declared.contest)
