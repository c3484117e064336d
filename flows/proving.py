"""What a rollback brings back passes its suite before the pointer moves: by the record, or by a look at it."""

from __future__ import annotations

from flows.case import Case
from flows.checks import DatasetCheck
from incidents import events as e
from incidents import serving
from incidents.models import Health, Plan
from remediations import Remediation, RollbackDataset
from remediations.base import CannotPlan


def plan(case: Case, action: Remediation) -> Plan:
    """The action's plan. A dataset's version that does not pass its suite of today is judged, and planned around.

    Raises:
        CannotPlan: no safe plan exists, or whether the version passes could not be told.
    """
    while True:
        made = action.plan()
        if not isinstance(action, RollbackDataset) or made.nothing_to_do or _passed(case, action, made):
            return made


def _passed(case: Case, action: RollbackDataset, made: Plan) -> bool:
    """Whether the version passes; one that fails is no longer among those that were verified good."""
    version = str(made.after["version"])
    suite = case.playbook.datasets[action.dataset].suite
    if suite is None or _on_record(case, action.subject(), version, suite):
        return True
    look = DatasetCheck(dataset=action.dataset, version=version).look()
    if look.verdict.health is Health.inconclusive:
        raise CannotPlan(f"whether {version} still passes its suite could not be told: {look.verdict.why}")
    case.record(e.Judged(version=version, verdict=look.verdict), subject=action.subject())
    return look.verdict.health is Health.healthy


def _on_record(case: Case, subject: str, version: str, suite: str) -> bool:
    """Whether the record's verdict of the version is by the suite as it is today. Its content never changes."""
    from expectations.engine import CannotValidate, fingerprint

    settled = serving.verdict(case.ledger, subject, version)
    if settled is None or not isinstance(settled.body, e.Judged):
        return False
    validation = settled.body.verdict.evidence.get("validation")
    try:
        return isinstance(validation, dict) and validation.get("fingerprint") == fingerprint(suite)
    except CannotValidate:
        return False
