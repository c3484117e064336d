"""Looking at what is the matter: to confirm an alert, and to see whether a fix helped. What is seen is recorded."""

from __future__ import annotations

import time
from typing import Literal

from prefect import get_run_logger

from flows import reloading
from flows.case import Case, step
from flows.checks import Check, Look, see
from incidents import events as e
from incidents.models import Health, Verdict
from incidents.playbook import Watch
from remediations import pointers

#: The wait between the first two looks, in seconds; it doubles from look to look, up to the playbook's.
SOON = 0.1

#: How long a look that tells nothing is repeated before an alert counts as one that can't be confirmed, in seconds: a
#: service that loads a version just now answers with two.
SETTLES = 5.0


async def confirm(case: Case, check: Check) -> Verdict:
    """Look whether what the alert claims is so. Where it was looked before, what was seen then."""
    for event in case.incident.events:
        if isinstance(event.body, e.Checked) and (event.body.phase, event.subject) == ("confirm", check.subject):
            return event.body.verdict
    window = Watch(every_seconds=1, within_seconds=SETTLES)

    def work() -> Look:
        look = _look_until(check, {Health.healthy, Health.unhealthy}, window)
        if check.subject in pointers.declared():
            see(check.subject, actor=case.actor, incident=case.name)
        return look

    look = await step(f"confirm {check.subject}", work)
    _record(case, look, "confirm")
    return look.verdict


async def watch(case: Case, check: Check) -> Verdict:
    """Look until it is healthy, or until the playbook's time for this severity is up; returns what was seen last.

    A service that goes on with another version than its pointer names is told once to load that one, where the
    playbook says how, and gets the whole time again.
    """
    window, well = case.playbook.watch[case.incident.severity], {Health.healthy}
    hook, enough = reloading.hook(case, check.subject), check.consecutive
    first = window if hook is None else window.shortened(hook.after_seconds)
    look = await step(f"watch {check.subject}", _look_until, check, well, first, enough)
    if hook is not None and look.verdict.health is not Health.healthy and not look.not_served:
        look = await step(f"watch {check.subject} on", _look_until, check, well, window, enough)
    if hook is not None and look.not_served:
        await step(f"reload {check.subject}", reloading.tell, case, hook, check.subject, look.not_served)
        look = await step(f"watch {check.subject} again", _look_until, check, well, window, enough)
    _record(case, look, "watch")
    return look.verdict


def _look_until(check: Check, wanted: set[Health], window: Watch, consecutive: int = 1) -> Look:
    """Look soon, and then less and less often, until what is seen is wanted or the time is up.

    Healthy counts after so many looks in a row; between those it waits the whole time, so that each sees something new.
    """
    end, wait, in_a_row = time.monotonic() + window.within_seconds, SOON, 0
    while True:
        look = check.look()
        in_a_row = in_a_row + 1 if look.verdict.health is Health.healthy else 0
        enough = look.verdict.health is not Health.healthy or in_a_row >= consecutive
        if (look.verdict.health in wanted and enough) or not check.patient:
            return look
        if time.monotonic() > end:
            return look if enough else _too_few(look, in_a_row, consecutive)
        time.sleep(window.every_seconds if in_a_row else min(wait, window.every_seconds))
        wait *= 2


def _too_few(look: Look, in_a_row: int, consecutive: int) -> Look:
    """What was healthy, and not often enough in the time that there was, is inconclusive."""
    why = f"healthy {in_a_row} times in a row, and {consecutive} are needed: {look.verdict.why}"
    verdict = look.verdict.model_copy(update={"health": Health.inconclusive, "why": why})
    return look.model_copy(update={"verdict": verdict})


def _record(case: Case, look: Look, phase: Literal["confirm", "watch"]) -> None:
    """Put on the record what a check saw, and with it the health of the version that it saw."""
    get_run_logger().info("%s is %s: %s", look.subject, look.verdict.health, look.verdict.why)
    checked = e.Checked(phase=phase, verdict=look.verdict)
    judged = [e.Judged(version=look.version, verdict=look.verdict)] if look.version else []
    case.record(checked, *judged, subject=look.subject)
