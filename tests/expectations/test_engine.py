"""The engine: what it counts, what it refuses, and what it makes of an answer that it did not get."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import pytest
from great_expectations.core import ExpectationValidationResult
from great_expectations.expectations.expectation_configuration import ExpectationConfiguration
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy.exc import DBAPIError

import expectations
from expectations.answers import Failure, as_json
from expectations.engine import CannotValidate, Validation, validate
from expectations.parquet import opened
from incidents.models import Health, canonical

Suites = Callable[..., str]
Files = Callable[..., list[Path]]

HEAD = """
import great_expectations as gx
import great_expectations.expectations as gxe
from expectations.engine import declare
NAME = "tiny"
KEY = "id"
"""


@pytest.fixture(scope="module")
def suites(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Suites]:
    """Write suite modules to disk, where the engine finds them beside the real ones."""
    folder = tmp_path_factory.mktemp("suites")
    written: list[str] = []

    def write(*entries: str, returns: str = "declare(NAME, [{}])", name: str = "") -> str:
        name = name or f"tiny_{len(written)}"
        body = f"\n\ndef suite():\n    return {returns.format(', '.join(entries))}\n"
        (folder / f"{name}.py").write_text(HEAD + body)
        written.append(name)
        return name

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(expectations, "__path__", [*expectations.__path__, str(folder)])
        yield write
    for name in written:
        sys.modules.pop(f"expectations.{name}", None)


@pytest.fixture
def files(tmp_path: Path) -> Files:
    """Write each set of columns as one Parquet file."""

    def write(*parts: dict[str, Any]) -> list[Path]:
        paths = []
        for number, columns in enumerate(parts):
            path = tmp_path / f"{number}.parquet"
            pd.DataFrame(columns).to_parquet(path)
            paths.append(path)
        return paths

    return write


GOOD = {"id": ["a", "b", "c"], "amount": [1.0, 2.0, 3.0], "kind": ["x", "y", "x"]}
IN_RANGE = 'gxe.ExpectColumnValuesToBeBetween(column="amount", min_value=0, max_value=10)'
KNOWN = 'gxe.ExpectColumnValuesToBeInSet(column="kind", value_set=["x", "y"])'


def test_good_data_is_healthy(suites: Suites, files: Files) -> None:
    """Every expectation met, every one evaluated: healthy."""
    found = validate(suites(IN_RANGE, KNOWN), files(GOOD))
    assert (found.rows, found.expectations, found.evaluated, found.failures) == (3, 2, 2, ())
    assert found.verdict.health is Health.healthy


def test_files_are_one_version(suites: Suites, files: Files) -> None:
    """Rows of all files are counted together, and a bad row in the last file is found."""
    found = validate(suites(IN_RANGE), files(GOOD, {**GOOD, "id": ["d", "e", "f"], "amount": [1, 2, 99]}))
    assert found.rows == 6
    assert [(one.unexpected_count, one.sample) for one in found.failures] == [(1, ("f",))]


def test_one_planted_row_is_named(suites: Suites, files: Files) -> None:
    """The key of the one bad row among a thousand is in the sample, and the sentence says where and what."""
    amounts = [1.0] * 1_000
    amounts[617] = 31.5
    found = validate(suites(IN_RANGE), files({"id": [f"row-{number}" for number in range(1_000)], "amount": amounts}))
    assert found.failures[0].sample == ("row-617",)
    assert "amount: 0.1% outside 0..10, such as 31.5" in found.verdict.why


@pytest.mark.parametrize("sample", [0, 3, 20])
def test_the_sample_is_bounded(suites: Suites, files: Files, sample: int) -> None:
    """As many keys as were asked for, although every row is bad, and the count is still the true one."""
    bad = {"id": [str(number) for number in range(500)], "amount": [-1.0] * 500}
    negative = 'gxe.UnexpectedRowsExpectation(unexpected_rows_query="FROM {batch} SELECT id WHERE amount < 0")'
    found = validate(suites(IN_RANGE, negative), files(bad), sample=sample)
    assert len(found.failures) == 2
    for one in found.failures:
        assert one.unexpected_count == 500
        assert len(one.sample) == len(set(one.sample)) == sample


def test_the_stored_result_stays_small(suites: Suites, files: Files) -> None:
    """Ten thousand bad rows, long texts and many distinct values do not make the record of it any longer."""
    bad = {
        "id": [str(number) for number in range(10_000)],
        "amount": [-1.0] * 10_000,
        "kind": [f"{number}" * 200 for number in range(10_000)],
    }
    rows = 'gxe.UnexpectedRowsExpectation(unexpected_rows_query="SELECT * FROM {batch}", description="no rows")'
    many = 'gxe.ExpectColumnDistinctValuesToBeInSet(column="kind", value_set=["x"])'
    found = validate(suites(IN_RANGE, KNOWN, rows, many), files(bad))
    assert len(found.failures) == 4
    answers = found.model_dump(mode="json")["result"]["results"]
    assert max(longest([answer["result"] for answer in answers])) == 50
    assert len(json.dumps(answers)) < 100_000
    assert len(canonical(found.verdict.evidence)) < 20_000


def longest(value: Any) -> Iterator[int]:
    """The length of every list in JSON."""
    if isinstance(value, list):
        yield len(value)
    for one in value.values() if isinstance(value, dict) else value if isinstance(value, list) else []:
        yield from longest(one)


finite = st.floats(-50, 50) | st.none() | st.just(float("inf"))


@given(rows=st.lists(st.tuples(finite, st.sampled_from(["x", "y", "z", None])), min_size=1, max_size=40))
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_counts_are_those_of_plain_sql(
    suites: Suites, tmp_path: Path, rows: list[tuple[float | None, str | None]]
) -> None:
    """For any data, the counts are what DuckDB counts when it is asked directly."""
    frame = pd.DataFrame(
        {
            "id": [str(number % 30) for number in range(len(rows))],
            "amount": pd.array([amount for amount, _ in rows], dtype="Float64"),
            "kind": pd.array([kind for _, kind in rows], dtype="string"),
        }
    )
    path = tmp_path / "any.parquet"
    frame.to_parquet(path)
    suite = suites(
        IN_RANGE,
        KNOWN,
        'gxe.ExpectColumnValuesToNotBeNull(column="amount")',
        'gxe.ExpectColumnValuesToBeUnique(column="id")',
        name="tiny_counts",
    )
    found = validate(suite, [path])
    with duckdb.connect() as plain:
        counted = plain.execute(
            f"""
            SELECT count(*) FILTER (NOT (amount BETWEEN 0 AND 10)),
                   count(*) FILTER (kind NOT IN ('x', 'y')),
                   count(*) FILTER (amount IS NULL),
                   (SELECT coalesce(sum(n), 0) FROM (SELECT count(*) AS n FROM '{path}' GROUP BY id) WHERE n > 1)
            FROM '{path}'
            """
        ).fetchone()
    assert counted is not None
    order = ["_be_between", "_be_in_set", "_not_be_null", "_be_unique"]
    seen = {one.expectation: one.unexpected_count for one in found.failures}
    for ending, count in zip(order, counted, strict=True):
        got = [number for name, number in seen.items() if name.endswith(ending)]
        assert got == ([count] if count else [])
    assert found.rows == len(rows)
    assert found.evaluated == 4


def test_the_result_is_plain_json(suites: Suites, files: Files) -> None:
    """Not a number, infinity, times and numpy's own truth values all end as what JSON knows."""
    odd = {
        "id": ["a", "b", "c"],
        "amount": [float("nan"), float("inf"), 1.0],
        "kind": pd.to_datetime(["2026-01-01"] * 3, utc=True),
    }
    path = files(odd)[0]
    with duckdb.connect() as plain:  # pandas would write NaN as null
        plain.execute(
            f"COPY (SELECT * REPLACE (CASE id WHEN 'a' THEN 'nan'::DOUBLE ELSE amount END AS amount) FROM '{path}') "
            f"TO '{path.with_name('nan.parquet')}'"
        )
    found = validate(
        suites(
            IN_RANGE,
            'gxe.ExpectColumnMeanToBeBetween(column="amount", min_value=0, max_value=1)',
            'gxe.ExpectColumnQuantileValuesToBeBetween(column="amount", '
            'quantile_ranges={"quantiles": [0.5], "value_ranges": [[50, 60]]})',
            'gxe.ExpectColumnValuesToBeBetween(column="kind", max_value="2025-01-01")',
        ),
        [path.with_name("nan.parquet")],
    )
    assert len(found.failures) == 4
    text = json.dumps(found.model_dump(mode="json"), allow_nan=False)
    assert Validation.model_validate_json(text) == found
    assert canonical(found.verdict.evidence)


def test_numpy_values_become_plain_ones() -> None:
    """Great Expectations gives numpy's truth values and numbers as they come; JSON gets its own."""
    config = ExpectationConfiguration(type="expect_column_mean_to_be_between", kwargs={"column": "amount"})
    seen = {"observed_value": np.int64(3), "details": {"met": np.bool(False), "share": np.float64("nan")}}
    answer = as_json(ExpectationValidationResult(success=np.bool(False), expectation_config=config, result=seen))
    assert answer["success"] is False
    assert json.dumps(answer["result"]) == '{"observed_value": 3, "details": {"met": false, "share": "nan"}}'


def test_no_rows_is_inconclusive(suites: Suites, files: Files) -> None:
    """An empty file meets every expectation about rows, and still says nothing about health."""
    empty = {name: pd.Series(values).iloc[:0] for name, values in GOOD.items()}
    found = validate(suites(IN_RANGE, KNOWN), files(empty))
    assert found.rows == 0
    assert found.verdict.health is Health.inconclusive
    assert "no rows" in found.verdict.why


def test_a_suite_of_nothing_is_inconclusive(suites: Suites, files: Files) -> None:
    """Great Expectations calls an empty suite a success; nobody asked anything, so nobody knows."""
    found = validate(suites(), files(GOOD))
    assert (found.evaluated, found.verdict.health) == (0, Health.inconclusive)


def test_a_column_that_is_not_there_is_no_answer(suites: Suites, files: Files) -> None:
    """What could not be evaluated is not bad data: inconclusive, and the column is named."""
    found = validate(suites(IN_RANGE, KNOWN), files({"id": ["a"], "kind": ["x"]}))
    assert (found.expectations, found.evaluated) == (2, 1)
    assert found.verdict.health is Health.inconclusive
    assert "amount" in found.verdict.why


def test_a_missing_column_is_bad_where_the_suite_lists_columns(suites: Suites, files: Files) -> None:
    """With the columns listed there is an answer, and it is unhealthy; the other error does not cover it."""
    listed = 'gxe.ExpectTableColumnsToMatchSet(column_set=["id", "amount", "kind"])'
    found = validate(suites(IN_RANGE, listed), files({"id": ["a"], "kind": ["x"]}))
    assert found.verdict.health is Health.unhealthy
    assert "missing amount" in found.verdict.why


def test_a_column_that_one_file_lacks_is_found(suites: Suites, files: Files) -> None:
    """Files are matched by column name, so the rows of the narrow file count as null."""
    found = validate(
        suites('gxe.ExpectColumnValuesToNotBeNull(column="amount")'), files(GOOD, {"id": ["d"], "kind": ["x"]})
    )
    assert [(one.unexpected_count, one.sample) for one in found.failures] == [(1, ("d",))]


def test_a_column_that_one_file_adds_is_found(suites: Suites, files: Files) -> None:
    """A new column in the last file alone is seen by the expectation on columns."""
    listed = 'gxe.ExpectTableColumnsToMatchOrderedList(column_list=["id", "amount", "kind"])'
    found = validate(suites(listed), files(GOOD, {**GOOD, "extra": [1, 2, 3]}))
    assert "unknown extra" in found.verdict.why


def test_an_error_in_one_column_hides_no_other(suites: Suites, files: Files) -> None:
    """DuckDB stops in the middle of a column of wrong type, and the failure of another column is still found."""
    found = validate(
        suites(
            IN_RANGE,
            'gxe.ExpectColumnMeanToBeBetween(column="amount", max_value=5)',
            'gxe.ExpectColumnMedianToBeBetween(column="gone", max_value=5)',
            'gxe.UnexpectedRowsExpectation(unexpected_rows_query="SELECT nowhere FROM {batch}", description="none")',
            'gxe.ExpectColumnUniqueValueCountToBeBetween(column="id", max_value=1)',
            'gxe.ExpectColumnQuantileValuesToBeBetween(column="size", '
            'quantile_ranges={"quantiles": [0.5], "value_ranges": [[50, 60]]})',
            KNOWN,
        ),
        files({"id": ["a", "b"], "amount": ["1", "many"], "size": [1.0, 2.0], "kind": ["x", "new"]}),
    )
    assert found.verdict.health is Health.unhealthy
    assert {one.column for one in found.failures if not one.error} == {"kind", "id", "size"}
    assert [one.column for one in found.failures if one.error].count("amount") == 2
    assert found.evaluated == 3


def test_two_connections_have_two_transactions(files: Files) -> None:
    """Great Expectations looks at columns over a connection of its own; an error on ours must not meet that one."""
    with opened(files(GOOD)) as (execution, rows, columns), execution.engine.connect() as other:
        other.exec_driver_sql("SELECT 1")  # leaves its transaction open
        with pytest.raises(DBAPIError, match="Could not convert"), execution.get_connection() as ours:
            ours.exec_driver_sql("SELECT kind::INT FROM data").fetchall()
        with execution.get_connection() as ours:
            assert ours.exec_driver_sql("SELECT count(*) FROM data").scalar_one() == rows == 3
        assert columns == list(GOOD)


def test_without_its_key_the_data_is_still_judged(suites: Suites, files: Files) -> None:
    """No column to name rows by: no sample, and the failure and its count stand."""
    found = validate(suites(IN_RANGE), files({"amount": [1.0, 99.0]}))
    assert found.verdict.health is Health.unhealthy
    assert (found.failures[0].unexpected_count, found.failures[0].sample) == (1, ())


def test_a_warning_alone_is_healthy_and_told(suites: Suites, files: Files) -> None:
    """What is not critical does not make an incident, and is not kept quiet either."""
    mild = KNOWN.replace("value_set", 'severity="warning", value_set')
    found = validate(suites(IN_RANGE, mild), files({**GOOD, "kind": ["x", "x", "new"]}))
    assert found.verdict.health is Health.healthy
    assert "such as new" in found.verdict.why
    assert found.failures[0].severity == "warning"


def test_an_entry_of_another_kind_is_refused(suites: Suites, files: Files) -> None:
    """Great Expectations logs and drops an entry that it can't read; here the whole suite is refused."""
    bad = '{"type": "expect_column_values_to_be_betwen", "kwargs": {}}'
    with pytest.raises(CannotValidate, match=r"entry 1 .* is dict"):
        validate(suites(IN_RANGE, bad), files(GOOD))


@pytest.mark.parametrize(
    "returns",
    [
        'gx.ExpectationSuite(NAME, expectations=[{}, {{"type": "expect_column_mean_to_be_betwen", "kwargs": {{}}}}])',
        "gx.ExpectationSuite(NAME, expectations=[{}])",
        "[kept := declare(NAME, [{}, " + KNOWN + "]), kept.expectations.pop()][0]",
    ],
    ids=["dropped by GX", "built past declare", "taken out later"],
)
def test_a_suite_that_lost_an_entry_is_refused(suites: Suites, files: Files, returns: str) -> None:
    """The suite must hold what it declared, however it came to hold less."""
    with pytest.raises(CannotValidate, match="declare"):
        validate(suites(IN_RANGE, returns=returns), files(GOOD))


@pytest.mark.parametrize(
    "name", ["nowhere", "engine", "docs", "Transactions", "../engine", "os.path", "", "transactions\n"]
)
def test_an_unknown_suite_lists_the_known_ones(files: Files, name: str) -> None:
    """A name that is no suite is refused, whatever else it may be the name of."""
    with pytest.raises(CannotValidate, match=r"known ones are: .*transactions"):
        validate(name, files(GOOD))


def test_a_module_with_an_odd_name_is_no_suite(suites: Suites, files: Files) -> None:
    """A suite's name is the dataset's: small letters, digits and underscores, even where another file lies about."""
    with pytest.raises(CannotValidate, match="no suite 'Odd'"):
        validate(suites(IN_RANGE, name="Odd"), files(GOOD))


def test_files_that_are_not_parquet_are_named(suites: Suites, files: Files, tmp_path: Path) -> None:
    """A broken file, a cut one, one that is not there, none at all: each error says what to do."""
    suite, whole = suites(IN_RANGE), files(GOOD)[0]
    cut = tmp_path / "cut.parquet"
    cut.write_bytes(whole.read_bytes()[:-100])
    text = tmp_path / "text.parquet"
    text.write_text("this is not Parquet")
    for bad in ([cut], [whole, text], [tmp_path / "gone.parquet"]):
        with pytest.raises(CannotValidate, match="Publish the version again") as raised:
            validate(suite, bad)
        assert bad[-1].name in str(raised.value)
    with pytest.raises(CannotValidate, match="no files"):
        validate(suite, [])
    with pytest.raises(CannotValidate, match="pattern"):
        validate(suite, [tmp_path / "*.parquet"])


def test_damage_inside_a_file_is_never_health(suites: Suites, tmp_path: Path) -> None:
    """The footer is whole and the rows are not: no answer, or a bad one, but never a good one."""
    path = tmp_path / "damaged.parquet"
    pd.DataFrame({"id": [str(n) for n in range(5_000)], "amount": [n / 1_000 for n in range(5_000)]}).to_parquet(
        path, compression="zstd"
    )
    body = bytearray(path.read_bytes())
    body[200 : len(body) // 2] = b"\xff" * (len(body) // 2 - 200)
    path.write_bytes(bytes(body))
    unique = 'gxe.ExpectColumnValuesToBeUnique(column="id")'
    assert validate(suites(IN_RANGE, unique), [path]).verdict.health is not Health.healthy


def test_a_quote_in_a_path_is_only_a_quote(suites: Suites, tmp_path: Path) -> None:
    """A path is data, and no part of the SQL."""
    path = tmp_path / "x=1" / "it's'); DROP VIEW data; --.parquet"
    path.parent.mkdir()
    pd.DataFrame(GOOD).to_parquet(path)
    listed = 'gxe.ExpectTableColumnsToMatchOrderedList(column_list=["id", "amount", "kind"])'
    assert validate(suites(listed), [path]).verdict.health is Health.healthy


def test_threads_do_not_touch_one_another(suites: Suites, tmp_path: Path) -> None:
    """Eight datasets at once through two suites, and each gets the answer that it gets alone."""
    names = [suites(IN_RANGE), suites(IN_RANGE, KNOWN)]
    work = []
    for number in range(8):
        path = tmp_path / f"{number}.parquet"
        amounts = [1.0] * (50 - number) + [99.0] * number
        pd.DataFrame({"id": [f"{number}-{row}" for row in range(50)], "amount": amounts, "kind": "x"}).to_parquet(path)
        work.append((names[number % 2], [path]))
    alone = [validate(*one) for one in work]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda one: validate(*one), work))
    for first, second in zip(alone, together, strict=True):
        assert first.model_dump(exclude={"result"}) == second.model_dump(exclude={"result"})
        assert first.result["results"] == second.result["results"]
    assert [sum(one.unexpected_count or 0 for one in found.failures) for found in together] == list(range(8))


def test_it_says_nothing_on_the_terminal(suites: Suites, files: Files, capfd: pytest.CaptureFixture[str]) -> None:
    """No progress bars: the output of a flow is for its reader."""
    validate(suites(IN_RANGE, KNOWN), files({**GOOD, "amount": [1, 2, 99]}))
    assert capfd.readouterr() == ("", "")


def test_importing_the_engine_is_cheap() -> None:
    """Whoever only reads a verdict does not pay for Great Expectations, DuckDB or pandas."""
    heavy = "{'great_expectations', 'duckdb', 'pandas', 'sqlalchemy'}"
    code = f"import sys, expectations.engine, expectations.transactions; print({heavy} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


failures = st.builds(
    Failure,
    expectation=st.just("expect_column_values_to_not_be_null"),
    column=st.sampled_from(["a", "b", ""]),
    severity=st.sampled_from(["critical", "warning", "info"]),
    unexpected_percent=st.none() | st.floats(0, 100),
    observed=st.just("seen"),
    error=st.sampled_from(["", "", "no such column"]),
)


@given(rows=st.integers(0, 3), lost=st.integers(0, 1), met=st.integers(0, 3), found=st.lists(failures, max_size=5))
def test_the_verdict_never_takes_no_answer_for_a_good_one(rows: int, lost: int, met: int, found: list[Failure]) -> None:
    """Healthy needs rows, an answer from every critical expectation, and nothing lost on the way."""
    evaluated = met + sum(not one.error for one in found)
    validation = Validation(
        suite="any",
        rows=rows,
        expectations=met + len(found) + lost,
        evaluated=evaluated,
        failures=tuple(found),
        result={},
    )
    health = validation.verdict.health
    critical = [one for one in found if one.severity == "critical"]
    assert (health is Health.unhealthy) == (rows > 0 and any(not one.error for one in critical))
    assert (health is Health.healthy) == (rows > 0 and not critical and not lost and evaluated > 0)
