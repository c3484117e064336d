"""Freeze windows: by cron or by days, in a time zone, with a severity that breaks through."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from incidents.gates.freeze import frozen_until
from incidents.limits import Freeze
from incidents.models import Mode, Severity
from incidents.playbook import Playbook, load
from tests.incidents.asking import AT, asked, facts, gate

BERLIN = ZoneInfo("Europe/Berlin")


def weekend(**changed: Any) -> Freeze:
    """From Friday 18:00 for 62 hours, in Berlin."""
    return Freeze(
        **{"name": "weekend", "timezone": "Europe/Berlin", "cron": "0 18 * * FRI", "lasts_hours": 62} | changed
    )


def held(book: Playbook, severity: Severity = Severity.high, person: str = "", **changed: Any) -> Mode:
    """What the gate says on a Saturday, with this window."""
    changed_book = book.model_copy(update={"freeze": (weekend(**changed),)})
    saturday = facts(at=datetime(2026, 11, 28, 12, tzinfo=UTC))
    return gate("freeze", asked(severity=severity, person=person), changed_book, saturday).says


def test_what_a_window_says(book: Playbook) -> None:
    """It asks by default, never where it says so, also by hand; and what breaks through is what is as bad or worse."""
    assert held(book) is Mode.ask
    assert held(book, says="never") is Mode.never
    assert held(book, says="never", person="anna") is Mode.never
    assert held(book, breaks_through=2) is Mode.run
    assert held(book, breaks_through=1) is Mode.ask
    assert held(book, breaks_through=1, severity=Severity.critical) is Mode.run
    assert gate("freeze", asked(), book, facts()).says is Mode.run


def test_several_windows_are_all_named(book: Playbook) -> None:
    """The strictest of those that hold counts, and until the last of them is over."""
    days = Freeze(name="audit", timezone="UTC", first_day=AT.date(), last_day=AT.date(), says="never")
    changed = book.model_copy(update={"freeze": (weekend(cron="0 0 * * MON", lasts_hours=48), days, weekend())})
    found = gate("freeze", asked(), changed, facts())
    assert found.says is Mode.never
    assert found.until == datetime(2026, 11, 24, 23, tzinfo=UTC)
    assert found.why == "weekend until 2026-11-24 23:00:00 UTC, audit until 2026-11-24 00:00:00 UTC"


@given(seconds=st.integers(0, 3 * 366 * 86400))
def test_a_window_by_cron_is_what_a_calendar_says(seconds: int) -> None:
    """Whatever the moment, and over every change of the clocks, it holds where a plain look at the calendar says so."""
    at = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)
    local = at.astimezone(BERLIN)
    friday = local.date() - timedelta(days=(local.weekday() - 4) % 7)
    starts = [datetime(d.year, d.month, d.day, 18, tzinfo=BERLIN) for d in (friday, friday - timedelta(days=7))]
    begun = max(start.astimezone(UTC) for start in starts if start.astimezone(UTC) <= at)
    end = begun + timedelta(hours=62)
    assert frozen_until(weekend(), at) == (end if at < end else None)


@pytest.mark.parametrize(
    ("seconds", "held"), [(-1, False), (0, True), (59, True), (62 * 3600 - 1, True), (62 * 3600, False)]
)
def test_a_window_holds_from_its_first_second_to_its_last(seconds: int, held: bool) -> None:
    """It holds in the very second in which it begins, and no more in the one in which it ends."""
    start = datetime(2026, 11, 27, 18, tzinfo=BERLIN).astimezone(UTC)
    assert (frozen_until(weekend(), start + timedelta(seconds=seconds)) is not None) is held


@given(seconds=st.integers(-3 * 86400, 5 * 86400))
def test_a_window_by_days_holds_from_midnight_to_midnight(seconds: int) -> None:
    """Its first and its last day are both in it, as its own time zone has them, also where the clocks change."""
    window = Freeze(name="change", timezone="Europe/Berlin", first_day=date(2026, 10, 24), last_day=date(2026, 10, 25))
    at = datetime(2026, 10, 24, tzinfo=UTC) + timedelta(seconds=seconds)
    inside = date(2026, 10, 24) <= at.astimezone(BERLIN).date() <= date(2026, 10, 25)
    assert (frozen_until(window, at) is not None) is inside


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"cron": "0 18 * *"}, "five fields"),
    ({"cron": "61 18 * * *"}, "not a cron expression"),
    ({"cron": "0 0 30 2 *"}, "not a cron expression"),
    ({"timezone": "Berlin"}, "no time zone"),
    ({"timezone": "../etc"}, "no time zone"),
    ({"timezone": "Europe"}, "no time zone"),
    ({"lasts_hours": None}, "either cron and lasts_hours"),
    ({"lasts_hours": 0}, "greater than 0"),
    ({"first_day": date(2026, 1, 1)}, "either cron and lasts_hours"),
    ({"cron": None, "lasts_hours": None}, "either cron and lasts_hours"),
    ({"cron": None, "lasts_hours": None, "first_day": AT.date(), "last_day": date(2026, 1, 1)}, "before first_day"),
    ({"says": "run"}, "ask"),
    ({"surprise": 1}, "Extra inputs"),
]


@pytest.mark.parametrize(("changed", "said"), WRONG, ids=range(len(WRONG)))
def test_a_wrong_window_is_refused(changed: dict[str, Any], said: str) -> None:
    """What cannot be meant is refused when the playbook is loaded, not on the day it should have held."""
    with pytest.raises(ValidationError, match=said):
        weekend(**changed)


def test_the_examples_in_the_shipped_playbook_load(tmp_path: Path) -> None:
    """The examples that stand there as comments are valid ones."""
    shipped = (Path(__file__).parents[3] / "playbook.yaml").read_text(encoding="utf-8")
    lines = [line.replace("#  ", " ", 1) for line in shipped.splitlines() if line.startswith("#   - {name:")]
    assert len(lines) == 2
    path = tmp_path / "playbook.yaml"
    path.write_text(shipped.replace("freeze: []", "freeze:\n" + "\n".join(lines)), encoding="utf-8")
    assert [window.name for window in load(path, {}).freeze] == ["weekend", "year's end"]
