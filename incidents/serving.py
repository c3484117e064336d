"""What was in production when, and was it good? Folded from where its pointer was moved and what was found healthy.

Every answer says how it is known: a move of ours is known to the moment; one that somebody else made lies between two
looks; before the first look nothing is known.
"""

from __future__ import annotations

from datetime import datetime

from pydantic import AwareDatetime
from sqlalchemy import select

from incidents.events import Event, Judged
from incidents.ledger import Ledger
from incidents.models import Frozen, Health
from incidents.moves import KINDS, Move, fold, sightings
from incidents.schema import events

#: It looks where the pointer is before it judges, so its verdicts are looks at the pointer too.
_WATCHER = "flow:monitor"


class Span(Frozen):
    """A time in which a pointer was at one version."""

    #: None: there was no such pointer.
    version: str | None
    #: What brought it there, and what took it away; None: nothing that the record knows.
    began: Move
    ended: Move | None
    #: The last moment at which it is known to have been there.
    last_seen: AwareDatetime
    #: Where somebody else moved it there: the last moment at which it was seen elsewhere; None where there is none.
    elsewhere: AwareDatetime | None = None


class Answer(Frozen):
    """What was in production at a moment."""

    at: AwareDatetime
    #: The versions that it can have been: one where that is known, two where the move between them was not ours, and
    #: none before the record knows anything.
    spans: tuple[Span, ...]


def asset_of(target: str) -> str:
    """The asset that a pointer belongs to: ``models:/fraud@champion`` is that of ``model:fraud``.

    What is about one side of a service, ``service:scoring@version``, belongs to ``service:scoring``.
    """
    if target.startswith("service:"):
        return target.partition("@")[0]
    if target.startswith("models:/"):
        return f"model:{target.removeprefix('models:/').rpartition('@')[0]}"
    return target


def pointers(ledger: Ledger, name: str) -> list[str]:
    """The pointers on the record that a name means: itself, or every alias of ``model:fraud``."""
    if not name.startswith("model:"):
        return [name]
    prefix = f"models:/{name.removeprefix('model:')}@"
    query = select(events.c.subject).distinct().where(events.c.subject.startswith(prefix, autoescape=True))
    with ledger.engine.connect() as connection:
        return sorted(connection.scalars(query.order_by(events.c.subject)))


def spans(ledger: Ledger, target: str) -> list[Span]:
    """Where the pointer was, from the first move that the record knows to now."""
    told = ledger.events(subject=target, kinds=KINDS)
    found = fold(told)
    looks = [(sighting.at, sighting.after) for sighting in sightings(told)] + _looks(ledger, target)
    made: list[Span] = []
    for move, ended in zip(found, [*found, None][1:], strict=True):
        inside = [at for at, version in looks if version == move.after and move.at <= at]
        last_seen = max((at for at in inside if ended is None or at < ended.at), default=move.at)
        if ended is not None and ended.how != "seen" and ended.before == move.after:
            last_seen = ended.at  # we compare and then set, so it was there until then
        elsewhere = made[-1].last_seen if made and move.how == "seen" else None
        made.append(Span(version=move.after, began=move, ended=ended, last_seen=last_seen, elsewhere=elsewhere))
    return made


def at(ledger: Ledger, target: str, moment: datetime) -> Answer:
    """What the pointer named at that moment."""
    whole = spans(ledger, target)
    for place, span in enumerate(whole):
        if span.began.at <= moment and (span.ended is None or moment < span.ended.at):
            unsure = span.ended is not None and moment > span.last_seen
            return Answer(at=moment, spans=tuple(whole[place : place + 2] if unsure else [span]))
    return Answer(at=moment, spans=())


def verdict(ledger: Ledger, asset: str, version: str, until: datetime | None = None) -> Event | None:
    """The last look that settled the health of a version, up to that moment; None where there was none."""
    settled = [
        event
        for event in ledger.events(subject=asset, kinds=["judged"])
        if isinstance(event.body, Judged)
        and event.body.version == version
        and event.body.verdict.health is not Health.inconclusive
        and (until is None or event.at <= until)
    ]
    return settled[-1] if settled else None


def _looks(ledger: Ledger, target: str) -> list[tuple[datetime, str | None]]:
    """When the watcher saw the pointer at which version."""
    judged = ledger.events(subject=asset_of(target), kinds=["judged"])
    return [(ev.at, ev.body.version) for ev in judged if isinstance(ev.body, Judged) and ev.actor == _WATCHER]
