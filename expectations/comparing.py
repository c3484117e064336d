"""What an expectation of ``drift`` is compared with, filled in when the suite is run."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from expectations.answers import CannotValidate
from expectations.reference import Reference

#: Makes the reference in the columns named; None where no version was verified good before. Raises CannotValidate where
#: there is one and it can't be read.
ReferenceOf = Callable[[Collection[str]], Reference | None]

#: What helps where the version last verified good tells nothing of what is asked.
_LEAVE_OUT = "leave this expectation out of the suite until a version with {} was verified good"


class _NotYet(Exception):
    """There is nothing yet to compare with; says why."""


@dataclass(frozen=True)
class Prepared:
    """A suite's entries, each with what it compares with filled in."""

    entries: list[Any]
    #: By position why one is not to be asked: there is nothing yet to compare with.
    skipped: dict[int, str]
    #: By position why one can't be evaluated, though there is something to compare with.
    unknown: dict[int, str]
    #: The version that they compare with; None where they compare with none.
    reference: str | None


def prepared(entries: Sequence[Any], reference_of: ReferenceOf | None, moment: datetime, timely: bool) -> Prepared:
    """The entries ready to be asked. A suite that compares nothing costs nothing."""
    reference, fresh = _reference(entries, reference_of), {"moment": moment.isoformat(), "timely": timely}
    ready, skipped, unknown = list(entries), dict[int, str](), dict[int, str]()
    for position, entry in enumerate(entries):
        try:
            given = _given(entry, reference, fresh)
        except _NotYet as why:
            skipped[position] = str(why)
        except CannotValidate as why:
            unknown[position] = str(why)
        else:
            ready[position] = _filled(entry, given) if given else entry
    return Prepared(ready, skipped, unknown, reference.version if isinstance(reference, Reference) else None)


def _reference(entries: Sequence[Any], reference_of: ReferenceOf | None) -> Reference | CannotValidate | None:
    """What the entries are compared with, or why it can't be read: the rest of the suite is asked all the same."""
    if reference_of is None or not any(_compares(entry) in ("column", "rows") for entry in entries):
        return None
    try:
        return reference_of({entry.column for entry in entries if _compares(entry) == "column"})
    except CannotValidate as error:
        return error


def _compares(entry: Any) -> str | None:
    """What an entry is compared with; None for most of them."""
    return getattr(entry, "compares", None)


def _filled(entry: Any, given: dict[str, Any]) -> Any:
    filled = entry.copy(update=given)
    return filled.copy(update={"description": entry.description or filled.says()})


def _given(entry: Any, reference: Reference | CannotValidate | None, fresh: dict[str, Any]) -> dict[str, Any] | None:
    """What is filled into an entry; None into one that compares with nothing.

    Raises:
        CannotValidate: the reference can't be read, or tells nothing of what is asked; says what to change.
    """
    kind = _compares(entry)
    if kind is None:
        return None
    if kind == "moment":
        return fresh
    if reference is None:
        raise _NotYet("no version before it was verified good")
    if isinstance(reference, CannotValidate):
        raise reference
    if kind == "rows":
        if not reference.rows:
            raise CannotValidate(f"{reference.version} has no rows: {_LEAVE_OUT.format('rows')}")
        return {"reference": {"version": reference.version, "rows": reference.rows}}
    spread = reference.columns.get(entry.column)
    if spread is None:
        raise CannotValidate(
            f"{reference.version} has no column {entry.column!r} with numbers, texts or truths in it: "
            f"correct the column's name, or {_LEAVE_OUT.format('such a column')}"
        )
    if spread.present < entry.minimum_rows:
        raise CannotValidate(
            f"{reference.version} has only {spread.present} rows with a value, {entry.minimum_rows} are needed: "
            f"lower minimum_rows, or {_LEAVE_OUT.format('so many')}"
        )
    return {"reference": {"version": reference.version, **spread.model_dump(mode="json")}}
