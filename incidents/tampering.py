"""What was done to a record that is broken: altered, deleted, inserted or reordered, as far as the hashes tell.

An event's hash is made of its number, its columns and the hash before. So where an event does not follow the one before
it, it can be tried out whether it follows with another number, after another event, or whether another event does.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Literal, NamedTuple

from incidents.chain import chain

#: So many events are tried out on either side of the break; what was done to more than that may be told less exactly.
REACH = 1000


class Finding(NamedTuple):
    """Where the record stops being as it was written, and what was done there."""

    seq: int
    kind: Literal["altered", "damaged", "deleted", "inserted", "reordered"]
    why: str

    def __str__(self) -> str:
        return f"event {self.seq}: {self.kind}: {self.why}"


def follows(before: str, seq: int, row: Any) -> bool:
    """Whether a row, had it the number ``seq``, follows the hash ``before``."""
    try:
        return bool(chain(before, (seq, *row[1:])) == row.hash)
    except (TypeError, ValueError):  # a damaged column can come back as bytes, or as text that is not text
        return False


def explain(seq: int, hashes: Sequence[str], rows: Iterable[Any]) -> Finding:
    """Say what was done at number ``seq``, the first that is not as it was written.

    ``hashes`` are those of the events before it, the last of them that of ``seq - 1``, at most ``REACH`` of which are
    looked at; ``rows`` are what stands in the table from there on.
    """
    rows = iter(rows)
    first = next(rows, None)
    if first is None:
        return Finding(seq, "deleted", f"event {seq} is missing")
    if follows(hashes[-1], seq, first):
        return Finding(seq, "altered", f"its number is {first.seq!r} now")
    earlier = (n for n in range(1, min(REACH, len(hashes))) if follows(hashes[-1 - n], seq - n, first))
    extra = next(earlier, 0)
    if extra and first.hash != hashes[-extra]:  # which is no copy of that one
        return Finding(seq - extra, "inserted", f"what was written as event {seq - extra} stands at {seq} now")
    others = [first]
    for place, row in enumerate(rows, start=1):
        if follows(hashes[-1], seq, row):
            return _further_on(seq, place, row, others, rows)
        if place < REACH:
            others.append(row)
    return _nowhere(seq, first, others[1] if len(others) > 1 else None)


def _further_on(seq: int, place: int, found: Any, others: Sequence[Any], rows: Iterator[Any]) -> Finding:
    """What belongs here stands so many rows further on: either more was put before it, or it changed places."""
    before, following = found.hash, seq + 1
    for row in rows:
        if not follows(before, following, row):
            break
        before, following = row.hash, following + 1
    if any(follows(before, following, row) for row in others):
        return Finding(seq, "reordered", f"what was written as event {seq} stands at {found.seq} now")
    between = "an event" if place == 1 else f"{place} events"
    return Finding(
        seq, "inserted", f"{between} before what was written as event {seq}, which stands at {found.seq} now"
    )


def _nowhere(seq: int, first: Any, second: Any) -> Finding:
    """What belongs here is nowhere any more."""
    its_place = second is not None and second.seq == seq + 1
    if not _is_one(first) or (first.seq != seq and its_place):
        return Finding(seq, "altered", "what stands there is no event that was written")
    if first.seq > seq:
        last = first.seq - 1
        return Finding(
            seq, "deleted", f"events {seq} to {last} are missing" if last > seq else f"event {seq} is missing"
        )
    if first.seq < seq:
        return Finding(seq, "inserted", f"an event with the number {first.seq}")
    gone = next((n for n in range(1, REACH) if second is not None and follows(first.hash, seq + 1 + n, second)), 0)
    if gone:
        return Finding(
            seq, "deleted", f"{gone} of the events from {seq} on, and those after them were given new numbers"
        )
    other = f", or event {seq - 1} was exchanged for another" if seq > 1 else ""
    return Finding(seq, "altered", f"it is not as it was written{other}")


def _is_one(row: Any) -> bool:
    """Whether a row looks like an event at all: what a damaged file gives back may not."""
    if not (isinstance(row.seq, int) and isinstance(row.hash, str)):
        return False
    return re.fullmatch("[0-9a-f]{64}", row.hash) is not None
