"""Rehearse the playbook: plan every action on every declared asset against today's state, and change nothing."""

from __future__ import annotations

from prefect import flow
from prefect.artifacts import acreate_table_artifact

from flows import correcting, proving
from flows.case import KEEPS_NOTHING, step
from incidents.decide import Request
from incidents.gatekeeper import consult
from incidents.gates.reach import reach
from incidents.ledger import ledger
from incidents.models import Frozen, Plan, Severity
from incidents.playbook import Playbook, playbook
from remediations import (
    BlockPublicAccess,
    DeactivateAccessKey,
    DenyBucketAccess,
    FailOverSource,
    FreeDisk,
    GrowVolume,
    ImputeMissing,
    IsolateService,
    PreserveEvidence,
    QuarantineRows,
    Remediation,
    RerunPreprocessing,
    RestartService,
    RevertModel,
    RollbackDataset,
    RollbackService,
    RotateSecret,
    ScaleService,
    TightenInput,
)


class Readiness(Frozen):
    """Whether one action would work on one asset right now."""

    asset: str
    action: str
    ready: bool
    #: The plan in one line, or what is missing.
    says: str
    #: Severity -> what the gates say, for instance ``1 run, 2 run, 3 ask, 4 ask``.
    gates: str = ""


@flow(**KEEPS_NOTHING)
async def rehearse() -> list[Readiness]:
    """Would the playbook work right now, and if not, what is missing?

    1. For every declared asset take the action that its section would run, as if its current version were bad.
    2. Plan it against today's state, as a run would: what a dataset would go back to, or would be left with, passes
       its suite of today. Planning never writes.
    3. Ask the gates at every severity.
    4. Leave the readiness of all as a table.
    """
    found = [await step(f"plan {action.name()} {action.subject()}", rehearsed, action) for action in actions()]
    await acreate_table_artifact(
        key="readiness",
        table=[line.model_dump() for line in found],
        description=f"{sum(line.ready for line in found)} of {len(found)} would work right now",
    )
    return found


def actions() -> list[Remediation]:
    """The actions that the sections would run, one for each declared asset, leaving even a good current version."""
    declared = playbook()
    return [
        *(RollbackDataset(dataset=name, even_if_good=True) for name, it in declared.datasets.items() if it.suite),
        *(QuarantineRows(dataset=name) for name, it in declared.datasets.items() if it.suite and it.quarantine),
        *(ImputeMissing(dataset=name) for name, it in declared.datasets.items() if it.suite and it.impute),
        *(RerunPreprocessing(dataset=name) for name, it in declared.datasets.items() if it.preprocessing),
        *(RevertModel(model=name, even_if_good=True) for name in declared.models),
        *(
            RollbackService(service=name, even_if_good=True)
            for name, it in declared.services.items()
            if it.has_versions
        ),
        *(ScaleService(service=name) for name, it in declared.services.items() if it.bounds),
        *(RestartService(service=name) for name, it in declared.services.items() if it.runs_on.kind == "ecs"),
        *(FailOverSource(pipeline=name) for name in declared.pipelines),
        *(FreeDisk(disk=name) for name, it in declared.disks.items() if it.retention),
        *(GrowVolume(disk=name) for name, it in declared.disks.items() if it.volume),
        *_containing(declared),
    ]


def _containing(declared: Playbook) -> list[Remediation]:
    """What security would do, of what is declared for it."""
    assets = [
        *(f"model:{name}" for name in declared.models),
        *(f"dataset:{name}" for name in declared.datasets),
        *(f"bucket:{name}" for name in declared.buckets),
    ]
    return [
        *(PreserveEvidence(asset=asset, incident="INC-0") for asset in assets if declared.evidence),
        *(IsolateService(model=name) for name, it in declared.models.items() if it.fallback),
        *(TightenInput(model=name) for name, it in declared.models.items() if it.input),
        *(BlockPublicAccess(bucket=name) for name in declared.buckets),
        *(DenyBucketAccess(bucket=name) for name in declared.buckets),
        *(DeactivateAccessKey(iam_user=name) for name in declared.iam_users),
        *(RotateSecret(secret=name) for name in declared.secrets),
    ]


def rehearsed(action: Remediation) -> Readiness:
    """Whether an action would work right now: its plan as a run would make it, and what the gates say to that."""
    asset, name = action.subject(), action.name()
    try:
        plan = proving.preview(correcting.complete(action))
    except Exception as error:  # whatever stands in the way is what a rehearsal is to find
        return Readiness(asset=asset, action=name, ready=False, says=f"{type(error).__name__}: {error}")
    return Readiness(asset=asset, action=name, ready=True, says=plan.summary, gates=_gates(action, plan))


def _gates(action: Remediation, plan: Plan) -> str:
    asset = playbook().asset(action.subject())
    return ", ".join(f"{int(severity)} {_mode(action, plan, severity, asset)}" for severity in Severity)


def _mode(action: Remediation, plan: Plan, severity: Severity, asset: str | None) -> str:
    request = Request(
        plan=plan,
        category=action.category,
        severity=severity,
        risk=action.risk,
        reversible=action.reversible,
        asset=asset,
        subject=action.subject(),
        reach=reach(action.subject(), playbook()),
    )
    return consult(ledger(), playbook(), request).mode.value
