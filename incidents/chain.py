"""The chain: every event's hash covers its own stored bytes and the hash of the event before."""

from __future__ import annotations

from typing import Any

from incidents.models import digest

#: The hash before the first event.
GENESIS = "0" * 64


def chain(before: str, row: Any) -> str:
    """The hash of a row of ``events`` that follows the hash ``before``."""
    return digest([before, row.seq, row.at, row.incident, row.subject, row.kind, row.actor, row.body])
