"""Settle what was left lying: runs that died, runs that never began, questions that nobody answered."""

from __future__ import annotations

from datetime import timedelta

from prefect import flow, get_run_logger
from prefect.artifacts import acreate_table_artifact

from flows.case import KEEPS_NOTHING, step
from incidents import family, launch, unsettled
from incidents.ledger import ledger
from incidents.models import Frozen
from incidents.playbook import playbook
from incidents.unsettled import Still

ACTOR = "flow:reconcile"


class Settled(Frozen):
    """An incident, and what was done about it."""

    incident: str
    why: str


@flow(**KEEPS_NOTHING)
async def reconcile(grace_seconds: float = unsettled.GRACE.total_seconds()) -> list[Settled]:
    """Settle what was left lying, from the record and the world alone.

    1. Hand over what nobody has answered in time, and what got worse while it waited.
    2. Start again what waits for an incident that has ended.
    3. Look for open incidents on which nothing happens, nobody holds a lease, and no run is under way.
    4. Start their sections again: each goes on from its record, and what was applied is not applied again.
    5. Hand over what was started again several times.

    Args:
        grace_seconds: How long an incident lies still before it is looked at.
    """
    over = await step("end what waits too long", unsettled.end_waiting, ledger(), playbook(), ACTOR)
    over += await step("release what waits for nothing", family.release_left, ledger(), ACTOR)
    settled = [Settled(incident=incident, why=why) for incident, why in over]
    for lying in await step("look", unsettled.still, ledger(), playbook(), timedelta(seconds=grace_seconds)):
        if await _dead(lying):
            why = await step(f"settle {lying.incident}", unsettled.start_again, ledger(), playbook(), lying, ACTOR)
            settled += [Settled(incident=lying.incident, why=why)] if why else []
    for one in settled:
        get_run_logger().info("%s: %s", one.incident, one.why)
    if settled:
        rows = [one.model_dump() for one in settled]
        await acreate_table_artifact(key="reconciled", table=rows, description="What was left lying")
    return settled


async def _dead(lying: Still) -> bool:
    """Whether neither the run that took it up nor the one that was asked for last is under way.

    The same key gives the same run, so asking Prefect for the last one again starts nothing.
    """
    if lying.silent:
        return True
    if lying.run and await launch.alive(lying.run):
        return False
    if lying.job is None:
        return True
    return not await launch.alive(await launch.launch_job(ledger(), lying.job))
