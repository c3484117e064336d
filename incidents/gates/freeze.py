"""Times in which nothing runs by itself."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

from cronsim import CronSim

from incidents.events import Gate
from incidents.facts import Facts, Request, when
from incidents.limits import Freeze
from incidents.models import Mode
from incidents.playbook import Playbook


def freeze(request: Request, playbook: Playbook, facts: Facts) -> Gate:
    """No freeze window holds now, or the severity breaks through those that do."""
    holding = [(one, end) for one in playbook.freeze if (end := frozen_until(one, facts.at)) is not None]
    held_up = [(one, end) for one, end in holding if not _breaks_through(one, request)]
    if held_up:
        says = Mode.never if any(one.says is Mode.never for one, _ in held_up) else Mode.ask
        names = ", ".join(f"{one.name} until {when(end)}" for one, end in held_up)
        return Gate(name="freeze", says=says, why=names, until=max(end for _, end in held_up))
    if holding:
        names = ", ".join(one.name for one, _ in holding)
        return Gate(name="freeze", says=Mode.run, why=f"severity {int(request.severity)} breaks through {names}")
    return Gate(name="freeze", says=Mode.run, why="no freeze window holds now")


def frozen_until(window: Freeze, at: datetime) -> datetime | None:
    """When the window that holds at a moment ends; None when none does."""
    start, end = _around(window, at)
    return end if start is not None and start <= at < end else None


def _around(window: Freeze, at: datetime) -> tuple[datetime | None, datetime]:
    """The last beginning until ``at`` and the end that belongs to it, in UTC."""
    zone = ZoneInfo(window.timezone)
    if window.first_day and window.last_day:
        start = datetime.combine(window.first_day, time(), zone).astimezone(UTC)
        return start, datetime.combine(window.last_day + timedelta(days=1), time(), zone).astimezone(UTC)
    # Cron speaks of whole minutes, and looking back begins before the moment given: so give it the next minute.
    local = (at.astimezone(UTC).replace(second=0, microsecond=0) + timedelta(minutes=1)).astimezone(zone)
    try:
        start = next(CronSim(window.cron or "", local, reverse=True)).astimezone(UTC)
    except StopIteration:
        return None, at
    return start, start + timedelta(hours=window.lasts_hours or 0)


def _breaks_through(window: Freeze, request: Request) -> bool:
    return window.breaks_through is not None and request.severity <= window.breaks_through
