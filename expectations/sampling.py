"""What a sample of the rows can answer, and what only all of them can."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

#: About single rows, or about an average or a share that some of the rows have much like all of them. Whatever is not
#: here (whether a value repeats, how many rows or values there are, the smallest, a sum, a query) needs every row.
OF_A_SAMPLE = frozenset(
    f"expect_column_{kind}"
    for kind in (
        "values_to_be_null",
        "values_to_not_be_null",
        "values_to_be_between",
        "values_to_be_in_set",
        "values_to_not_be_in_set",
        "value_lengths_to_be_between",
        "value_lengths_to_equal",
        "values_to_match_regex",
        "values_to_not_match_regex",
        "values_to_match_like_pattern",
        "values_to_not_match_like_pattern",
        "pair_values_to_be_equal",
        "pair_values_a_to_be_greater_than_b",
        "mean_to_be_between",
        "median_to_be_between",
        "stdev_to_be_between",
        "quantile_values_to_be_between",
        "proportion_of_non_null_values_to_be_between",
        "psi_to_be_less_than",
        "ks_to_be_less_than",
        "kl_to_be_less_than",
    )
)


def divided(entries: Mapping[int, Any]) -> Mapping[str, Mapping[int, Any]]:
    """The entries by the view that each is asked of: ``data`` has all rows, ``drawn`` the sample."""
    parts: dict[str, dict[int, Any]] = {"data": {}, "drawn": {}}
    for position, entry in entries.items():
        parts["drawn" if _type(entry) in OF_A_SAMPLE else "data"][position] = entry
    return parts


def _type(entry: Any) -> str:
    """Great Expectations' name of it. A team's own subclass has another, and is asked of all rows."""
    return str(entry.configuration.type)
