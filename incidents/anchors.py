"""The chain's head, kept outside of the database, so that a tail that was cut off is found.

A chain that lost its last events is whole in itself. Only somebody who remembers how long it was can tell, and that is
what an anchor is: number and hash of the last event at one moment, kept where whoever changes the database cannot
change it. Anchors in S3 are in ``remediations.anchors``, because this package builds no client of production.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Protocol
from urllib.parse import unquote, urlsplit

from pydantic import AwareDatetime, Field, ValidationError
from sqlalchemy import func, select

from incidents.ledger import Ledger
from incidents.models import Frozen
from incidents.schema import events

#: So many events are looked up at once.
_AT_ONCE = 500


class Anchor(Frozen):
    """The chain's head as it was at one moment."""

    seq: int = Field(ge=1)
    hash: str = Field(pattern=r"^[0-9a-f]{64}$")
    #: When it was anchored.
    at: AwareDatetime


class AnchorsUnreadable(Exception):
    """Where the anchors are kept there is something that is none, and so nothing can be proven by them."""


class AnchorStore(Protocol):
    """A place outside of the database that keeps anchors."""

    @property
    def uri(self) -> str:
        """Where it is, for people."""

    def put(self, anchor: Anchor) -> None:
        """Keep it durably. One that is there already is left as it is; another's is never touched."""

    def all(self) -> list[Anchor]:
        """Every anchor that is kept, the oldest event first.

        Raises:
            AnchorsUnreadable: something there is no anchor.
        """


class AnchorFile:
    """A file with one anchor a line, to which is only ever appended: on another machine's disk, or ``chattr +a``."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.uri = path.absolute().as_uri()

    def put(self, anchor: Anchor) -> None:
        """Append a line, under a lock, and see it onto the disk."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("ab") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            if not any((known.seq, known.hash) == (anchor.seq, anchor.hash) for known in self.all()):
                file.write(anchor.model_dump_json().encode() + b"\n")
                file.flush()
                os.fsync(file.fileno())

    def all(self) -> list[Anchor]:
        """Read the file; there being none is having none."""
        try:
            lines = self.path.read_bytes().splitlines()
        except FileNotFoundError:
            return []
        return sorted((self._anchor(place, line) for place, line in enumerate(lines, 1)), key=lambda one: one.seq)

    def _anchor(self, place: int, line: bytes) -> Anchor:
        try:
            return Anchor.model_validate_json(line)
        except ValidationError:
            raise AnchorsUnreadable(f"{self.path}:{place}: this line is no anchor") from None


def open_file(uri: str) -> AnchorFile | None:
    """The anchors at ``file:///path``; None for another kind of place, which this process cannot reach."""
    parts = urlsplit(uri)
    return AnchorFile(Path(unquote(parts.path))) if parts.scheme == "file" else None


def contradictions(ledger: Ledger, anchors: Iterable[Anchor], place: str) -> list[str]:
    """What the anchors say that the chain does not: a sentence for each range of events; empty where they agree.

    The chain itself must have been found whole, because the hashes are taken from the events as they are stored.
    """
    ordered = sorted(anchors, key=lambda anchor: anchor.seq)
    stored = _hashes(ledger, [anchor.seq for anchor in ordered])
    with ledger.engine.connect() as connection:
        last = connection.scalar(select(func.max(events.c.seq))) or 0
    found: list[str] = []
    agreed = 0
    for anchor in ordered:
        if stored.get(anchor.seq) == anchor.hash:
            agreed = anchor.seq
        elif anchor.seq <= last:
            between = _range(agreed + 1, anchor.seq)
            found.append(f"{between} not those that were anchored at {anchor.at:%Y-%m-%d %H:%M:%S} in {place}")
    if ordered and ordered[-1].seq > last:
        newest = ordered[-1]
        cut = f"{_range(last + 1, newest.seq)} missing: the tail was cut off"
        after = f" somewhere after event {agreed}, the last that an anchor vouches for" if agreed else ""
        found.append(f"{cut}{after}; event {newest.seq} was anchored at {newest.at:%Y-%m-%d %H:%M:%S} in {place}")
    return found


def _hashes(ledger: Ledger, numbers: Sequence[int]) -> dict[int, str]:
    """The stored hashes of these events, of those that there are."""
    found: dict[int, str] = {}
    with ledger.engine.connect() as connection:
        for start in range(0, len(numbers), _AT_ONCE):
            some = select(events.c.seq, events.c.hash).where(events.c.seq.in_(numbers[start : start + _AT_ONCE]))
            found.update((row.seq, row.hash) for row in connection.execute(some))
    return found


def _range(first: int, last: int) -> str:
    return f"event {last} is" if first >= last else f"events {first} to {last} are"
