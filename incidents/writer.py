"""One write transaction of the ledger: events at the end of the chain, and what goes with them."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Connection, bindparam, func, insert, select, text, update

from incidents import schema
from incidents.chain import GENESIS, chain
from incidents.events import (
    Alerted,
    ApprovalVoid,
    Approved,
    AskedFor,
    Body,
    Deferred,
    Escalated,
    Event,
    Joined,
    NotConfirmed,
    Opened,
    Released,
    Resolved,
    storable,
)
from incidents.models import Status, canonical, now
from incidents.redaction import redact, redact_tree

#: More rows than this don't wait for the end of the transaction.
_MOST_WAITING = 1000

_CLOSING = {Resolved: Status.resolved, NotConfirmed: Status.not_confirmed}

# Statements are made once: making one takes longer than running it.
_events, _found, _box = schema.events, schema.incidents, schema.outbox
_LAST = select(_events.c.seq, _events.c.hash).order_by(_events.c.seq.desc()).limit(1)
_APPEND = insert(_events)
_NEWEST = select(func.max(_found.c.number))
_LIVE = select(_found.c.number).where(_found.c.live == bindparam("key"))
_OPEN = insert(_found)
_WORSEN = (
    update(_found)
    .where(_found.c.number == bindparam("_number"), _found.c.severity > bindparam("_severity"))
    .values(severity=bindparam("_severity"))
)
_SEND = text(
    "INSERT INTO outbox (key, incident, kind, payload, attempts, next_at) "
    "VALUES (:key, :incident, :kind, :payload, 0, :next_at) ON CONFLICT (key) DO NOTHING"
)


class Writer:
    """One write transaction: what is appended in it is stored together or not at all.

    Rows are collected and sent together, at the end or before anybody uses the ``connection``.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        #: Number and hash of the last event, and the newest incident's number, once they were looked up. This
        #: transaction is alone in writing, so one look is enough.
        self._last: tuple[int, str] | None = None
        self._newest: int | None = None
        #: What was not sent yet: rows of three tables, what is live through them, and the severity alerts ask for.
        self._appended: list[dict[str, Any]] = []
        self._opened: list[dict[str, Any]] = []
        self._sent: list[dict[str, Any]] = []
        self._live: dict[str, int] = {}
        self._worst: dict[int, int] = {}

    @property
    def connection(self) -> Connection:
        """The transaction, with everything in it that was appended so far."""
        self.flush()
        return self._connection

    def append(self, body: Body, *, actor: str, incident: str | None = None, subject: str | None = None) -> Event:
        """Put one event at the end of the chain, without the secrets in it; returns it as it is stored."""
        if self._last is None:
            last = self._connection.execute(_LAST).first()
            self._last = (last.seq, last.hash) if last else (0, GENESIS)
        seq, before = self._last[0] + 1, self._last[1]
        at, actor, (body, text_of_body) = now(), redact(actor), storable(body)
        columns: dict[str, Any] = {
            "seq": seq,
            "at": at.isoformat(timespec="microseconds"),
            "incident": incident or "",
            "subject": subject or "",
            "kind": body.kind,
            "actor": actor,
            "body": text_of_body,
        }
        whole = columns["hash"] = chain(before, list(columns.values()))
        self._appended.append(columns)
        self._last = (seq, whole)
        if incident is not None:
            self._keep_found(incident, body, at)
        if len(self._appended) >= _MOST_WAITING:
            self.flush()
        return Event(seq=seq, at=at, incident=incident, subject=subject, actor=actor, body=body, hash=whole)

    def open(self, body: Opened, *, actor: str) -> str:
        """Begin an incident and return its name: ``INC-7``."""
        if self._newest is None:
            self._newest = self._connection.scalar(_NEWEST) or 0
        self._newest += 1
        incident = f"INC-{self._newest}"
        self.append(body, actor=actor, incident=incident, subject=body.asset)
        return incident

    def live(self, category: str, asset: str | None, alert: str = "") -> str | None:
        """The incident of that category and asset that is not closed yet; without an asset, of that alert's name."""
        key = _live_key(category, asset, alert)
        if key is None:
            return None
        found = self._live.get(key) or self._connection.scalar(_LIVE, {"key": key})
        return f"INC-{found}" if found is not None else None

    def send(self, kind: str, key: str, payload: dict[str, Any], *, incident: str | None = None) -> None:
        """Put a job into the outbox; the same key is put there once."""
        row = {"key": key, "incident": incident, "kind": kind, "payload": canonical(redact_tree(payload))}
        self._sent.append({**row, "next_at": now().isoformat()})

    def flush(self) -> None:
        """Send what waits. Alerts ask for a severity after their incident is there."""
        worst = [{"_number": number, "_severity": severity} for number, severity in self._worst.items()]
        for statement, rows in (
            (_APPEND, self._appended),
            (_OPEN, self._opened),
            (_WORSEN, worst),
            (_SEND, self._sent),
        ):
            if rows:
                self._connection.execute(statement, rows)
        for waiting in (self._appended, self._opened, self._sent, self._live, self._worst):
            waiting.clear()

    def _keep_found(self, incident: str, body: Body, at: datetime) -> None:
        """Keep the table that incidents are found by in step with their events."""
        number = number_of(incident)
        match body:
            case Opened():
                self._keep_opened(number, body, at)
            case Alerted() | Joined():
                severity = int(body.alert.severity if isinstance(body, Alerted) else body.severity)
                self._worst[number] = min(severity, self._worst.get(number, severity))
            case Resolved() | NotConfirmed():
                moment = at.isoformat(timespec="microseconds")
                closed = {"status": _CLOSING[type(body)], "closed_at": moment, "live": None}
                self.connection.execute(update(_found).where(_found.c.number == number).values(closed))
            case Escalated() | AskedFor() | Deferred():
                status = Status.escalated if isinstance(body, Escalated) else Status.waiting
                self.connection.execute(update(_found).where(_found.c.number == number).values(status=status))
            case Approved() | ApprovalVoid() | Released():
                waiting = update(_found).where(_found.c.number == number, _found.c.status == Status.waiting)
                self.connection.execute(waiting.values(status=Status.open))

    def _keep_opened(self, number: int, body: Opened, at: datetime) -> None:
        live = _live_key(body.category, body.asset, body.alert.name if body.alert else "")
        self._opened.append(
            {
                "number": number,
                "category": body.category,
                "asset": body.asset,
                "severity": int(body.severity),
                "status": Status.open,
                "title": body.title,
                "opened_at": at.isoformat(timespec="microseconds"),
                "live": live,
            }
        )
        if live:
            self._live[live] = number


def number_of(incident: str) -> int:
    """The number in an incident's name.

    Raises:
        ValueError: the name is not of the form ``INC-7``.
    """
    prefix, _, number = incident.upper().partition("-")
    if prefix != "INC" or not (number.isascii() and number.isdigit()):
        raise ValueError(f"{incident!r} is not an incident's name; it looks like INC-7")
    return int(number)


def _live_key(category: str, asset: str | None, alert: str) -> str | None:
    """What there is at most one live incident of. An incident without an asset or an alert is like no other."""
    about = asset or (f"alert:{alert}" if alert else None)
    return f"{category} {about}" if about else None
