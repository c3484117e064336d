"""The playbook's section on security."""

from __future__ import annotations

from flows.case import Case, Outcome, Waiting, section, step
from flows.checks_of import check_of
from flows.freezing import freeze
from flows.hits import Hits, hits
from flows.steps import escalate, remediate, trace, watch
from incidents import events as e
from remediations import (
    BlockPublicAccess,
    DeactivateAccessKey,
    DenyBucketAccess,
    IsolateService,
    PreserveEvidence,
    QuarantineDataset,
    QuarantineModel,
    Remediation,
    RevertModel,
    RollbackDataset,
    RotateSecret,
    TightenInput,
    pointers,
)
from remediations.refusals import recorded
from remediations.scanning import scan


@section
async def security(case: Case) -> Outcome:
    """Breaches, poisoned data, adversarial input, leaked keys.

    1. See what the alerts say is hit, which models learned from it, and when the first sign was.
    2. Copy it, the record and the access logs to the bucket for evidence, and read them back.
       Where that is not possible, nothing is contained without a person.
    3. Contain: shut the versions in production away; block public access to a bucket; where a model is attacked
       through its input, tighten that, and isolate the service.
    4. Recover: bring each model and dataset back to the version last verified good before the first sign.
       A model without one is isolated. Look whether they are well. What the playbook says to freeze stands still.
    5. Contain what may stop work elsewhere: deny the bucket, deactivate the keys, renew the secret.
    6. Hand over to the security officer, with the address of the evidence and with all that was done.
    """
    hit = hits(case.incident, case.playbook)
    if not hit.assets:
        return await escalate(case, "the alert names nothing that the playbook declares, so nothing was touched")

    suspects = await step("find what is in production", _suspects, case, hit.assets)
    taught = [
        await trace(case, name, suspects[f"dataset:{name}"])
        for name in hit.of("dataset")
        if f"dataset:{name}" in suspects
    ]
    tainted = tuple(f"model:{name}" for names in taught for name in names if f"model:{name}" not in hit.assets)
    evidence = []
    for asset in (*hit.assets, *tainted):
        fix = await remediate(case, PreserveEvidence(asset=asset, incident=case.name, because=case.name), None)
        if not fix.done:
            return await escalate(case, f"nothing was contained, because there is no evidence of it yet: {fix.why}")
        evidence.append(fix.why)
    await step("look through the models", _scan, case, suspects)

    done = [await _do(case, action) for action in _contain(case, hit, suspects)]
    done += [await _recover(case, asset, hit) for asset in (*suspects, *tainted) if not hit.by_input]
    done += [await _do(case, action) for action in _cut_off(case, hit)]
    return await escalate(case, "\n".join((*done, *evidence)))


def _contain(case: Case, hit: Hits, suspects: dict[str, str]) -> list[Remediation]:
    """What keeps the damage from growing, and stops nobody's work."""
    because, declared = case.name, case.playbook.models
    blocked = [BlockPublicAccess(bucket=name, because=because) for name in hit.of("bucket")]
    if hit.by_input:
        return [
            *(TightenInput(model=name, because=because) for name in hit.of("model") if declared[name].input),
            *(IsolateService(model=name, because=because) for name in hit.of("model") if declared[name].fallback),
            *blocked,
        ]
    shut = [
        QuarantineModel(model=name, version=int(suspects[f"model:{name}"]), because=because)
        for name in hit.of("model")
        if f"model:{name}" in suspects
    ]
    poisoned = [
        QuarantineDataset(dataset=name, version=suspects[f"dataset:{name}"], because=because)
        for name in hit.of("dataset")
        if f"dataset:{name}" in suspects
    ]
    return [*poisoned, *shut, *blocked]


def _cut_off(case: Case, hit: Hits) -> list[Remediation]:
    """What others work with as well, so that people are asked first; the flow ends there, so it comes last."""
    because = case.name
    return [
        *(DeactivateAccessKey(iam_user=name, because=because) for name in hit.of("iam_user")),
        *(RotateSecret(secret=name, because=because) for name in hit.of("secrets_manager")),
        *(DenyBucketAccess(bucket=name, because=because) for name in hit.of("bucket")),
    ]


async def _recover(case: Case, asset: str, hit: Hits) -> str:
    """Bring a model or a dataset back, and look whether it is well; a model that cannot be is isolated."""
    kind, _, name = asset.partition(":")
    check = check_of(asset)
    if held := await step(f"freeze {name}", freeze, case, asset, "it was in production when it was hit"):
        return f"NOT DONE: {held}"
    back: Remediation = (
        RevertModel(model=name, because=case.name, good_before=hit.first_sign)
        if kind == "model"
        else RollbackDataset(dataset=name, because=case.name, good_before=hit.first_sign)
    )
    fix = await remediate(case, back, None)  # not undone where it does not help: what was there is what was hit
    if not fix.done and kind == "model" and case.playbook.models[name].fallback:
        return f"{fix.why}. {await _do(case, IsolateService(model=name, because=case.name))}"
    if fix.done and check is not None:
        seen = await watch(case, check)
        return f"{fix.why}; {name} is {seen.health}: {seen.why}"
    return f"{'done' if fix.done else 'NOT DONE'}: {fix.why}"


async def _do(case: Case, action: Remediation) -> str:
    """One action of containment, in words. What breaks, or may not be done, keeps nobody from the next."""
    try:
        fix = await remediate(case, action, None)
    except Waiting:
        raise
    except Exception as error:
        case.record(e.Failed(step=action.name(), error=f"{type(error).__name__}: {error}"[:2000]))
        return f"NOT DONE: {action.name()} on {action.subject()} broke: {type(error).__name__}"
    return f"{'done' if fix.done else 'NOT DONE'}: {action.name()}: {fix.why}"


def _suspects(case: Case, assets: tuple[str, ...]) -> dict[str, str]:
    """Asset -> the version that was in production when the flow first looked; entered again, as it is on the record."""
    known = {
        event.subject: event.body.version
        for event in case.incident.events
        if isinstance(event.body, e.Suspected) and event.subject
    }
    for asset in assets:
        if asset not in known and asset.partition(":")[0] in ("model", "dataset"):
            version = pointers.look(asset).version
            if version is not None:
                case.record(e.Suspected(version=version), subject=asset)
                known[asset] = version
    return known


def _scan(case: Case, suspects: dict[str, str]) -> None:
    """Look through the files of each suspect model for what runs when it is loaded; on the record, once."""
    for asset, version in suspects.items():
        kind, _, name = asset.partition(":")
        if kind == "model" and recorded(name, version) is None:
            found = scan(name, version)
            case.record(e.Scanned(version=version, digest=found.digest, verdict=found.verdict), subject=asset)
