"""How an incident goes on and ends: it waits for another, breaks, goes to a person, is over; and who was told."""

from __future__ import annotations

from typing import Literal

from incidents.models import Frozen, Severity


class Joined(Frozen):
    """Another incident has the same cause, and waits for this one."""

    kind: Literal["joined"] = "joined"
    incident: str
    severity: Severity


class Deferred(Frozen):
    """The incident waits for another, which is about its cause and comes first."""

    kind: Literal["deferred"] = "deferred"
    to: str


class Released(Frozen):
    """The incident that this one waited for has ended, and its own section looks again."""

    kind: Literal["released"] = "released"
    by: str
    why: str


class Failed(Frozen):
    """A step broke. That is an error of ours or of a server, not a verdict about the system."""

    kind: Literal["failed"] = "failed"
    step: str
    error: str


class Escalated(Frozen):
    """The incident went to a person."""

    kind: Literal["escalated"] = "escalated"
    to: str
    why: str


class Resolved(Frozen):
    """The symptom is gone, and that was seen. Or a person says so, and then the actor is that person."""

    kind: Literal["resolved"] = "resolved"
    why: str


class NotConfirmed(Frozen):
    """The symptom that the alert claims was looked for and not found; nothing was changed."""

    kind: Literal["not_confirmed"] = "not_confirmed"
    why: str


class Told(Frozen):
    """A channel accepted a message, or is given up on."""

    kind: Literal["told"] = "told"
    channel: str
    title: str
    delivered: bool
    why: str = ""


#: Every kind of this family that can stand on the record.
Ended = Joined | Deferred | Released | Failed | Escalated | Resolved | NotConfirmed | Told
