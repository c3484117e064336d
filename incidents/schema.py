"""The tables. Events are the record and are never changed; everything else serves to find, dedup and deliver."""

from __future__ import annotations

from sqlalchemy import (
    DDL,
    Boolean,
    Column,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    event,
    text,
)

metadata = MetaData()

#: The record. Times are ISO 8601 text in UTC, so that the hash covers the very bytes that are stored. For the same
#: reason nothing is NULL, and SQLite keeps the number among the other columns (WITHOUT ROWID): SQLite reads several
#: different bytes as NULL, and none of those that it stores for a number which is the rowid.
events = Table(
    "events",
    metadata,
    Column("seq", Integer, primary_key=True, autoincrement=False),
    Column("at", String(40), nullable=False),
    Column("incident", String(40), nullable=False),
    Column("subject", String(300), nullable=False),
    Column("kind", String(40), nullable=False),
    Column("actor", String(200), nullable=False),
    Column("body", Text, nullable=False),
    Column("hash", String(64), nullable=False),
    Index("events_by_incident", "incident", "seq"),
    Index("events_by_subject", "subject", "kind", "seq"),
    sqlite_with_rowid=False,
)

#: What the gates look back on: changes, and how they ended. None of these comes from the intake.
DEEDS = (
    "applying",
    "applied",
    "verified",
    "conflicted",
    "undoing",
    "undone",
    "failed",
    "escalated",
    "resolved",
    "not_confirmed",
)
#: The condition of the index, word for word, because a query that uses the index has to say it word for word.
IS_DEED = f"kind IN ({', '.join(repr(kind) for kind in DEEDS)})"
Index("events_of_deeds", events.c.at, sqlite_where=text(IS_DEED), postgresql_where=text(IS_DEED))

#: The inbox: what was received, once for each distinct body. ``sha256`` is of the bytes that came. ``body`` is those
#: bytes; where they held a secret it is the document without it, and its own SHA-256 is another.
deliveries = Table(
    "deliveries",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("sender", String(100), nullable=False),
    Column("sha256", String(64), nullable=False),
    Column("received_at", String(40), nullable=False),
    Column("seen", Integer, nullable=False),
    Column("body", LargeBinary, nullable=False),
    UniqueConstraint("sender", "sha256"),
)

#: The dedup: an episode is one sender's fingerprint and one beginning.
episodes = Table(
    "episodes",
    metadata,
    Column("sender", String(100), primary_key=True),
    Column("fingerprint", String(128), primary_key=True),
    Column("episode", String(64), primary_key=True),
    Column("incident", String(40)),
    Column("firing", Boolean, nullable=False),
)

#: To find incidents by; each row can be made again from the events.
incidents = Table(
    "incidents",
    metadata,
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("category", String(20), nullable=False),
    Column("asset", String(300)),
    Column("severity", Integer, nullable=False),
    Column("status", String(20), nullable=False),
    Column("title", Text, nullable=False),
    Column("opened_at", String(40), nullable=False),
    Column("closed_at", String(40)),
    #: Category and asset (else the alert's name) while the incident is not closed, so that there is at most one.
    Column("live", String(330), unique=True),
)

#: What is still to be done outside: runs to start, people to tell. Written with the event that asks for it.
outbox = Table(
    "outbox",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("key", String(200), nullable=False, unique=True),
    Column("incident", String(40)),
    Column("kind", String(20), nullable=False),
    Column("payload", Text, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("next_at", String(40)),
    Column("done_at", String(40)),
    Column("error", Text),
    Index("outbox_due", "next_at"),
)

#: Who may change a target now. The row stays after release, so that its token only grows.
leases = Table(
    "leases",
    metadata,
    Column("target", String(300), primary_key=True),
    Column("holder", String(200), nullable=False),
    Column("token", Integer, nullable=False),
    Column("expires_at", String(40), nullable=False),
)

_REFUSAL = "the ledger is append-only"

#: SQLite's REPLACE deletes without firing a DELETE trigger, so an INSERT over an event is refused as well.
_SQLITE_GUARDS = {
    "events_no_update": "BEFORE UPDATE ON events",
    "events_no_delete": "BEFORE DELETE ON events",
    "events_no_replace": "BEFORE INSERT ON events WHEN EXISTS (SELECT 1 FROM events WHERE seq = NEW.seq)",
}
_POSTGRESQL_GUARDS = (
    "CREATE OR REPLACE FUNCTION events_append_only() RETURNS trigger LANGUAGE plpgsql AS "
    f"$$ BEGIN RAISE EXCEPTION '{_REFUSAL}'; END $$",
    "CREATE TRIGGER events_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON events "
    "FOR EACH STATEMENT EXECUTE FUNCTION events_append_only()",
)

for _name, _when in _SQLITE_GUARDS.items():
    _sql = f"CREATE TRIGGER {_name} {_when} BEGIN SELECT RAISE(ABORT, '{_REFUSAL}'); END"
    event.listen(events, "after_create", DDL(_sql).execute_if(dialect="sqlite"))  # type: ignore[no-untyped-call]  # untyped upstream
for _sql in _POSTGRESQL_GUARDS:
    event.listen(events, "after_create", DDL(_sql).execute_if(dialect="postgresql"))  # type: ignore[no-untyped-call]  # untyped upstream
