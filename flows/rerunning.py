"""Making a dataset's version anew, seeing it pass its suite, and only then pointing at it."""

from __future__ import annotations

from flows.case import Case, step
from flows.checks import DatasetCheck
from flows.steps import Fix, remediate
from incidents import events as e
from incidents.models import Health
from remediations import RerunPreprocessing, RollbackDataset


async def rerun(case: Case, action: RerunPreprocessing, timely: bool = False) -> Fix:
    """Run the preprocessing, look at what it made, and where that is good make it current; ``timely``: and fresh."""
    fix = await remediate(case, action, None)
    if not fix.done:
        return fix
    attempt = case.incident.latest(action.name(), action.model_dump(mode="json"))
    plan = attempt.plan if attempt else await step("find the job", action.plan)
    version = await step("find what was made", action.made, str(plan.after["job"]))
    if version is None:
        return Fix(done=False, why=f"{plan.after['job']} made nothing that can be told from what others published")
    look = await step(f"look at {version}", DatasetCheck(dataset=action.dataset, version=version).look)
    case.record(e.Judged(version=str(version), verdict=look.verdict), subject=action.subject())
    if look.verdict.health is not Health.healthy:
        return Fix(done=False, why=f"{version} was made anew and does not pass: {look.verdict.why}")
    move = _move(action, version, str(plan.after["version"]))
    return await remediate(case, move, DatasetCheck(dataset=action.dataset, timely=timely))


def _move(action: RerunPreprocessing, version: str, instead_of: str) -> RollbackDataset:
    """It was just verified good, so it is moved to as any version that was; not where the dataset has moved on."""
    return RollbackDataset(dataset=action.dataset, to=version, only_from=instead_of, because=action.because)
