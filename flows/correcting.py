"""Correcting a dataset's version where the playbook says so, before it is rolled back."""

from __future__ import annotations

from flows.case import Case, step
from flows.checks import DatasetCheck
from flows.steps import Fix, remediate
from incidents.playbook import playbook
from remediations import QuarantineRows, Remediation
from remediations.row_rules import RowRule


async def correct(case: Case, dataset: str) -> Fix | None:
    """Take the bad rows out; None where that is not to be done, has no safe plan, did not help or may not run.

    What was done and could not be told to help is left as it is, for a person.
    """
    if case.playbook.datasets[dataset].correct is None:
        return None
    action = await step("read the suite", complete, QuarantineRows(dataset=dataset, because=case.name))
    fix = await remediate(case, action, DatasetCheck(dataset=dataset))
    attempt = case.incident.latest(action.name(), action.model_dump(mode="json"))
    changed = attempt is not None and attempt.applying and not attempt.undone
    return fix if fix.done or changed else None


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
