"""The playbook's section on models."""

from __future__ import annotations

from flows.case import Case, Outcome, section, step
from flows.checks_of import model_check
from flows.deferring import defer
from flows.freezing import freeze
from flows.retrain import retrain
from flows.steps import confirm, escalate, remediate, resolve, well
from incidents.models import Health
from remediations import RevertModel


@section
async def model(case: Case) -> Outcome:
    """Concept drift, a bad release, degraded accuracy.

    1. Where the data that it learned from is an incident too, wait for that one: it brings the model back.
    2. Confirm on rows whose truth is known that the live service answers badly.
    3. Where the playbook says to freeze it, hold every automated change of it, and hand over.
    4. Bring back the newest version verified good, unless it learned from bad data.
    5. See the service answer with it, and the metric recover.
    6. Otherwise retrain on good data, and let the challenger in only if it wins.
    7. Otherwise hand over to the ML engineer, with all that was seen.
    """
    name = case.asset("model")
    if name is None:
        return await escalate(case, "the alert names no model that the playbook declares")

    await defer(case, name)
    seen = await confirm(case, model_check(name))
    if seen.health is Health.healthy:
        return await well(case, seen.why)
    if seen.health is Health.inconclusive:
        return await escalate(case, f"whether {name} is bad could not be told: {seen.why}")

    if held := await step(f"freeze {name}", freeze, case, f"model:{name}", seen.why):
        return await escalate(case, held)
    fix = await remediate(case, RevertModel(model=name, because=case.name), model_check(name))
    if not fix.done:
        fix = await retrain(case, name, fix)
    if not fix.done:
        return await escalate(case, fix.why)
    return await resolve(case, fix.why)
