"""What a dataset is to be moved to passes its suite before the pointer moves: by the record, or by a look at it."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

from flows.case import Case
from flows.checks import DatasetCheck
from flows.references import reference
from incidents import events as e
from incidents import known_good, serving
from incidents.ledger import ledger
from incidents.models import Health, Plan, Verdict
from incidents.playbook import playbook
from remediations import Remediation, RollbackDataset
from remediations.base import CannotPlan
from remediations.correction import Correction


def plan(case: Case, action: Remediation) -> Plan:
    """The action's plan. A dataset's version that does not pass its suite of today is judged, and planned around.

    A version that is still to be made has to pass as well, and where it would not there is no plan.

    Raises:
        CannotPlan: no safe plan exists, or whether the version passes could not be told.
    """

    def record(version: str, verdict: Verdict) -> None:
        case.record(e.Judged(version=version, verdict=verdict), subject=action.subject())

    return _proven(action, record)


def preview(action: Remediation) -> Plan:
    """What ``plan`` would decide at this moment. Nothing goes on the record.

    Raises:
        CannotPlan: as ``plan``.
    """
    return _proven(action, None)


def _proven(action: Remediation, record: Callable[[str, Verdict], None] | None) -> Plan:
    failed: set[str] = set()
    while True:
        made = action.plan_without(failed) if isinstance(action, RollbackDataset) else action.plan()
        if isinstance(action, Correction) and not made.nothing_to_do:
            _would_pass(action, made)
        if not isinstance(action, RollbackDataset) or made.nothing_to_do or _passed(action, made, record):
            return made
        failed.add(str(made.after["version"]))


def _would_pass(action: Correction, made: Plan) -> None:
    """Run the suite over what would be left. It is not published, so nothing of it goes on the record."""
    from expectations.engine import CannotValidate, validate

    declared = playbook().datasets[action.dataset]
    if declared.suite is None:
        raise CannotPlan(f"{action.dataset} has no suite in the playbook that could tell whether what is left is good")
    with tempfile.TemporaryDirectory(prefix="lastgood-") as folder:
        left = action.corrected(str(made.before["version"]), Path(folder)).kept
        try:
            verdict = validate(
                declared.suite,
                left,
                sample_rows=declared.sample_rows,
                reference_of=partial(reference, action.dataset, str(made.after["version"])),
            ).verdict
        except CannotValidate as error:
            raise CannotPlan(f"whether what is left passes could not be told: {error}") from None
    if verdict.health is not Health.healthy:
        raise CannotPlan(f"corrected it would still not pass: {verdict.why}")


def _passed(action: RollbackDataset, made: Plan, record: Callable[[str, Verdict], None] | None) -> bool:
    """Whether the version passes; one that fails is no longer among those that were verified good."""
    version = str(made.after["version"])
    suite = playbook().datasets[action.dataset].suite
    if suite is None or _on_record(action.subject(), version, suite):
        return True
    look = DatasetCheck(dataset=action.dataset, version=version).look()
    if look.verdict.health is Health.inconclusive:
        raise CannotPlan(f"whether {version} still passes its suite could not be told: {look.verdict.why}")
    if record is not None:
        record(version, look.verdict)
    return look.verdict.health is Health.healthy


def _on_record(subject: str, version: str, suite: str) -> bool:
    """Whether the record's verdict of the version is by the suite as it is today. Its content never changes."""
    from expectations.engine import CannotValidate, fingerprint

    settled = serving.verdict(ledger(), subject, version)
    if settled is None or not isinstance(settled.body, e.Judged):
        return False
    validation = settled.body.verdict.evidence.get("validation")
    if not isinstance(validation, dict):
        return False
    against = validation.get("reference")  # what was good next to something bad may be as bad
    if against is not None and against not in known_good.versions(ledger(), subject, Health.healthy):
        return False
    try:
        return validation.get("fingerprint") == fingerprint(suite)
    except CannotValidate:
        return False
