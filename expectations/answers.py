"""One answer of Great Expectations, read into plain JSON and a few plain words."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Literal

from pydantic import JsonValue

from incidents.models import Frozen

#: A text of a stored answer is cut here: a value can be as long as its sender likes.
_LONGEST_TEXT = 300

#: How a value that breaks the expectation is called; the rest go by the end of their name.
_WRONG = {
    "expect_column_values_to_not_be_null": "null",
    "expect_column_values_to_be_unique": "not unique",
    "expect_column_values_to_be_in_set": "not among the known values",
    "expect_column_values_to_not_be_in_set": "among the refused values",
}


class CannotValidate(Exception):
    """The question could not be asked: no such suite, a broken suite or unreadable files. Says what to do."""


#: How it is said of a time that has not come yet.
AHEAD = "ahead of the clock"


class Failure(Frozen):
    """One expectation that was not met, or that could not be evaluated."""

    #: Great Expectations' own name of it: ``expect_column_values_to_be_between``.
    expectation: str
    #: Empty when it speaks of the whole table.
    column: str
    severity: Literal["critical", "warning", "info"]
    #: Rows against it, and their share in percent; None when it does not speak of single rows.
    unexpected_count: int | None = None
    unexpected_percent: float | None = None
    #: Keys of some rows against it, at most as many as were asked for.
    sample: tuple[str, ...] = ()
    #: What was seen, in a few plain words.
    observed: str = ""
    #: Why it could not be evaluated; empty when it was.
    error: str = ""

    def __str__(self) -> str:
        """Where, and what was seen there."""
        return f"{self.column or 'table'}: {self.error or self.observed}"

    @property
    def badness(self) -> tuple[int, bool, float]:
        """Sorts the worst first: by severity, evaluated ones first, then by the share of rows."""
        order = ("critical", "warning", "info").index(self.severity)
        # A whole column's mean or a missing column concerns every row.
        share = 100.0 if self.unexpected_percent is None else self.unexpected_percent
        return order, bool(self.error), -share


def error_of(result: Any) -> str:
    """Why an expectation could not be evaluated; empty when it was.

    Great Expectations gives either one exception or one for each figure that it could not work out.
    """
    info = result.exception_info or {}
    told = [info] if "raised_exception" in info else [one for one in info.values() if isinstance(one, Mapping)]
    raised = sorted({str(one.get("exception_message")) for one in told if one.get("raised_exception")})
    return " ".join("; ".join(raised).split())[:_LONGEST_TEXT]


def no_answer(entry: Any, why: str) -> Any:
    """Great Expectations' result of an expectation that was not asked: no answer, and the reason."""
    from great_expectations.core import ExpectationValidationResult

    return ExpectationValidationResult(
        success=False,
        expectation_config=entry.configuration,
        exception_info={"raised_exception": True, "exception_message": why, "exception_traceback": ""},
    )


def as_json(result: Any) -> dict[str, Any]:
    """One result as plain JSON: no numpy types, no NaN, no traceback."""
    error = error_of(result)
    config = result.expectation_config.to_json_dict()
    config["kwargs"].pop("batch_id", None)  # there is one batch, and its id says nothing
    if isinstance(reference := config["kwargs"].get("reference"), Mapping):
        config["kwargs"]["reference"] = {"version": reference.get("version")}  # its bins are long, and on file
    return {
        "success": bool(result.success),
        "expectation_config": _plain({key: config[key] for key in config if key != "id"}),
        "result": _plain(result.result or {}),
        "meta": {},
        "exception_info": {
            "raised_exception": bool(error),
            "exception_message": error or None,
            "exception_traceback": "",
        },
    }


def shortened(answer: Mapping[str, Any], longest: int) -> dict[str, JsonValue]:
    """The same answer to be kept: no list of what was seen over ``longest``, and no long text."""
    return {**answer, "result": _plain(answer["result"], longest)}


def failure(answer: Mapping[str, Any], key: str, sample: int) -> Failure:
    """Read one unsuccessful answer, as ``as_json`` left it; ``key`` is the column that names a row."""
    config, result = answer["expectation_config"], answer["result"]
    rows = result.get("partial_unexpected_index_list") or result.get("details", {}).get("unexpected_rows") or []
    # Without a percentage it counts distinct values or the like, and not rows.
    count = result.get("unexpected_count") if "unexpected_percent" in result else None
    if config["type"] == "unexpected_rows_expectation":
        count = result.get("observed_value")
    error = answer["exception_info"]["exception_message"] or ""
    return Failure(
        expectation=config["type"],
        column=config["kwargs"].get("column", ""),
        severity=config.get("severity") or "critical",
        unexpected_count=count,
        unexpected_percent=result.get("unexpected_percent"),
        sample=tuple(str(row[key]) for row in rows if isinstance(row, Mapping) and key in row)[:sample],
        observed="" if error else _observed(config, result),
        error=error,
    )


def _observed(config: Mapping[str, Any], result: Mapping[str, Any]) -> str:
    """What was seen, next to what was expected."""
    kind, kwargs, seen = config["type"], config["kwargs"], result.get("observed_value")
    # expect_column_median_to_be_between speaks of a median that is to be between.
    figure, _, wanted = kind.removeprefix("expect_").removeprefix("column_").replace("_", " ").partition(" to ")
    span = _span(kwargs.get("min_value"), kwargs.get("max_value"))
    if not result:
        return f"{figure} not to {wanted}"
    if kind == "unexpected_rows_expectation":
        return f"{seen} rows against: {config.get('description') or kwargs['unexpected_rows_query']}"
    if "unexpected_percent" in result:
        wrong = _WRONG.get(kind) or (f"outside {span}" if span else f"not to {wanted}")
        if config.get("description"):
            wrong = f"against: {config['description']}"
        values = dict.fromkeys(str(one) for one in result.get("partial_unexpected_list", []) if one is not None)
        examples = ", ".join(value[:40] for value in list(values)[:3])
        return f"{result['unexpected_percent'] or 0:.3g}% {wrong}" + (f", such as {examples}" if examples else "")
    if isinstance(columns := kwargs.get("column_list") or kwargs.get("column_set"), list) and seen:
        missing, new = set(columns) - set(seen), set(seen) - set(columns)
        gone = [f"missing {', '.join(sorted(missing))}"] if missing else []
        came = [f"unknown {', '.join(sorted(new))}"] if new else []
        return ", ".join(gone + came) or "the columns are in another order"
    if isinstance(seen, Mapping) and "quantile_ranges" in kwargs:
        ranges = kwargs["quantile_ranges"]["value_ranges"]
        parts = zip(seen["quantiles"], seen["values"], ranges, result["details"]["success_details"], strict=True)
        return ", ".join(
            f"quantile {share} is {_number(value)} instead of {_span(*between)}"
            for share, value, between, met in parts
            if not met
        )
    if "threshold" in kwargs and "reference" in (result.get("details") or {}):
        return f"{figure} is {_number(seen)}, above {_number(kwargs['threshold'])}{_against(result['details'])}"
    if "hours" in kwargs:
        if seen is not None and seen < 0:
            return f"the newest is {-seen:.1f} hours {AHEAD}"
        return f"the newest is {seen:.1f} hours old instead of at most {_number(kwargs['hours'])}"
    if "rows_of_reference" in (details := result.get("details") or {}):
        before = f"{details['rows_of_reference']} of {details['reference']}"
        return f"{details['rows']} rows are {_number(seen)} times the {before}"
    return f"{figure} is {_number(seen)} instead of {span or wanted}"


def _against(details: Mapping[str, Any]) -> str:
    """What it was compared with, and where it changed most."""
    changed = [f"{one['bin']} from {one['reference']:.1%} to {one['seen']:.1%}" for one in details.get("changed", [])]
    return f", against {details['reference']}" + (f": {'; '.join(changed)}" if changed else "")


def _span(low: Any, high: Any) -> str:
    """A range in words: ``0.01..25000``, ``at least 5``, or nothing when it has no ends."""
    if low is None and high is None:
        return ""
    if low is None or high is None:
        return f"at most {_number(high)}" if low is None else f"at least {_number(low)}"
    return f"{_number(low)}..{_number(high)}"


def _number(value: Any) -> str:
    """A number without a tail of zeros; anything else as it is."""
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _plain(value: Any, longest: int | None = None) -> JsonValue:
    """The same value in JSON's own types; lists and texts are cut when ``longest`` is given."""
    value = value.item() if hasattr(value, "item") else value
    if isinstance(value, Mapping):
        return {str(key): _plain(one, longest) for key, one in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(one, longest) for one in list(value)[:longest]]
    if value is None or isinstance(value, bool | int) or (isinstance(value, float) and math.isfinite(value)):
        return value
    return str(value) if longest is None else str(value)[:_LONGEST_TEXT]
