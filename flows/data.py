"""The playbook's section on data."""

from __future__ import annotations

from flows.case import Case, Outcome, section, step
from flows.checks import DatasetCheck
from flows.checks_of import model_check
from flows.correcting import correct
from flows.freezing import freeze
from flows.steps import confirm, escalate, not_confirmed, remediate, resolve, trace
from incidents.models import Health
from remediations import RevertModel, RollbackDataset


@section
async def data(case: Case) -> Outcome:
    """Bad, late or shifted data.

    1. Confirm with the dataset's suite that its current version is bad.
    2. Find the models in production that learned from that version.
    3. Where the playbook says so, and in its order: take the bad rows out of the current version, fill in what is
       missing in it, or run its preprocessing again; see what comes of it pass its suite before it is made current.
    4. Where the playbook says to freeze it, hold every automated change of it, and hand over.
    5. Otherwise bring the dataset back to the newest version verified good that passes its suite of today; not where
       it is only late, for no earlier version is fresher.
    6. Bring each of those models back to the newest version verified good that learned from nothing bad,
       see its service answer with it, and see its metric recover; or freeze it.
    7. Otherwise hand over to the data engineer, with all that was seen.
    """
    dataset = case.asset("dataset")
    if dataset is None:
        return await escalate(case, "the alert names no dataset that the playbook declares")

    seen = await confirm(case, DatasetCheck(dataset=dataset))
    if seen.health is Health.healthy:
        return await not_confirmed(case, seen.why)
    if seen.health is Health.inconclusive:
        return await escalate(case, f"whether {dataset} is bad could not be told: {seen.why}")

    late = bool(seen.evidence.get("late"))
    tainted = [] if late else await trace(case, dataset, str(seen.evidence["version"]))

    fix = await correct(case, dataset, str(seen.evidence["version"]), late)
    if fix is None:
        found = f"{seen.why}. In production and learned from it: {', '.join(tainted) or 'nothing'}"
        if held := await step(f"freeze {dataset}", freeze, case, f"dataset:{dataset}", found):
            return await escalate(case, held)
        if late:
            return await escalate(case, f"{dataset} is late, and no earlier version is fresher: {seen.why}")
        rollback = RollbackDataset(dataset=dataset, because=case.name)
        fix = await remediate(case, rollback, DatasetCheck(dataset=dataset, timely=False))
    if not fix.done:
        return await escalate(case, fix.why)
    done: list[str] = [fix.why]
    left: list[str] = []

    for model in tainted:
        if held := await step(f"freeze {model}", freeze, case, f"model:{model}", f"it learned from {seen.why}"):
            left.append(held)
            continue
        fix = await remediate(case, RevertModel(model=model, because=case.name), model_check(model))
        (done if fix.done else left).append(fix.why)
    if left:
        return await escalate(case, ". ".join(left))

    return await resolve(case, ". ".join(done))
