"""The playbook's section on infrastructure."""

from __future__ import annotations

import time

from flows.case import Case, Outcome, section, step
from flows.service_checks import ServiceCheck
from flows.steps import Fix, confirm, escalate, not_confirmed, remediate, resolve
from flows.triage import look_first, never_good
from incidents.models import Health
from remediations import (
    FailOverSource,
    FreeDisk,
    GrowVolume,
    Remediation,
    RestartService,
    RollbackService,
    ScaleService,
)


@section
async def infrastructure(case: Case) -> Outcome:
    """Servers, pipelines, queues, disks, quotas.

    1. Look first: at the service's metrics, its recent deployments and the quotas.
    2. Confirm that the service, the pipeline or the disk is unwell.
    3. A pipeline whose source is bad: let it read from its standby, and see it recover.
    4. A disk that is full: delete what its retention rule lets go; if that is not enough, grow its volume.
    5. A service that runs a version never verified good: bring back the version last verified good, and see it recover.
    6. Otherwise give the service more copies, one step within its bounds; when it has been well for long enough,
       take them away again, and see that it stays well.
    7. Otherwise restart it.
    8. Otherwise hand over to the ML platform engineer, with all that was seen.
    """
    asset = case.incident.asset or ""
    kind, _, name = asset.partition(":")
    if kind not in {"service", "pipeline", "disk"}:
        return await escalate(case, "the alert names no service, pipeline or disk that the playbook declares")

    if kind == "service":
        await look_first(case, name)

    seen = await confirm(case, ServiceCheck(asset=asset))
    if seen.health is Health.healthy:
        return await not_confirmed(case, seen.why)
    if seen.health is Health.inconclusive:
        return await escalate(case, f"whether {name} is unwell could not be told: {seen.why}")

    if kind == "pipeline":
        return await _first_that_helps(case, FailOverSource(pipeline=name, because=case.name))
    if kind == "disk":
        free, grow = FreeDisk(disk=name, because=case.name), GrowVolume(disk=name, because=case.name)
        return await _first_that_helps(case, free, grow)

    tried: list[str] = []
    back = RollbackService(service=name, because=case.name)
    if _begun(case, back) or await step(f"compare {name} with what was good", never_good, name):
        fix = await remediate(case, back, ServiceCheck(asset=asset))
        if fix.done:
            return await resolve(case, fix.why)
        tried.append(fix.why)

    more = ScaleService(service=name, because=case.name)
    fix = await remediate(case, more, ServiceCheck(asset=asset))
    if fix.done:
        return await _take_away_again(case, more, fix)
    tried.append(fix.why)

    fix = await remediate(case, RestartService(service=name, because=case.name), ServiceCheck(asset=asset))
    if fix.done:
        return await resolve(case, fix.why)
    return await escalate(case, ". ".join([*tried, fix.why]))


async def _first_that_helps(case: Case, *actions: Remediation) -> Outcome:
    """Try one after the other; hand over where none helps."""
    tried: list[str] = []
    for action in actions:
        fix = await remediate(case, action, ServiceCheck(asset=action.subject()))
        if fix.done:
            return await resolve(case, fix.why)
        tried.append(fix.why)
    return await escalate(case, ". ".join(tried))


async def _take_away_again(case: Case, more: ScaleService, fix: Fix) -> Outcome:
    """Scale back down after recovery: what was added costs money, and it is part of the incident."""
    attempt = case.incident.latest(more.name(), more.model_dump(mode="json"))
    bounds = case.playbook.services[more.service].bounds
    if attempt is None or bounds is None or attempt.plan.nothing_to_do:
        return await resolve(case, fix.why)
    less = more.model_copy(update={"to": attempt.plan.before["count"]})
    if not _begun(case, less):
        await step(f"stay well for {bounds.back_after_seconds:g} s", time.sleep, bounds.back_after_seconds)
    down = await remediate(case, less, ServiceCheck(asset=more.subject()))
    if down.done:
        return await resolve(case, f"{fix.why}. {down.why}")
    return await escalate(case, f"{fix.why}. It is well, and what was added is still there: {down.why}")


def _begun(case: Case, action: Remediation) -> bool:
    """Whether the incident has planned this action already."""
    return case.incident.latest(action.name(), action.model_dump(mode="json")) is not None
