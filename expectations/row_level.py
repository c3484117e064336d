"""What a suite asks of every single row, in plain data: the part of it by which rows can be told apart."""

from __future__ import annotations

from typing import Any

from expectations.engine import entries

#: Great Expectations' name -> the kind of a rule on rows.
_KINDS = {
    "expect_column_values_to_not_be_null": "not_null",
    "expect_column_values_to_be_in_set": "in_set",
    "expect_column_values_to_be_between": "between",
    "expect_column_values_to_match_regex": "matches",
}
#: Options that change nothing of what is asked. With any other, the row alone does not tell.
_ASKED = {"column", "value_set", "min_value", "max_value", "regex"}


def row_level(suite: str) -> list[dict[str, Any]]:
    """A rule for each critical expectation that no row may break: ``column``, ``kind`` and what it compares with.

    One that lets some rows through (``mostly``) is none, for no single row of those is wrong.

    Raises:
        CannotValidate: no such suite, or a suite that lost an entry.
    """
    rules = [_rule(entry.configuration.to_json_dict()) for entry in entries(suite)]
    return [rule for rule in rules if rule is not None]


def _rule(config: dict[str, Any]) -> dict[str, Any] | None:
    kind = _KINDS.get(config["type"])
    given = {name: value for name, value in config["kwargs"].items() if value is not None and value is not False}
    if given.get("mostly", 1) == 1:
        given.pop("mostly", None)
    if kind is None or (config.get("severity") or "critical") != "critical" or not set(given) <= _ASKED:
        return None
    low, high, values = given.get("min_value"), given.get("max_value"), given.get("value_set", [])
    comparable = all(isinstance(end, int | float) for end in (low, high) if end is not None)
    if not comparable or not all(isinstance(value, str | int | float) for value in values):
        return None
    told = {"values": values or None, "low": low, "high": high, "pattern": given.get("regex")}
    return {"column": given["column"], "kind": kind, **{name: one for name, one in told.items() if one is not None}}
