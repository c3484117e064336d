"""Correcting a dataset's version where the playbook says so, before it is rolled back."""

from __future__ import annotations

from flows.case import Case, step
from flows.checks import DatasetCheck
from flows.rerunning import rerun
from flows.steps import Fix, remediate
from incidents.incident import Attempt
from incidents.playbook import playbook
from remediations import ImputeMissing, QuarantineRows, Remediation, RerunPreprocessing
from remediations.datasets import open_store
from remediations.row_rules import RowRule

#: What a correction is called in the playbook -> the action.
_ACTIONS = {kind.name(): kind for kind in (ImputeMissing, QuarantineRows, RerunPreprocessing)}


async def correct(case: Case, dataset: str, bad: str, late: bool = False) -> Fix | None:
    """Try each correction that the playbook names; None where none is to be done, has a safe plan, helped or may run.

    They are of the version that was found ``bad``: where another one is current, none is begun. What was done and could
    not be told to help is left as it is, for a person. Where the data is only ``late``, nothing but making it anew can
    help.
    """
    for name in case.playbook.datasets[dataset].corrections:
        if not _begun(case, name) and await step(f"look where {dataset} is", _current, dataset) != bad:
            continue
        action = await step("read the suite", complete, _ACTIONS[name](dataset=dataset, because=case.name))
        if isinstance(action, RerunPreprocessing):
            fix = await rerun(case, action, timely=late)
        elif late:
            continue
        else:
            fix = await remediate(case, action, DatasetCheck(dataset=dataset, timely=False))
        if fix.done or _left_standing(case, dataset):
            return fix
    return None


def _current(dataset: str) -> str:
    return open_store(playbook().datasets[dataset].store, dataset).current().version


def _begun(case: Case, name: str) -> bool:
    """Whether the incident has begun a correction, which is then finished wherever the pointer is."""
    return any(attempt.plan.action == name and attempt.applying for attempt in case.incident.attempts)


def _left_standing(case: Case, dataset: str) -> bool:
    """Whether a move of the pointer by a correction of this incident was not taken back; a rollback's is none."""
    return any(
        attempt.plan.target == f"dataset:{dataset}" and attempt.applying and not attempt.undone and _corrects(attempt)
        for attempt in case.incident.attempts
    )


def _corrects(attempt: Attempt) -> bool:
    """Whether it is a correction, or the move to what one of them has made."""
    return attempt.plan.action in _ACTIONS or attempt.plan.parameters.get("only_from") is not None


def complete(action: Remediation) -> Remediation:
    """The action with the rules of its dataset's suite, where it is one that needs rules and has none."""
    if not isinstance(action, QuarantineRows) or action.rules:
        return action
    from expectations.row_level import row_level

    declared = playbook().datasets.get(action.dataset)
    if declared is None or declared.suite is None:
        return action
    rules = tuple(RowRule.model_validate(rule) for rule in row_level(declared.suite))
    return action.model_copy(update={"rules": rules})
