"""The playbook's section on infrastructure: for now it hands over, and says so."""

from __future__ import annotations

from flows.case import Case, Outcome, section
from flows.steps import escalate


@section
async def infrastructure(case: Case) -> Outcome:
    """Servers, pipelines, queues, disks, quotas.

    1. Hand over to the ML platform engineer: this section has no steps that run by themselves yet.
    """
    return await escalate(case, "the playbook's section on infrastructure has no steps that run by themselves yet")
