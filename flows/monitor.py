"""Look at every declared asset and put its health on the record: what is known good is known from here."""

from __future__ import annotations

import logging

from prefect import flow, get_run_logger
from prefect.artifacts import acreate_table_artifact

from flows.case import KEEPS_NOTHING, step
from flows.checks import Check, DatasetCheck, Look, see
from flows.checks_of import model_check
from flows.service_checks import ServiceCheck
from incidents.events import Judged, Scanned
from incidents.ledger import ledger
from incidents.playbook import playbook
from remediations import pointers
from remediations.lineage import versions
from remediations.refusals import recorded
from remediations.scanning import scan

_log = logging.getLogger(__name__)

#: Of each model so many versions are scanned at the most; an older one is when somebody wants to go back to it.
NEWEST = 10


@flow(**KEEPS_NOTHING)
async def monitor() -> list[Look]:
    """Which versions are good today?

    1. Run every declared dataset's suite over its current version.
    2. Measure every declared model on rows whose truth is known, over its live service; and every declared service.
    3. See where every pointer is, and put on the record what somebody else moved.
    4. Look through the files of every version that was registered since, for what runs when it is loaded.
    5. Put each verdict on the record; a rollback goes only to what was found healthy here or in an incident.
    """
    looks = [await step(f"look at {check.subject}", check.look) for check in checks()]
    for asset in pointers.declared():
        await step(f"see where {asset} is", see, asset, "flow:monitor")
    for name in playbook().models:
        await step(f"look through {name}", scan_new, name)
    for look in looks:
        get_run_logger().info("%s is %s: %s", look.subject, look.verdict.health, look.verdict.why)
        if look.version:
            judged = Judged(version=look.version, verdict=look.verdict)
            ledger().append(judged, actor="flow:monitor", subject=look.subject)
    rows = [{"asset": look.subject, "health": look.verdict.health, "why": look.verdict.why} for look in looks]
    await acreate_table_artifact(key="health", table=rows, description="What was good when it was last looked at")
    return looks


def scan_new(model: str) -> None:
    """Scan the newest versions that are not on the record yet, or that could not be read; a registry away is told."""
    try:
        found = versions(model)[-NEWEST:]
    except Exception as error:  # what is unknown is scanned when somebody wants to go back to it
        _log.warning("the versions of %s could not be seen: %s: %s", model, type(error).__name__, error)
        return
    for version in found:
        before = recorded(model, version)
        if before is None or not before.digest:
            seen = scan(model, version)
            if before is None or before != seen:
                scanned = Scanned(version=str(version), digest=seen.digest, verdict=seen.verdict)
                ledger().append(scanned, actor="flow:monitor", subject=f"model:{model}")


def checks() -> list[Check]:
    """A check for every declared dataset, model and service that has a suite or a health."""
    declared = playbook()
    return [
        *(DatasetCheck(dataset=name) for name, dataset in declared.datasets.items() if dataset.suite),
        *(model_check(name) for name, model in declared.models.items() if model.health),
        *(ServiceCheck(asset=f"service:{name}") for name, it in declared.services.items() if it.health),
    ]
