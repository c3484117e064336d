"""The playbook's section on security: for now it hands over, and says so."""

from __future__ import annotations

from flows.case import Case, Outcome, section
from flows.steps import escalate


@section
async def security(case: Case) -> Outcome:
    """Breaches, poisoned data, adversarial input, leaked keys.

    1. Hand over to the security officer: this section has no steps that run by themselves yet.
    """
    return await escalate(case, "the playbook's section on security has no steps that run by themselves yet")
