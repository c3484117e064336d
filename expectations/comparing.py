"""What an expectation of ``drift`` is compared with, filled in when the suite is run."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from datetime import datetime
from typing import Any

from expectations.reference import Reference

#: Makes the reference in the columns named; None where no version was verified good before.
ReferenceOf = Callable[[Collection[str]], Reference | None]


def prepared(
    entries: Sequence[Any], reference_of: ReferenceOf | None, moment: datetime | None
) -> tuple[list[Any], dict[int, str], str | None]:
    """The entries ready to be asked, by position why one is not to be asked, and the version that they compare with.

    A suite that compares nothing costs nothing.
    """
    columns = {entry.column for entry in entries if _compares(entry) == "column"}
    reference = None
    if reference_of is not None and any(_compares(entry) in ("column", "rows") for entry in entries):
        reference = reference_of(columns)
    ready, skipped = [], dict[int, str]()
    for position, entry in enumerate(entries):
        given = _given(entry, reference, moment)
        if isinstance(given, str):
            skipped[position] = given
        ready.append(_filled(entry, given) if isinstance(given, dict) else entry)
    return ready, skipped, reference.version if reference else None


def _compares(entry: Any) -> str | None:
    """What an entry is compared with; None for most of them."""
    return getattr(entry, "compares", None)


def _filled(entry: Any, given: dict[str, Any]) -> Any:
    filled = entry.copy(update=given)
    return filled.copy(update={"description": entry.description or filled.says()})


def _given(entry: Any, reference: Reference | None, moment: datetime | None) -> dict[str, Any] | str | None:
    """What is filled into an entry, or why it is not to be asked."""
    kind = _compares(entry)
    if kind is None:
        return None
    if kind == "moment":
        return {"moment": moment.isoformat()} if moment else "how old it is says nothing against an earlier version"
    if reference is None:
        return "no version before it was verified good"
    if kind == "rows":
        told = {"version": reference.version, "rows": reference.rows}
        return {"reference": told} if reference.rows else f"{reference.version} has no rows"
    spread = reference.columns.get(entry.column)
    if spread is None:
        return f"{reference.version} has no such column with values that can be put into bins"
    if spread.present < entry.minimum_rows:
        return f"{reference.version} has only {spread.present} rows with a value, {entry.minimum_rows} are needed"
    return {"reference": {"version": reference.version, **spread.model_dump(mode="json")}}
