"""Is the end of the chain whole? Asked once, before a process appends its first event: nothing is built on a break.

``lastgood audit verify`` reads all of it; this reads the last events only, so that opening a ledger stays cheap.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, select

from incidents import schema
from incidents.chain import GENESIS, chain
from incidents.settings import settings

#: So many events are checked, however long the chain is.
LENGTH = 200


class BrokenTail(Exception):
    """The chain is broken near its end, and nothing is appended to it; the message says where, and the way out."""


def check(connection: Connection) -> None:
    """Compute the hashes of the last ``LENGTH`` events anew.

    Raises:
        BrokenTail: one of them is not as it was written, and the settings do not accept that very break.
    """
    table = schema.events
    newest_first = connection.execute(select(table).order_by(table.c.seq.desc()).limit(LENGTH + 1)).all()
    rows = newest_first[::-1]
    before = None if len(rows) > LENGTH else GENESIS
    expected = rows[0].seq if before is None else 1
    for row in rows:
        whole = row.seq == expected and (before is None or _follows(before, row))
        if not whole and settings().accept_broken_event != expected:
            raise BrokenTail(_said(expected))
        before, expected = row.hash, row.seq + 1


def _follows(before: str, row: Any) -> bool:
    try:
        return bool(chain(before, row) == row.hash)
    except (TypeError, ValueError):  # a damaged column can come back as bytes, or as text that is not text
        return False


def _said(seq: int) -> str:
    return (
        f"the record is broken at event {seq}, so nothing is appended to it. Keep a copy of the database as it is, see "
        "`lastgood audit verify`, and bring it back from a backup or begin a new one (LASTGOOD_DATABASE_URL). To go on "
        f"with this one all the same: LASTGOOD_ACCEPT_BROKEN_EVENT={seq}, and the audit will go on naming the break"
    )
