"""Asks the gates with what the ledger says: to know, to decide, and once more right before a change."""

from __future__ import annotations

from datetime import UTC, datetime

from sqlalchemy import Connection, and_, select, text, union

from incidents import history, moves, storm
from incidents.decide import decide
from incidents.events import Applying, Event, Gated, slim_body
from incidents.facts import Facts, Request
from incidents.history import History
from incidents.ledger import Ledger
from incidents.models import Mode, now
from incidents.playbook import Playbook
from incidents.schema import IS_DEED, events, leases


class Refused(Exception):
    """Between the decision and the change a gate changed its mind; nothing was changed, and the message says which."""


def consult(ledger: Ledger, playbook: Playbook, request: Request, at: datetime | None = None) -> Gated:
    """What the gates would say at a moment, now by default; puts nothing on the record."""
    with ledger.engine.connect() as connection:
        return decide(request, playbook, gather(connection, playbook, request, at))


def ask(ledger: Ledger, playbook: Playbook, request: Request, actor: str) -> Gated:
    """Ask the gates, and put what each said on the record; the first to meet a storm tells people of it."""
    gated = consult(ledger, playbook, request)
    with ledger.write() as writer:
        writer.append(gated, actor=actor, incident=request.incident, subject=request.plan.target)
        storm.watch(writer, playbook, gated, actor=actor, incident=request.incident)
    return gated


def intend(ledger: Ledger, playbook: Playbook, request: Request, actor: str, token: int) -> None:
    """Ask the gates once more, and put the intent on the record with what they said.

    The last look and the intent are one transaction, which nobody else writes in, so two incidents cannot both take
    what a budget has left. What was there before is read before that, so that nobody waits for it.

    Raises:
        Refused: they no longer say run; that is on the record, and the intent is not.
    """
    past = History()
    with ledger.engine.connect() as connection:
        _read(connection, playbook, request, past, now())
    with ledger.write() as writer:
        gated = decide(request, playbook, gather(writer.connection, playbook, request, past=past))
        runs = gated.mode is Mode.run
        told = gated.model_dump(include={"plan", "gates", "playbook", "action", "asked"})
        intent = Applying(token=token, **told)
        writer.append(intent if runs else gated, actor=actor, incident=request.incident, subject=request.plan.target)
    if not runs:
        why = "; ".join(f"{gate.name}: {gate.why}" for gate in gated.gates if gate.says is not Mode.run)
        raise Refused(f"it was let through, and right before the change no longer: {why}")


def gather(
    connection: Connection,
    playbook: Playbook,
    request: Request,
    at: datetime | None = None,
    past: History | None = None,
) -> Facts:
    """Fold what the ledger holds into what matters to the request: one query for the events, one for the leases.

    With ``at`` it is what was known then. Without, it is all there is: another machine's clock may be ahead of ours.
    With ``past`` only what has come since is read.
    """
    past, moment = past or History(), at or now()
    _read(connection, playbook, request, past, moment, until=at)
    held = select(leases.c.target, leases.c.holder).where(leases.c.expires_at > _stamp(moment))
    holders = {row.target: row.holder for row in connection.execute(held)}
    return past.facts(request, moment, playbook.back, holders)


def _read(  # noqa: PLR0917  # where to read from, for what, into what, and how much
    connection: Connection,
    playbook: Playbook,
    request: Request,
    past: History,
    moment: datetime,
    until: datetime | None = None,
) -> None:
    """Add what has come since: what was done, where the target was, the incident's alerts, the asset's, every pause."""
    column, since = events.c, _stamp(moment - playbook.back)
    wanted = [and_(text(IS_DEED), column.at >= since), column.subject == history.AUTOMATION]
    wanted.append(and_(column.subject == request.plan.target, column.kind.in_(moves.KINDS), column.at >= since))
    if request.incident:
        wanted.append(and_(column.incident == request.incident, column.kind.in_(history.ALERTS)))
    if request.asset:
        wanted.append(and_(column.subject == request.asset, column.kind.in_(history.EPISODES)))
    # A union, and not OR: each part has an index of its own, and SQLite would rather walk through everything.
    found = union(*(select(column.seq).where(part, column.seq > past.seq) for part in wanted)).subquery()
    query = select(events).where(column.seq.in_(select(found.c.seq))).order_by(column.seq)
    for row in connection.execute(query):
        at = datetime.fromisoformat(row.at)
        if until is None or at <= until:
            past.add(
                Event(
                    seq=row.seq,
                    at=at,
                    incident=row.incident or None,
                    subject=row.subject or None,
                    actor=row.actor,
                    body=slim_body(row.body),
                    hash=row.hash,
                )
            )


def _stamp(at: datetime) -> str:
    """A moment as the ledger stores it, which sorts like time."""
    return at.astimezone(UTC).isoformat(timespec="microseconds")
