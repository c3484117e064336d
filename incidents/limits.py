"""The sections of the playbook that hold automation back: limits, freeze windows, and autonomy that is earned."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Annotated, Literal, Self
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError
from pydantic import AfterValidator, Field, model_validator

from incidents.models import Frozen, Mode, Severity, now


class Budget(Frozen):
    """At most so many within so many minutes; one more than that asks."""

    at_most: int = Field(ge=0, description="How many.")
    per_minutes: float = Field(gt=0, le=60 * 24 * 31, description="Within how long, in minutes.")

    @property
    def window(self) -> timedelta:
        """How far it looks back."""
        return timedelta(minutes=self.per_minutes)

    def __str__(self) -> str:
        return f"{self.at_most} within {self.per_minutes:g} min"


class Limits(Frozen):
    """How much automation may do. Each is a gate of its own that asks a person above its limit."""

    per_action: Budget = Field(
        default=Budget(at_most=10, per_minutes=60), description="How often one action may begin, wherever."
    )
    per_asset: Budget = Field(
        default=Budget(at_most=5, per_minutes=60), description="How often one asset may be changed, by whatever action."
    )
    storm: Budget = Field(
        default=Budget(at_most=20, per_minutes=10),
        description="How many actions may begin in all. Above it everything asks, and people get one message for all.",
    )
    cool_down_seconds: float = Field(
        900, ge=0, le=86400 * 31, description="How long the same action leaves the same asset alone after it began."
    )
    hold_down_seconds: dict[Severity, Annotated[float, Field(ge=0, le=86400)]] = Field(
        default_factory=dict,
        description="How long an alert must have fired before anything runs; the flow waits and looks again. None: 0.",
    )
    flapping: Budget = Field(
        default=Budget(at_most=5, per_minutes=60),
        description="How often an incident about the same asset may open again after one was closed.",
    )
    blast_radius: int = Field(
        5, ge=1, description="How many assets one plan may touch: what it changes, and the models that learn from that."
    )
    taken_back_minutes: float = Field(
        1440,
        ge=0,
        le=60 * 24 * 31,
        description="For how long a change that a person has taken back is not made again without one.",
    )
    pause_after_crash: bool = Field(
        True,
        description="Whether a change that a crash left in doubt pauses automation, until it is settled or a person "
        "lifts it with `lastgood unpause`.",
    )


class Autonomy(Frozen):
    """What an action may do by itself is earned: by how often it was seen to help, in real runs and in drills.

    For each action, category and severity the lower bound of Wilson's score interval on that share decides.
    """

    days: int = Field(90, ge=1, le=3660, description="How far back history counts, in days.")
    at_least: int = Field(5, ge=1, description="With fewer runs than this the rest of the playbook decides.")
    confidence: float = Field(0.95, gt=0.5, lt=1, description="Of the interval, two-sided.")
    run_from: float = Field(0.5, ge=0, le=1, description="The lowest bound with which it runs by itself.")
    ask_from: float = Field(
        0.1, ge=0, le=1, description="The lowest bound with which it asks; below, it only proposes."
    )
    recover_after: int = Field(
        3, ge=0, description="After a failed verification or an undo it asks, until it helped this often in a row."
    )
    strict: bool = Field(False, description="Whether it asks until it has helped `at_least` times.")
    critical_runs_alone: bool = Field(False, description="Whether anything runs by itself at severity 1.")

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.ask_from > self.run_from:
            raise ValueError("ask_from is above run_from: what may not ask could run")
        return self


class Approvals(Frozen):
    """Who has to say yes where the gates ask, for how long an answer is waited for, and how long a no is remembered."""

    quorum: dict[Severity, Annotated[int, Field(ge=1, le=20)]] = Field(
        default_factory=dict, description="Severity -> how many different people have to say yes. None: one."
    )
    expires_seconds: float = Field(
        14_400, gt=0, le=86400 * 31, description="How long an answer is waited for, and how long an approval holds."
    )
    dismissed_for_seconds: float = Field(
        86_400,
        ge=0,
        le=86400 * 366,
        description="How long the same proposal is neither asked again nor run by itself after a no.",
    )


def _is_zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError):  # a folder of zones is an OSError
        raise ValueError(f"{name!r} is no time zone such as Europe/Berlin") from None
    return name


def _is_cron(text: str) -> str:
    if len(text.split()) != 5:
        raise ValueError("a cron expression has five fields: minute, hour, day of month, month, day of week")
    try:
        next(CronSim(text, now()))
    except (CronSimError, StopIteration):
        raise ValueError(f"not a cron expression that ever comes: {text!r}") from None
    return text


class Freeze(Frozen):
    """A time in which nothing runs by itself: by cron and how long it lasts, or from one day to another."""

    name: str = Field(min_length=1, max_length=100, description="What it is called in a decision.")
    timezone: Annotated[str, AfterValidator(_is_zone)] = Field(description="An IANA zone such as Europe/Berlin.")
    cron: Annotated[str, AfterValidator(_is_cron)] | None = Field(None, description="When it begins, again and again.")
    lasts_hours: float | None = Field(None, gt=0, le=24 * 31, description="How long it lasts from then on.")
    first_day: date | None = Field(None, description="Its first day, from midnight.")
    last_day: date | None = Field(None, description="Its last day, until midnight.")
    breaks_through: Severity | None = Field(
        None, description="This severity, and what is worse, is not held up. None: everything is."
    )
    says: Literal[Mode.ask, Mode.never] = Field(
        Mode.ask, description="ask: a person may. never: nobody may, not even by hand."
    )

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        by_cron, by_days = (self.cron, self.lasts_hours), (self.first_day, self.last_day)
        if sorted([by_cron.count(None), by_days.count(None)]) != [0, 2]:
            raise ValueError("a freeze has either cron and lasts_hours, or first_day and last_day")
        if self.first_day and self.last_day and self.first_day > self.last_day:
            raise ValueError("last_day is before first_day")
        return self
