"""The quick way of asking gives the answers of the plain way, whatever the data."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import great_expectations.expectations as gxe
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from great_expectations.expectations.row_conditions import Column
from hypothesis import given, settings
from hypothesis import strategies as st

from demo.transactions import break_feed, generate, write_parquet
from expectations import asking, figures
from expectations.answers import as_json
from expectations.engine import validate
from expectations.parquet import opened

SCHEMA = pa.schema(
    [
        ("id", pa.int64()),
        ("text", pa.string()),
        ("number", pa.float64()),
        ("whole", pa.int64()),
        ("flag", pa.bool_()),
        ("time", pa.timestamp("us", tz="UTC")),
    ]
)
RANGES: list[dict[str, Any]] = [
    {"min_value": 0, "max_value": 10},
    {"min_value": 0, "max_value": 10, "strict_min": True, "mostly": 0.5},
    {"max_value": 0, "strict_max": True},
]
SETS: list[dict[str, Any]] = [
    {"column": "text", "value_set": ["a", "b"]},
    {"column": "text", "value_set": ["a", None]},
    {"column": "text", "value_set": ["it's", "a"], "mostly": 0.5},
    {"column": "whole", "value_set": [0, 1, 2]},
    {"column": "number", "value_set": [0.0, float("inf")]},
    {"column": "flag", "value_set": [True]},
    {"column": "time", "value_set": [datetime(2026, 1, 1, tzinfo=UTC)]},
]
AVERAGES = [
    gxe.ExpectColumnMeanToBeBetween,
    gxe.ExpectColumnStdevToBeBetween,
    gxe.ExpectColumnSumToBeBetween,
    gxe.ExpectColumnMinToBeBetween,
    gxe.ExpectColumnMaxToBeBetween,
    gxe.ExpectColumnMedianToBeBetween,
]
COUNTS = [gxe.ExpectColumnUniqueValueCountToBeBetween, gxe.ExpectColumnProportionOfUniqueValuesToBeBetween]
ROWS = "SELECT id FROM {batch} WHERE whole > 5"
NEW_YEAR = datetime(2026, 1, 1, tzinfo=UTC)


def sensible() -> list[Any]:
    """Much of what a suite may say of these columns: some that the quick way knows, and some that it does not."""
    columns, numbers = SCHEMA.names, ("number", "whole")
    shares = {"quantiles": [0, 0.1, 0.5, 1], "value_ranges": [[0, 1]] * 4}
    return [
        gxe.ExpectTableColumnsToMatchOrderedList(column_list=columns),
        gxe.ExpectTableColumnsToMatchSet(column_set=columns),
        gxe.ExpectTableColumnCountToEqual(value=6),
        gxe.ExpectTableRowCountToBeBetween(min_value=1, max_value=20),
        gxe.UnexpectedRowsExpectation(unexpected_rows_query=ROWS, description="no large ones"),
        *(gxe.ExpectColumnValuesToNotBeNull(column=column, mostly=0.7) for column in columns),
        *(gxe.ExpectColumnValuesToBeNull(column=column, mostly=0.5) for column in columns),
        *(gxe.ExpectColumnValuesToBeUnique(column=column) for column in columns),
        gxe.ExpectColumnValuesToBeUnique(column="text", mostly=0.5),
        *(gxe.ExpectColumnValuesToBeBetween(column=column, **ends) for column in numbers for ends in RANGES),
        gxe.ExpectColumnValuesToBeBetween(column="time", min_value="2025-12-01", max_value="2026-02-01"),
        gxe.ExpectColumnValuesToBeBetween(column="time", max_value=NEW_YEAR, strict_max=True),
        gxe.ExpectColumnValuesToBeBetween(column="number", min_value=0, row_condition=Column("whole") > 1),
        *(gxe.ExpectColumnValuesToBeInSet(**known) for known in SETS),
        *(gxe.ExpectColumnValuesToNotBeInSet(**known) for known in SETS),
        *(kind(column=column, min_value=0, max_value=5) for kind in AVERAGES for column in numbers),
        *(kind(column=column, min_value=0, max_value=5) for kind in COUNTS for column in columns),
        gxe.ExpectColumnMaxToBeBetween(column="time", min_value=NEW_YEAR),
        gxe.ExpectColumnQuantileValuesToBeBetween(column="number", quantile_ranges=shares),
        gxe.ExpectColumnQuantileValuesToBeBetween(column="whole", quantile_ranges=shares),
    ]


def senseless() -> list[Any]:
    """What a suite may say of a column that is of another type than its author thought."""
    return [
        *(gxe.ExpectColumnValuesToBeBetween(column=column, min_value=0) for column in ("text", "flag", "time")),
        gxe.ExpectColumnValuesToBeBetween(column="number", min_value="2026-01-01"),
        *(kind(column=column, min_value=0) for kind in AVERAGES for column in ("text", "flag", "time")),
        gxe.ExpectColumnValuesToBeInSet(column="text", value_set=[1, 2]),
        gxe.ExpectColumnValuesToBeInSet(column="text", value_set=[]),
        gxe.ExpectColumnValuesToNotBeInSet(column="whole", value_set=["a"]),
        gxe.ExpectColumnValuesToNotBeInSet(column="whole", value_set=[]),
    ]


def rows() -> st.SearchStrategy[list[dict[str, Any]]]:
    """Rows with all that makes trouble: nulls, repeats, not a number, both zeros, infinity, values out of range."""
    number = st.sampled_from([None, float("nan"), 0.0, -0.0, 1.5, 1.5, 10.0, float("inf"), -3.25])
    row = st.fixed_dictionaries(
        {
            "id": st.integers(0, 60),
            "text": st.sampled_from([None, "", "a", "b", "it's", "é", "1"]),
            "number": number,
            "whole": st.sampled_from([None, 0, 1, 2, 7, -5, 2**62]),
            "flag": st.sampled_from([None, True, False]),
            "time": st.sampled_from([None, datetime(2026, 1, 1, tzinfo=UTC), datetime(2025, 6, 1, 12, tzinfo=UTC)]),
        }
    )
    return st.lists(row, max_size=30)


def told(files: list[Path], entries: list[Any]) -> list[dict[str, Any]]:
    """Every entry's result as it is stored."""
    with opened(files) as (execution, _, columns):
        keys = ["id"] if "id" in columns else []
        answers = asking.ask(execution, "data", dict(enumerate(entries)), sample=100, keys=keys)
    assert list(answers) == list(range(len(entries)))
    plain = [as_json(answer) for answer in answers.values()]
    for one in plain:  # the words of an error hold addresses and whole statements
        one["exception_info"] = one["exception_info"]["raised_exception"]
        if isinstance(seen := one["result"].get("observed_value"), float):  # threads sum in any order
            one["result"]["observed_value"] = float(f"{seen:.12g}")
        for listed in [value for value in one["result"].values() if isinstance(value, list)]:
            listed.sort(key=repr)  # and list in any order
    return plain


def told_plainly(files: list[Path], entries: list[Any]) -> list[dict[str, Any]]:
    """The same with no figure to be had."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(figures, "answers", lambda *_: {})
        return told(files, entries)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the files of this module lie."""
    return tmp_path_factory.mktemp("figures")


@given(content=rows(), cut=st.integers(0, 30), gone=st.sets(st.sampled_from(SCHEMA.names), max_size=2))
@settings(max_examples=10, deadline=None)
def test_the_quick_way_and_the_plain_way_agree(
    folder: Path, content: list[dict[str, Any]], cut: int, gone: set[str]
) -> None:
    """For any rows in two files, empty ones and missing columns too: each result is the same to the last figure."""
    table = pa.Table.from_pylist(content, schema=SCHEMA).drop_columns(sorted(gone))
    files = [folder / "0.parquet", folder / "1.parquet"]
    pq.write_table(table.slice(0, cut), files[0])
    pq.write_table(table.slice(cut), files[1])
    entries = sensible()
    for quick, plain in zip(told(files, entries), told_plainly(files, entries), strict=True):
        assert quick == plain


def test_what_makes_no_sense_has_the_same_answer(folder: Path) -> None:
    """Each asked alone: no answer in the one way is no answer in the other, and an answer is the same."""
    content = [{"id": 1, "text": "a", "number": 1.5, "whole": 2, "flag": True, "time": NEW_YEAR}]
    pq.write_table(pa.Table.from_pylist(content * 3, schema=SCHEMA), folder / "odd.parquet")
    for entry in senseless():
        files = [folder / "odd.parquet"]
        assert told(files, [entry]) == told_plainly(files, [entry])


def test_the_transactions_suite_goes_the_quick_way(folder: Path) -> None:
    """Of good data only the two rules in SQL are left to the plain way; of broken data, what is not met."""
    asked: list[int] = []
    plain = asking.Plain.ask

    def noted(self: asking.Plain, positions: list[int], result_format: dict[str, Any]) -> asking.Results:
        asked.extend(positions)
        return plain(self, positions, result_format)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(asking.Plain, "ask", noted)
        good = validate("transactions", write_parquet(generate(12_000), folder / "good"))
        assert (good.failures, len(asked)) == ((), 2)
        asked.clear()
        bad = validate("transactions", write_parquet(break_feed(generate(12_000)), folder / "bad"))
        assert len(asked) == 2 + sum(one.unexpected_percent is not None for one in bad.failures)


def test_one_impossible_figure_spoils_no_other(folder: Path) -> None:
    """DuckDB refuses to compare numbers with days; the mean from the same statement is told all the same."""
    pq.write_table(pa.table({"id": [1, 2, 3]}), folder / "ids.parquet")
    days = gxe.ExpectColumnValuesToBeBetween(column="id", min_value=NEW_YEAR)
    mean = gxe.ExpectColumnMeanToBeBetween(column="id", min_value=1, max_value=3)
    first, second = told([folder / "ids.parquet"], [days, mean])
    assert first["exception_info"]
    assert (second["success"], second["result"]) == (True, {"observed_value": 2.0})
    with opened([folder / "ids.parquet"]) as (execution, _, _):
        needs = [entry.get_validation_dependencies(execution).get_metric_configurations() for entry in (days, mean)]
        known = figures.answers(execution, "data", [*needs[0], *needs[1]])
    assert needs[1][0].id in known


@pytest.mark.parametrize("keep", [True, False], ids=["quick", "plain"])
def test_not_a_number_is_out_of_every_range(folder: Path, keep: bool) -> None:
    """Parquet's own ranges do not know of it and DuckDB trusts them; in neither way may it pass for a good value."""
    pq.write_table(pa.table({"id": [1, 2], "x": [0.5, float("nan")]}), folder / "nan.parquet")
    entries = [
        gxe.ExpectColumnValuesToBeBetween(column="x", min_value=0, max_value=1),
        gxe.ExpectColumnValuesToBeInSet(column="x", value_set=[0.5]),
        gxe.UnexpectedRowsExpectation(
            unexpected_rows_query="SELECT id FROM {batch} WHERE NOT (x >= 0 AND x <= 1)", description="in range"
        ),
    ]
    between, known, query = (told if keep else told_plainly)([folder / "nan.parquet"], entries)
    assert [one["result"]["partial_unexpected_index_list"] for one in (between, known)] == [[{"id": 2, "x": "nan"}]] * 2
    assert query["result"]["observed_value"] == 1
