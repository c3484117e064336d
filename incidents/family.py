"""Incidents with one cause: the one about the cause comes first, the others wait for it, and none is forgotten.

Whoever waits has no process: its section has ended, and is started again in the transaction that ends the other.
"""

from __future__ import annotations

import json
from datetime import datetime

from sqlalchemy import select

from incidents import events as e
from incidents.incident import Incident, find
from incidents.ledger import Ledger, Writer, number_of
from incidents.models import Category, Severity, Status
from incidents.schema import events, incidents
from incidents.starting import start

#: An incident in one of these still gets to what others wait for.
UNDER_WAY = (Status.open, Status.waiting)


def under_way(ledger: Ledger, category: Category, assets: list[str]) -> dict[str, str]:
    """Asset -> the incident of that category about it that is under way; one that is with a person is not."""
    keys = [f"{category} {asset}" for asset in assets]
    query = select(incidents.c.asset, incidents.c.number)
    with ledger.engine.connect() as connection:
        rows = connection.execute(query.where(incidents.c.live.in_(keys), incidents.c.status.in_(UNDER_WAY)))
        return {row.asset: f"INC-{row.number}" for row in rows}


def waits_for(incident: Incident) -> str | None:
    """The incident that this one waits for; None where it waits for none."""
    if incident.status is not Status.waiting:
        return None
    last = next((ev.body for ev in reversed(incident.events) if isinstance(ev.body, e.Deferred | e.AskedFor)), None)
    return last.to if isinstance(last, e.Deferred) else None


def defer(ledger: Ledger, child: str, parent: str, actor: str) -> bool:
    """Let an incident wait for another, and put it on both records; False where that one has ended by now."""
    with ledger.write() as writer:
        if find(ledger, parent).status not in UNDER_WAY:
            return False
        incident = find(ledger, child)
        if waits_for(incident) != parent:
            joined = e.Joined(incident=child, severity=incident.severity)
            writer.append(joined, actor=actor, incident=parent, subject=incident.asset)
            writer.append(e.Deferred(to=parent), actor=actor, incident=child, subject=incident.asset)
        return True


def release(writer: Writer, parent: str, why: str, actor: str) -> list[str]:
    """Start the sections of all that wait for an incident which has ended; in the transaction that ends it."""
    connection = writer.connection
    joined = select(events.c.body).where(events.c.incident == parent, events.c.kind == "joined")
    children = dict.fromkeys(json.loads(body)["incident"] for body in connection.scalars(joined.order_by(events.c.seq)))
    released: list[str] = []
    for child in children:
        row = connection.execute(select(incidents).where(incidents.c.number == number_of(child))).one()
        waiting = select(events.c.body).where(events.c.incident == child, events.c.kind.in_(("deferred", "asked_for")))
        last = json.loads(connection.scalar(waiting.order_by(events.c.seq.desc()).limit(1)) or "{}")
        if row.status != Status.waiting or last.get("to") != parent:
            continue
        told = writer.append(e.Released(by=parent, why=why[:1000]), actor=actor, incident=child, subject=row.asset)
        start(writer, _found(child, row), f"launch:{child}:after:{parent}:{told.seq}")
        released.append(child)
    return released


def release_left(ledger: Ledger, actor: str) -> list[tuple[str, str]]:
    """Start what still waits for an incident that has ended, however it was ended; says which and why."""
    done: list[tuple[str, str]] = []
    with ledger.engine.connect() as connection:
        numbers = list(connection.scalars(select(incidents.c.number).where(incidents.c.status == Status.waiting)))
    for number in numbers:
        parent = waits_for(find(ledger, f"INC-{number}"))
        if parent is None or find(ledger, parent).status in UNDER_WAY:
            continue
        with ledger.write() as writer:
            why = f"{parent} has ended, and nobody said so"
            done += [(child, why) for child in release(writer, parent, why, actor)]
    return done


def _found(name: str, row: object) -> Incident:
    """An incident as the table has it that incidents are found by."""
    kept = row._mapping  # type: ignore[attr-defined]  # a row of SQLAlchemy
    return Incident(
        name=name,
        category=Category(kept["category"]),
        severity=Severity(kept["severity"]),
        asset=kept["asset"],
        title=kept["title"],
        opened_at=datetime.fromisoformat(kept["opened_at"]),
    )
