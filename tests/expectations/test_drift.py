"""Drift against a reference: PSI, Kolmogorov-Smirnov and KL, held to scipy and to what must hold for any data."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

import expectations
from demo.transactions import generate, write_parquet
from expectations import asking
from expectations.bins import Spread, filled, ks, ks_p_value, psi
from expectations.docs import render
from expectations.engine import Validation, fingerprint, validate
from expectations.reference import PERCENTILES, Reference, profile
from incidents.models import Health

Judge = Callable[..., Validation]

#: A suite of these: what is asked of the column x, of the words w, of how much and how fresh.
SUITE = """
from expectations.engine import declare
NAME, KEY = "drifting", "id"

def suite():
    from expectations.arrival import ExpectColumnAgeToBeLessThan, ExpectTableRowCountRatioToBeBetween
    from expectations.drift import ExpectColumnKlToBeLessThan, ExpectColumnKsToBeLessThan, ExpectColumnPsiToBeLessThan
    from great_expectations.expectations import ExpectColumnKLDivergenceToBeLessThan
    return declare(NAME, [{}])
"""
OF_X = [
    f'ExpectColumn{kind}ToBeLessThan(column="x", threshold={{at}}, minimum_rows={{rows}})'
    for kind in ("Psi", "Ks", "Kl")
]
PSI, KS, KL = OF_X
COUNTS = st.lists(st.integers(0, 1_000), min_size=1, max_size=30).filter(any)
NUMBERS = st.lists(
    st.floats(-1e6, 1e6) | st.sampled_from([0.0, 5.0, 5.0, 5.0, math.inf, -math.inf]), min_size=1, max_size=300
).filter(lambda values: any(map(math.isfinite, values)))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the files of this module lie."""
    return tmp_path_factory.mktemp("drift")


@pytest.fixture(scope="module")
def judge(folder: Path) -> Iterator[Judge]:
    """Validate rows with a suite of some lines, compared with other rows."""
    written: list[str] = []

    def work(
        lines: list[str], old: pa.Table | None, new: pa.Table, at: float = 0.1, rows: int = 10, **how: Any
    ) -> Validation:
        name = f"drifting_{len(written)}"
        written.append(name)
        (folder / f"{name}.py").write_text(SUITE.format(", ".join(lines).format(at=at, rows=rows)))
        reference = None if old is None else profile(_files(folder / "old", old), "v1", set(old.column_names))
        return validate(name, _files(folder / "new", new), reference_of=lambda _: reference, **how)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(expectations, "__path__", [*expectations.__path__, str(folder)])
        yield work
    for name in written:
        sys.modules.pop(f"expectations.{name}", None)


def _files(folder: Path, table: pa.Table, parts: int = 2) -> list[Path]:
    folder.mkdir(exist_ok=True)
    half = len(table) // parts
    files = [folder / "0.parquet", folder / "1.parquet"]
    pq.write_table(table.slice(0, half), files[0])
    pq.write_table(table.slice(half), files[1])
    return files


def _numbers(values: Any) -> pa.Table:
    return pa.table({"id": range(len(values)), "x": pa.array(values, pa.float64(), from_pandas=False)})


def _words(values: Sequence[str | None]) -> pa.Table:
    return pa.table({"id": range(len(values)), "x": pa.array(values, pa.string())})


def _seen(found: Validation) -> list[Any]:
    results: Any = found.result["results"]
    return [answer["result"].get("observed_value") for answer in results]


def _of(values: Any, folder: Path) -> Spread:
    return profile(_files(folder / "of", _numbers(values)), "v1", {"x"}).columns["x"]


@given(expected=COUNTS, seed=st.randoms(use_true_random=False))
def test_laws_of_the_figures(expected: list[int], seed: Any) -> None:
    """The same shares differ by nothing, PSI is symmetric and never negative, KS and shares stay where they belong."""
    seen = [seed.choice([0, count, 2 * count + 1, 7]) for count in expected]
    seen[0] += not any(seen)
    assert psi(expected, expected) == ks(expected, expected) == 0
    assert psi(expected, [3 * count for count in expected]) == pytest.approx(0, abs=1e-12)
    assert psi(expected, seen) == pytest.approx(psi(seen, expected))
    assert psi(expected, seen) >= 0
    assert 0 <= ks(expected, seen) <= 1
    assert ks(expected, seen) == ks(seen, expected)
    assert sum(filled(expected, seen)) == pytest.approx(1)


@given(statistic=st.floats(0, 1), ours=st.integers(10, 10**6), theirs=st.integers(10, 10**6))
def test_the_p_value_is_scipys(statistic: float, ours: int, theirs: int) -> None:
    """Kolmogorov's limit, as scipy has it."""
    wanted = stats.kstwobign.sf(statistic * math.sqrt(ours * theirs / (ours + theirs)))
    assert ks_p_value(statistic, ours, theirs) == pytest.approx(wanted, abs=1e-9)


@given(old=NUMBERS, new=NUMBERS)
@settings(max_examples=60, deadline=None)
def test_ks_is_scipys_but_for_what_lies_inside_a_bin(folder: Path, old: list[float], new: list[float]) -> None:
    """Never more than the true statistic, and less by no more than the largest bin that holds several values."""
    spread = _of(old, folder)
    seen = _counted(spread, new)
    true = stats.ks_2samp(old, new).statistic
    inside = [
        sum(low < one < high for one in old)
        for low, high in zip([-math.inf, *spread.edges], [*spread.edges, math.inf], strict=True)
    ]
    found = ks(spread.counts, seen)
    assert found <= true + 1e-9
    assert true <= found + (max(inside) + sum(math.isinf(one) for one in old)) / len(old) + 1e-9


def _counted(spread: Spread, values: list[float]) -> list[int]:
    """The rows in each bin, counted in plain Python."""
    places = np.searchsorted(spread.edges, values, side="left")
    return [int(count) for count in np.bincount(places, minlength=len(spread.counts))]


@given(old=NUMBERS, new=st.lists(st.floats() | st.sampled_from([math.nan, 0.0, 5.0]), min_size=1, max_size=80))
@settings(max_examples=40, deadline=None)
def test_duckdb_counts_what_python_counts(judge: Judge, folder: Path, old: list[float], new: list[float]) -> None:
    """For any numbers, infinite ones and none too, in two files: the rows of each bin, and what is missing."""
    spread, seen = _of(old, folder), [one for one in new if not math.isnan(one)]
    assert spread.counts == tuple(_counted(spread, old))
    found = judge([PSI, KS], _numbers(old), _numbers(new), rows=1)
    if not seen:
        assert found.evaluated == 0
        return
    groups = spread.groups()
    counts = Spread(edges=spread.edges, counts=tuple(_counted(spread, seen)), missing=len(new) - len(seen))
    wanted = psi([*spread.put(groups), 0], [*counts.put(groups), counts.missing])
    assert _seen(found) == [pytest.approx(wanted), pytest.approx(ks(spread.counts, counts.counts))]


@given(old=NUMBERS, seed=st.randoms(use_true_random=False))
@settings(max_examples=15, deadline=None)
def test_the_same_rows_in_another_order_have_not_drifted(judge: Judge, old: list[float], seed: Any) -> None:
    """All three are exactly 0, whatever the order."""
    other = seed.sample(old, len(old))
    assert _seen(judge(OF_X, _numbers(old), _numbers(other), rows=1)) == [0, 0, 0]


def test_psi_and_kl_are_scipys_on_the_same_bins(judge: Judge) -> None:
    """PSI is the sum of both relative entropies, KL one of them, over deciles: DuckDB may take the next value."""
    rng = np.random.default_rng(5)
    old, new = rng.normal(size=20_000), rng.normal(0.3, 1.2, size=15_000)
    edges = np.quantile(old, np.linspace(0, 1, 11)[1:-1], method="inverted_cdf")
    p, q = (np.bincount(np.searchsorted(edges, one), minlength=10) / len(one) for one in (old, new))
    found = _seen(judge(OF_X, _numbers(old), _numbers(new)))
    assert found[0] == pytest.approx(stats.entropy(p, q) + stats.entropy(q, p), rel=1e-3)
    assert found[1] == pytest.approx(stats.ks_2samp(old, new).statistic, abs=1 / PERCENTILES)
    assert found[2] == pytest.approx(stats.entropy(q, p), rel=1e-3)


def test_words_are_compared_by_value(judge: Judge) -> None:
    """As scipy has it on the shares; an empty text and a quote are values like others."""
    old, new = ["", "a", "it's", "a"] * 500, ["", "a", "it's", "it's"] * 500
    found = judge([PSI, KL], _words(old), _words(new))
    p, q = [0.25, 0.5, 0.25], [0.25, 0.25, 0.5]
    assert _seen(found) == [
        pytest.approx(stats.entropy(p, q) + stats.entropy(q, p)),
        pytest.approx(stats.entropy(q, p)),
    ]


def test_an_order_is_not_made_up(judge: Judge) -> None:
    """Words have no order, so a Kolmogorov-Smirnov statistic of them is no answer, and says what to ask instead."""
    found = judge([KS], _words(["a"] * 50), _words(["a"] * 50))
    assert (found.evaluated, found.verdict.health) == (0, Health.inconclusive)
    assert "ask for its PSI" in found.verdict.why


DRIFTED: dict[str, tuple[Any, Any, str]] = {
    "a constant that moved down": ([5.0] * 2_000, [4.0] * 2_000, "..5 from 0.0% to 100.0%"),
    "a constant that moved up": ([5.0] * 2_000, [6.0] * 2_000, "5.. from 0.0% to 100.0%"),
    "a null spike": ([1.0, 2.0] * 1_000, [1.0, 2.0, None, None] * 500, "missing from 0.0% to 50.0%"),
    "numbers that are none": ([1.0, 2.0] * 1_000, [1.0, 2.0, math.nan, math.nan] * 500, "missing from 0.0% to 50.0%"),
    "a new word": (["a", "b"] * 1_000, ["a", "b", "new", "new"] * 500, "others from 0.0% to 50.0%"),
    "a word gone": (["a", "b"] * 1_000, ["a"] * 2_000, "b from 50.0% to 0.0%"),
}


@pytest.mark.parametrize("way", DRIFTED)
def test_what_changed_is_named(judge: Judge, way: str) -> None:
    """The verdict is unhealthy, and names the bin, its share before and now, and what it was compared with."""
    old, new, words = DRIFTED[way]
    table = _words if isinstance(old[0], str) else _numbers
    found = judge([PSI], table(old), table(new), at=0.25)
    assert found.verdict.health is Health.unhealthy
    assert words in found.verdict.why
    assert "above 0.25, against v1" in found.verdict.why
    assert judge([PSI], table(old), table(old), at=0.25).verdict.health is Health.healthy


@pytest.mark.parametrize("lines", [[PSI], [KS], [KL]])
def test_too_few_rows_tell_nothing(judge: Judge, lines: list[str]) -> None:
    """Nine rows and ten are needed: inconclusive, though they could not differ more; with ten it is unhealthy."""
    few = judge(lines, _numbers([1.0, 2.0] * 50), _numbers([9.0] * 9 + [math.nan, None]))
    assert (few.verdict.health, few.evaluated) == (Health.inconclusive, 0)
    assert "only 9 rows have a value, and 10 are needed" in few.verdict.why
    assert judge(lines, _numbers([1.0, 2.0] * 50), _numbers([9.0] * 10)).verdict.health is Health.unhealthy


NOT_NULL = '__import__("great_expectations").expectations.ExpectColumnValuesToNotBeNull(column="x")'
ALONE = "ExpectTableRowCountRatioToBeBetween()", PSI


def test_with_nothing_to_compare_it_is_not_asked(judge: Judge) -> None:
    """The first version can be verified good: what else it is asked counts, and the rest is told as not asked."""
    table = _numbers([1.0] * 100)
    found = judge([NOT_NULL, *ALONE], None, table)
    assert (found.verdict.health, found.evaluated, len(found.skipped), found.failures) == (Health.healthy, 1, 2, ())
    assert "no version before it was verified good" in found.verdict.why
    assert "no version before it was verified good" in render(found)
    assert judge([PSI], None, table).verdict.health is Health.inconclusive, "asked nothing at all, it says nothing"


#: What the last good version tells nothing of: what is asked, that version, what the verdict says of it.
UNTOLD: dict[str, tuple[str, pa.Table, str]] = {
    "a column that is misspelt": (
        PSI.replace('"x"', '"amonut"'),
        _numbers([1.0] * 100),
        "amonut: v1 has no column 'amonut' with numbers, texts or truths in it: correct the column's name, or leave",
    ),
    "a column with no bins": (
        KS.replace('"x"', '"time"'),
        pa.table({"id": [1], "x": [1.0], "time": [datetime(2026, 1, 1, tzinfo=UTC)]}),
        "time: v1 has no column 'time' with numbers, texts or truths in it",
    ),
    "a column with no value": (KL, _words([None, None]), "x: v1 has no column 'x' with numbers, texts or truths"),
    "too few rows": (PSI, _numbers([1.0] * 9), "x: v1 has only 9 rows with a value, 10 are needed: lower minimum_rows"),
    "no rows": ("ExpectTableRowCountRatioToBeBetween()", _numbers([]), "table: v1 has no rows: leave this expectation"),
}


@pytest.mark.parametrize("way", UNTOLD)
def test_what_the_last_good_version_tells_nothing_of_is_no_answer(judge: Judge, way: str) -> None:
    """It says what to change and is inconclusive, not passed over; what is bad by another expectation stays bad."""
    line, old, words = UNTOLD[way]
    table = _numbers([1.0] * 100)
    found = judge([NOT_NULL, line], old, table)
    assert (found.verdict.health, found.evaluated, found.skipped) == (Health.inconclusive, 1, ())
    assert words in found.verdict.why
    assert "until a version with" in found.failures[0].error
    assert found.reference == "v1"
    assert "! no answer" in render(found)
    assert judge([NOT_NULL, line], old, _numbers([1.0] * 99 + [None])).verdict.health is Health.unhealthy
    warned = judge([NOT_NULL, line.replace("(", '(severity="warning", ', 1)], old, table)
    assert warned.verdict.health is Health.healthy
    assert words in warned.verdict.why
    assert judge([NOT_NULL, line], None, table).verdict.health is Health.healthy, "nothing to compare with yet"


def test_a_column_of_another_type_is_no_answer(judge: Judge) -> None:
    """Texts have no place in bins of numbers: inconclusive, and it says which type the column has now."""
    found = judge([PSI], _numbers([1.0] * 100), _words(["1"] * 100))
    assert found.verdict.health is Health.inconclusive
    assert "x is VARCHAR now" in found.verdict.why


@pytest.mark.parametrize(("rows", "healthy"), [(49, False), (50, True), (200, True), (201, False), (0, None)])
def test_volume_is_a_ratio_to_the_last_good_version(judge: Judge, rows: int, healthy: bool | None) -> None:
    """Half to twice as many rows as before, both ends included; none at all is no data, and not bad data."""
    found = judge(["ExpectTableRowCountRatioToBeBetween()"], _numbers([1.0] * 100), _numbers([1.0] * rows))
    wanted = {True: Health.healthy, False: Health.unhealthy, None: Health.inconclusive}[healthy]
    assert found.verdict.health is wanted
    if healthy is False:
        assert f"{rows} rows are {rows / 100:g} times the 100 of v1" in found.verdict.why


@pytest.mark.parametrize("kind", [pa.timestamp("us", tz="UTC"), pa.timestamp("us"), pa.date32()])
def test_freshness_is_the_age_of_the_newest(judge: Judge, kind: pa.DataType) -> None:
    """So many hours and no more where it has to be timely; a time of tomorrow is wrong whether it has to or not."""
    newest = datetime(2026, 11, 20, tzinfo=UTC)
    times = [newest - timedelta(days=place) for place in range(3)]
    table = pa.table({"id": [1, 2, 3], "time": pa.array(times, pa.timestamp("us", tz="UTC")).cast(kind)})
    line = ['ExpectColumnAgeToBeLessThan(column="time", hours=6)', "ExpectTableRowCountRatioToBeBetween()"]

    def health(hours: float, timely: bool = True) -> Health:
        return judge(line, table, table, moment=newest + timedelta(hours=hours), timely=timely).verdict.health

    assert [health(0), health(6), health(-1)] == [Health.healthy] * 3
    assert [health(6.01), health(-1.01)] == [Health.unhealthy] * 2
    assert [health(6.01, timely=False), health(9_000, timely=False)] == [Health.healthy] * 2
    assert health(-1.01, timely=False) is Health.unhealthy
    late = judge(line, table, table, moment=newest + timedelta(hours=30), timely=True)
    assert "time: the newest is 30.0 hours old instead of at most 6" in late.verdict.why
    assert late.late
    ahead = judge(line, table, table, moment=newest - timedelta(hours=30))
    assert "time: the newest is 30.0 hours ahead of the clock" in ahead.verdict.why
    assert not ahead.late, "no waiting makes it right"
    bad = judge([*line, PSI.replace('"x"', '"id"')], _ids(1_000), _ids(3_000), moment=newest, timely=True)
    assert not bad.late, "there is more against it"
    tomorrow = pa.table({"id": [1], "time": [datetime.now(UTC) + timedelta(days=1)]})
    assert judge(line, tomorrow, tomorrow).verdict.health is Health.unhealthy, "the moment is now, where none is given"
    assert "the newest is not in the future" in render(judge(line, table, table, moment=newest))


def _ids(first: int) -> pa.Table:
    return pa.table({"id": range(first, first + 100), "time": [datetime(2026, 1, 1, tzinfo=UTC)] * 100})


def test_a_sample_tells_of_drift(judge: Judge) -> None:
    """Asked of some of the rows it finds what all rows show; how many rows there are is still asked of all."""
    rng = np.random.default_rng(3)
    old, new = _numbers(rng.normal(size=60_000)), _numbers(rng.normal(1, 1, size=60_000))
    lines = [*OF_X, "ExpectTableRowCountRatioToBeBetween()"]
    whole, part = judge(lines, old, new), judge(lines, old, new, sample_rows=20_000)
    assert part.sampled is not None
    assert part.verdict.health is Health.unhealthy
    assert _seen(part)[:3] == pytest.approx(_seen(whole)[:3], rel=0.1)
    assert _seen(part)[3] == 1


def test_a_large_reference_counts_all_of_its_rows(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its percentiles are looked for in a part of the rows, and the rows of each bin are counted of all."""
    monkeypatch.setattr("expectations.reference.LOOKED_AT", 10_000)
    spread = _of(np.random.default_rng(1).normal(size=50_000), folder)
    assert sum(spread.counts) == 50_000
    assert max(spread.counts) / 50_000 < 3 / PERCENTILES


def test_it_all_is_one_look_at_the_data(judge: Judge, monkeypatch: pytest.MonkeyPatch) -> None:
    """Met or not, nothing of it is left to the plain way."""
    monkeypatch.setattr(asking.Plain, "_made", lambda _: pytest.fail("asked in the plain way"))
    rng = np.random.default_rng(2)
    old, new = _numbers(rng.normal(size=5_000)), _numbers(rng.normal(1, 1, size=5_000))
    assert len(judge(OF_X, old, new).failures) == 3
    assert len(judge(OF_X, old, old).failures) == 0


def test_the_plain_way_gives_the_same(judge: Judge, monkeypatch: pytest.MonkeyPatch) -> None:
    """Great Expectations asked without the figures comes to the same results."""
    rng = np.random.default_rng(2)
    old, new = _numbers(rng.normal(size=5_000)), _numbers([*rng.normal(1, 1, size=5_000), math.nan, None])
    quick = judge(OF_X, old, new).result["results"]
    monkeypatch.setattr("expectations.figures.answers", lambda *_: {})
    assert judge(OF_X, old, new).result["results"] == quick


def test_the_reference_is_no_part_of_the_suite(judge: Judge, folder: Path) -> None:
    """A suite has one fingerprint whatever it is compared with, the result names the version and not its bins."""
    old = _numbers([1.0, 2.0] * 1_000)
    found = judge([PSI], old, old)
    assert found.fingerprint == fingerprint(found.suite)
    assert found.reference == "v1"
    results: Any = found.result["results"]
    assert results[0]["expectation_config"]["kwargs"]["reference"] == {"version": "v1"}
    assert "its population stability index against v1 is at most 0.1" in render(found)


def test_a_month_of_traffic_is_like_another(folder: Path) -> None:
    """The demo's data: another seed has not drifted in any column that can be compared, at the customary 0.1."""
    columns = ["amount", "country", "merchant_category", "channel", "is_fraud", "transactions_last_24h"]
    one, two = (profile(write_parquet(generate(20_000, seed), folder / str(seed)), "v", columns) for seed in (1, 2))
    assert set(one.columns) == set(columns)
    for name in columns:
        old = one.columns[name]
        new = two.columns[name]
        if old.values:
            assert old.values == new.values
            assert psi(old.counts, new.counts) < 0.1
    assert Reference.model_validate_json(one.model_dump_json()) == one


def test_great_expectations_own_divergence_is_put_into_words(judge: Judge) -> None:
    """It is judged by a partition that stands in the suite, and names no version that it was compared with."""
    partition = "{{'values': ['a', 'b'], 'weights': [0.9, 0.1]}}"
    line = f'ExpectColumnKLDivergenceToBeLessThan(column="x", partition_object={partition}, threshold=0.1)'
    seen = judge([line], None, pa.table({"id": [1, 2, 3, 4], "x": ["a", "b", "b", "b"]}))
    assert [(one.column, one.error) for one in seen.failures] == [("x", "")]
    assert str(seen.failures[0]).startswith("x: ")
