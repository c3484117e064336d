"""The words everything else is written in: category, severity, risk, alert, verdict, plan."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime
from enum import IntEnum, StrEnum
from typing import Any

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, JsonValue


class Category(StrEnum):
    """Which section of the playbook an incident belongs to."""

    data = "data"
    model = "model"
    infrastructure = "infrastructure"
    security = "security"


class Severity(IntEnum):
    """How bad it is: 1 is the worst."""

    critical = 1
    high = 2
    medium = 3
    low = 4


class Risk(StrEnum):
    """What an action may cost when it is wrong.

    low: nobody outside the team notices. medium: production changes, and one pointer brings it back.
    high: production changes, and coming back takes work or is not possible.
    """

    low = "low"
    medium = "medium"
    high = "high"


class Mode(StrEnum):
    """What a gate says, from the strictest to the most lenient."""

    never = "never"
    ask = "ask"
    run = "run"


class Health(StrEnum):
    """What a look at the world found. Errors are not failures, and no data is not health."""

    healthy = "healthy"
    unhealthy = "unhealthy"
    inconclusive = "inconclusive"


class Status(StrEnum):
    """Where an incident stands."""

    open = "open"
    #: People were asked, and no process waits for them.
    waiting = "waiting"
    resolved = "resolved"
    not_confirmed = "not_confirmed"
    escalated = "escalated"


class Frozen(BaseModel):
    """A record: immutable, and an unknown field is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Alert(Frozen):
    """One alert as its sender told it, in the same shape whoever the sender was."""

    #: Which adapter read it: alertmanager, generic.
    source: str
    #: The sender's own identity of what is wrong; the same when it fires again.
    fingerprint: str = Field(max_length=128)
    #: Which firing of it this is: the beginning as the sender wrote it. With the fingerprint it identifies an episode.
    episode: str = Field(max_length=64)
    #: When it began (UTC); when it was received, where the sender's own time can't be right.
    starts_at: AwareDatetime
    #: False when the sender says that it is over.
    firing: bool
    name: str
    labels: dict[str, str] = Field(default_factory=dict)
    annotations: dict[str, str] = Field(default_factory=dict)
    #: The sender's word mapped to 1..4; a missing or unknown word is medium.
    severity: Severity = Severity.medium
    #: A link back to the sender, kept as text and never fetched.
    link: str = ""
    #: What was odd about it and how it was read all the same, one sentence each.
    notes: tuple[str, ...] = ()


class Verdict(Frozen):
    """The answer of a check: healthy, unhealthy or inconclusive, why, and what was seen."""

    health: Health
    why: str
    evidence: dict[str, JsonValue] = Field(default_factory=dict)


class Plan(Frozen):
    """Exactly what an action would change. Making one never writes, so a plan is the dry-run."""

    #: The action's name: its file, its class in snake case, its rule in the playbook.
    action: str
    #: The action's own fields, enough to build it again tomorrow.
    parameters: dict[str, JsonValue]
    #: What it changes, as one name: ``models:/fraud@champion``, ``dataset:transactions``.
    target: str
    #: The state of the target now, and the state it is to have.
    before: dict[str, JsonValue]
    after: dict[str, JsonValue]
    #: One line for a tired person.
    summary: str
    #: Why these and no others: what was looked at and passed over on the way to ``after``.
    because: tuple[str, ...] = ()

    @property
    def nothing_to_do(self) -> bool:
        """True when the target already is as it should be, which is a success."""
        return self.before == self.after

    @property
    def hash(self) -> str:
        """SHA-256 over the whole plan; an approval, a record and an undo bind to it."""
        return digest(self.model_dump(mode="json"))


_encode = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode


def canonical(value: Any) -> str:
    """One text for one JSON value: sorted keys, no spaces, UTF-8 kept."""
    return _encode(value)


def digest(value: Any) -> str:
    """SHA-256, in hex, of a JSON value's canonical text."""
    return hashlib.sha256(canonical(value).encode()).hexdigest()


def now() -> datetime:
    """This moment, in UTC."""
    return datetime.now(UTC)
