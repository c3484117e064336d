"""A sample says that it is one, and is never asked what only all rows can tell."""

from __future__ import annotations

import io
import time
from pathlib import Path

import great_expectations.expectations as gxe
import pandas as pd
import pytest
from great_expectations.core import ExpectationSuite
from hypothesis import example, given, settings
from hypothesis import strategies as st
from rich.console import Console

from demo.transactions import generate, write_parquet
from expectations import progress, sampling
from expectations.docs import render
from expectations.engine import Validation, declare, validate
from expectations.parquet import draw, opened
from expectations.transactions import suite
from incidents.models import Health

ROWS = 120_000
WANTED = 30_000


@pytest.fixture(scope="module")
def good() -> pd.DataFrame:
    """Good traffic, more of it than is looked at."""
    return generate(ROWS)


@pytest.fixture(scope="module")
def drawn(good: pd.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """The ids of the rows that a sample of it holds: the place of a row decides, and not what is in it."""
    files = write_parquet(good, tmp_path_factory.mktemp("drawn"))
    with opened(files) as (execution, rows, _), execution.get_connection() as connection:
        assert 0 < draw(execution, files, rows, WANTED) < ROWS
        return {row[0] for row in connection.exec_driver_sql("FROM drawn SELECT transaction_id").fetchall()}


def sampled(frame: pd.DataFrame, folder: Path) -> Validation:
    """The transactions suite on a sample of the frame."""
    return validate("transactions", write_parquet(frame, folder), sample_rows=WANTED)


def test_the_verdict_says_that_it_is_a_sample(good: pd.DataFrame, drawn: set[str], tmp_path: Path) -> None:
    """In its first words, with both numbers, in the evidence, in the stored result and on the page."""
    found = sampled(good, tmp_path)
    assert (found.sampled, found.rows, found.failures) == (len(drawn), ROWS, ())
    words = f"transactions, sampled {len(drawn)} of {ROWS} rows: "
    assert found.verdict.health is Health.healthy
    assert found.verdict.why.startswith(words)
    assert found.verdict.evidence["sampled"] == len(drawn)
    assert words in render(found)
    assert abs(len(drawn) - WANTED) < WANTED / 2


def test_one_version_has_one_sample(good: pd.DataFrame, tmp_path: Path) -> None:
    """Two looks at the same files see the same rows, so that a second look does not disagree by chance."""
    first, second = sampled(good, tmp_path), sampled(good, tmp_path)
    assert first.model_dump(exclude={"result"}) == second.model_dump(exclude={"result"})


def test_a_version_that_is_small_enough_is_no_sample(good: pd.DataFrame, tmp_path: Path) -> None:
    """Nothing is drawn where all rows may be looked at."""
    found = validate("transactions", write_parquet(good, tmp_path), sample_rows=ROWS)
    assert found.sampled is None
    assert "sampled" not in found.verdict.why


def test_a_repeated_id_outside_of_the_sample_is_found(good: pd.DataFrame, drawn: set[str], tmp_path: Path) -> None:
    """Whether a value repeats only all rows can tell, and all are asked."""
    unseen = [row for row, name in enumerate(good.transaction_id) if name not in drawn][:2]
    ids = good.transaction_id.copy()
    ids[unseen[1]] = ids[unseen[0]]
    found = sampled(good.assign(transaction_id=ids), tmp_path)
    assert found.verdict.health is Health.unhealthy
    assert [(one.column, one.unexpected_count) for one in found.failures] == [("transaction_id", 2)]


def test_the_row_count_is_that_of_all_rows(good: pd.DataFrame, tmp_path: Path) -> None:
    """Too few rows are too few however many are drawn, and a sample of few rows is no failure."""
    few = validate("transactions", write_parquet(good.head(9_000), tmp_path / "few"), sample_rows=5_000)
    assert few.sampled is not None
    assert "row count is 9000" in few.verdict.why
    enough = validate("transactions", write_parquet(good.head(20_000), tmp_path / "enough"), sample_rows=4_096)
    assert enough.sampled is not None
    assert enough.sampled < 10_000
    assert not any("row count" in one.observed for one in enough.failures)


def test_bad_rows_in_the_sample_are_told_as_ever(good: pd.DataFrame, drawn: set[str], tmp_path: Path) -> None:
    """A null customer that is drawn makes it unhealthy, and the row is named."""
    row = next(row for row, name in enumerate(good.transaction_id) if name in drawn)
    found = sampled(good.assign(amount=good.amount.mask(good.index == row, -3.0)), tmp_path)
    assert found.verdict.health is Health.unhealthy
    assert [one.sample for one in found.failures if one.column == "amount"] == [(good.transaction_id[row],)]


def test_a_sample_without_rows_is_no_health() -> None:
    """Everything is met by nothing; the verdict does not take that for an answer."""
    empty = Validation(suite="any", rows=10**9, sampled=0, expectations=1, evaluated=1, failures=(), result={})
    assert empty.verdict.health is Health.inconclusive


def test_what_is_not_known_is_asked_of_all_rows() -> None:
    """Only what is on the list goes to the sample: not what counts or compares rows, nor a team's own kind."""

    class ExpectColumnValuesToBeBetweenOurs(gxe.ExpectColumnValuesToBeBetween):  # type: ignore[misc] # GX has no types
        """A kind that Great Expectations does not know."""

    own = ExpectColumnValuesToBeBetweenOurs(column="amount", min_value=0)
    entries = list(suite().expectations)
    declared: ExpectationSuite = declare("any", [own])
    parts = sampling.divided(dict(enumerate([*entries, *declared.expectations])))
    assert len(parts["data"]) + len(parts["drawn"]) == len(entries) + 1
    of_all = {entry.configuration.type for entry in parts["data"].values()}
    assert of_all == {
        "expect_table_columns_to_match_ordered_list",
        "expect_table_row_count_to_be_between",
        "expect_column_values_to_be_unique",
        "expect_column_unique_value_count_to_be_between",
        "unexpected_rows_expectation",
        own.configuration.type,
    }


@given(parts=st.integers(1, 12), wanted=st.integers(1, 20_000))
@example(parts=1, wanted=20_000)  # all of them: the largest hash is drawn too
@settings(max_examples=10, deadline=None)
def test_a_sample_is_some_of_the_rows(tmp_path_factory: pytest.TempPathFactory, parts: int, wanted: int) -> None:
    """Over any number of files: no row twice, none made up, all where all are wanted, and the count is the view's."""
    files = write_parquet(generate(20_000), tmp_path_factory.mktemp("parts"), parts)
    with opened(files) as (execution, rows, _), execution.get_connection() as connection:
        count = draw(execution, files, rows, wanted)
        ids = [row[0] for row in connection.exec_driver_sql("FROM drawn SELECT transaction_id").fetchall()]
        known = {row[0] for row in connection.exec_driver_sql("FROM data SELECT transaction_id").fetchall()}
    assert len(ids) == len(set(ids)) == count <= rows
    assert set(ids) <= known
    assert count == rows or wanted < rows


def test_progress_shows_on_a_terminal_alone(
    good: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once it takes long, a person sees the suite's name and how far it is; a log sees nothing."""
    monkeypatch.setattr(progress, "PATIENCE", 0.0)
    for terminal in (True, False):
        console = Console(file=io.StringIO(), force_terminal=terminal, width=80)
        files = write_parquet(good, tmp_path)
        with opened(files) as (execution, _, _), progress.watched(execution, "transactions", console):
            with execution.get_connection() as connection:
                connection.exec_driver_sql("SELECT count(DISTINCT transaction_id) FROM data").fetchall()
            time.sleep(0.3)
        assert isinstance(console.file, io.StringIO)
        assert ("transactions" in console.file.getvalue()) is terminal
