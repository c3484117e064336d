"""One line of the record, whatever it says: its body is of one of the kinds here, read from and stored as text."""

from __future__ import annotations

import json
from typing import Annotated

from pydantic import AwareDatetime, Field, JsonValue, TypeAdapter

from incidents.events.changes import Changed
from incidents.events.ends import Ended
from incidents.events.plans import Decided, Planned
from incidents.events.seen import Seen
from incidents.events.standing import Stands
from incidents.models import Frozen, canonical
from incidents.redaction import Redaction, possible

Body = Annotated[Seen | Decided | Changed | Ended | Stands, Field(discriminator="kind")]

_body: TypeAdapter[Body] = TypeAdapter(Body)


class Event(Frozen):
    """One line of the record."""

    #: Its place in the chain, from 1, without gaps.
    seq: int
    at: AwareDatetime
    incident: str | None
    #: The asset it speaks of, where it speaks of one: ``dataset:transactions``.
    subject: str | None
    #: Who wrote it: ``flow:data``, ``intake:alertmanager``, ``person:anna``.
    actor: str
    body: Body
    #: SHA-256 of everything above and of the hash of the event before.
    hash: str


def parse_body(text: str) -> Body:
    """Read an event's body from its stored text."""
    return _body.validate_json(text)


def slim_body(text: str) -> Body:
    """The same without the gates' sheets, which are most of an intent's bytes, and which a gate never looks back on."""
    values = json.loads(text)
    values.pop("gates", None)
    return _body.validate_python(values)


def body_json(body: Body) -> dict[str, JsonValue]:
    """An event's body as plain JSON values."""
    return body.model_dump(mode="json")


def storable(body: Body) -> tuple[Body, str]:
    """The body without secrets, and its text, which is what is stored; the same body where it holds none.

    A plan stays as it is: its hash is of every letter, and an action takes none in.
    """
    text = canonical(body_json(body))
    rules = () if isinstance(body, Planned) else possible(text)
    if not rules:
        return body, text
    redaction = Redaction(rules)
    clean = redaction.tree(json.loads(text))
    return (_body.validate_python(clean), canonical(clean)) if redaction.count else (body, text)
