"""What is missing in a dataset's version is filled in by declared rules, where that is little and what comes passes."""

from __future__ import annotations

import math
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given
from hypothesis import settings as hypothesis
from hypothesis import strategies as st
from pydantic import ValidationError

from demo.transactions import generate, write_parquet
from flows import proving
from flows.case import Case
from flows.data import data
from incidents.ledger import Ledger
from incidents.models import Category, Health, Status
from incidents.upkeep import Fill, Impute
from remediations import ImputeMissing
from remediations.base import CannotPlan, Conflict
from remediations.datasets import DatasetStore, open_store
from remediations.imputing import impute
from tests.flows.kit import ChangePlaybook, judge, kinds, opened, run

SUITE = "    suite: transactions\n"
IMPUTE = f"""{SUITE}    correct: [quarantine_rows, impute_missing]
    quarantine: {{at_most: 0.001}}
    impute:
      at_most: 0.05
      columns:
        channel: {{constant: pos}}
        amount: {{last_good: median}}
        currency: {{last_good: mode}}
        country: {{same: transaction_id}}
"""


@pytest.fixture
def store(ledger: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change_playbook: ChangePlaybook) -> Path:
    """The folder of a store; the playbook says how four columns are filled in, of a twentieth of the rows."""
    monkeypatch.setenv("LASTGOOD_STORE", f"file://{tmp_path}/store")
    change_playbook(SUITE, IMPUTE)
    return tmp_path / "store" / "transactions"


def _opened(folder: Path) -> DatasetStore:
    return open_store(f"file://{folder}", "transactions")


def _gaps(share: float = 0.02) -> pd.DataFrame:
    """Good rows, but for a gap in each of the four columns, in the first rows of all."""
    rows = generate(12_000)
    few = int(len(rows) * share / 4)
    for place, column in enumerate(("channel", "amount", "currency", "country")):
        rows.loc[place * few : (place + 1) * few - 1, column] = None
    return rows


def _versions(store: Path, folder: Path, rows: pd.DataFrame, ledger: Ledger, good: bool = True) -> tuple[str, str]:
    """A good version with the same rows and no gap, if so on the record as good; and the current one with gaps."""
    kept = _opened(store)
    first = kept.publish(write_parquet(generate(12_000), folder / "whole", parts=1), at=_day(1)).version
    if good:
        judge(ledger, "dataset:transactions", first)
    second = kept.publish(write_parquet(rows, folder / "gaps", parts=2), at=_day(2)).version
    kept.move(kept.pointer_to(second, by="test"), expect=None)
    return first, second


def _day(day: int) -> Any:
    return pd.Timestamp(f"2026-11-{day:02d}", tz="UTC").to_pydatetime()


ACTION = ImputeMissing(dataset="transactions", because="a test")


def test_gaps_are_filled_in_by_their_rules(store: Path, ledger: Ledger, tmp_path: Path) -> None:
    """Read back: each gap has its rule's value, all else is as it was, apply is safe twice, undo moves back."""
    kept, rows = _opened(store), _gaps()
    _, current = _versions(store, tmp_path, rows, ledger)
    before, plan = kept.current(), ACTION.plan()
    assert (len(kept.versions()), plan.hash) == (2, ACTION.plan().hash), "a plan writes nothing, and is the same again"
    assert "amount: 60 by the last good median, 0 still missing" in plan.because
    ACTION.apply(plan)
    ACTION.apply(plan)
    assert ACTION.verify(plan).health is Health.healthy
    left = pq.read_table(sorted(kept.fetch(kept.current().version, tmp_path / "left"))).to_pandas()
    whole = generate(12_000)
    assert list(left["transaction_id"]) == list(rows["transaction_id"]), "the rows are in their order"
    assert left["country"].tolist() == whole["country"].tolist()
    assert set(left["channel"][:60]) == {"pos"}
    assert set(left["amount"][60:120]) == {whole["amount"].sort_values().iloc[5_999]}
    assert set(left["currency"][120:180]) == {whole["currency"].mode()[0]}
    for column in left.columns:
        same = rows[column].notna()
        assert left[column][same].tolist() == rows[column][same].tolist()
    ACTION.undo(plan)
    assert kept.current() == before
    assert before.version == current
    assert ACTION.verify(plan).health is Health.unhealthy


def test_a_whole_version_needs_nothing(store: Path, ledger: Ledger, tmp_path: Path) -> None:
    """Nothing is missing in what the rules speak of, so nothing is to be done."""
    _versions(store, tmp_path, generate(12_000, seed=3), ledger)
    assert ACTION.plan().nothing_to_do


def test_too_many_gaps_are_no_safe_plan(store: Path, ledger: Ledger, tmp_path: Path) -> None:
    """A twentieth of the rows may be made up, and a tenth would be."""
    _versions(store, tmp_path, _gaps(0.1), ledger)
    with pytest.raises(CannotPlan, match=r"at most 5\.00% may"):
        ACTION.plan()


def test_without_a_good_version_there_is_nothing_to_fill_in_from(store: Path, ledger: Ledger, tmp_path: Path) -> None:
    """The version before was never verified good, so no value of it is taken."""
    _versions(store, tmp_path, _gaps(), ledger, good=False)
    with pytest.raises(CannotPlan, match="was verified good: nothing to fill in from"):
        ACTION.plan()


def test_what_is_filled_in_from_another_version_than_planned_is_not_published(
    store: Path, ledger: Ledger, tmp_path: Path
) -> None:
    """The good version is found bad between plan and apply: what comes of an older one is not what was planned."""
    kept = _opened(store)
    older = kept.publish(write_parquet(generate(12_000, seed=9), tmp_path / "older", parts=1), at=_day(1)).version
    first, second = _versions(store, tmp_path, _gaps(), ledger)
    plan = ACTION.plan()
    judge(ledger, "dataset:transactions", older)
    judge(ledger, "dataset:transactions", first, Health.unhealthy)
    if older > first:
        judge(ledger, "dataset:transactions", older)
    with pytest.raises(Conflict, match="was planned"):
        ACTION.apply(plan)
    assert kept.current().version == second


def test_somebody_elses_move_in_between_is_left(store: Path, ledger: Ledger, tmp_path: Path) -> None:
    """Law 3: the pointer was moved after the plan; nothing is published, and nothing is moved."""
    kept = _opened(store)
    _, second = _versions(store, tmp_path, _gaps(), ledger)
    plan = ACTION.plan()
    kept.move(kept.pointer_to(second, by="anna"), expect=kept.current())
    with pytest.raises(Conflict, match="left so"):
        ACTION.apply(plan)
    assert (len(kept.versions()), kept.current().moved_by) == (2, "anna")


def test_what_would_not_pass_is_not_published(store: Path, ledger: Ledger, tmp_path: Path) -> None:
    """The gaps could be filled, and what is bad besides stays bad: there is no plan."""
    rows = _gaps()
    rows.loc[11_000, "merchant_category"] = "crypto_exchange"
    _versions(store, tmp_path, rows, ledger)
    case = Case(opened(ledger, "dataset:transactions", Category.data), actor="test")
    with pytest.raises(CannotPlan, match="corrected it would still not pass"):
        proving.plan(case, ACTION)
    assert len(_opened(store).versions()) == 2


def test_the_section_fills_in_where_taking_out_is_too_much(
    store: Path, ledger: Ledger, tmp_path: Path, prefect_server: object, mlflow_server: object
) -> None:
    """The playbook's order: more rows would go than may, so they are kept and filled in, and seen to pass."""
    _versions(store, tmp_path, _gaps(), ledger)
    incident = opened(ledger, "dataset:transactions", Category.data)
    outcome = run(data, incident)
    assert outcome.status is Status.resolved, outcome.why
    assert "with 240 of 12000 rows filled in" in outcome.why
    assert kinds(ledger, incident).count("not_planned") == 1
    assert kinds(ledger, incident).count("applied") == 1


FEW = st.none() | st.sampled_from([1.0, 2.0, math.nan]) | st.floats()
VALUES = st.lists(st.tuples(FEW, st.none() | st.integers(0, 2)), min_size=1, max_size=40)


@given(now=VALUES, good=VALUES)
@example(now=[(None, 1)], good=[(1.0, None), (2.0, None), (math.nan, 1)])
@hypothesis(max_examples=40, deadline=None)
def test_only_gaps_change_whatever_the_rows(tmp_path_factory: pytest.TempPathFactory, now: Any, good: Any) -> None:
    """Null and not a number are gaps, all else stays; a key's value is taken where the good version has but one."""
    folder = tmp_path_factory.mktemp("gaps")
    for name, rows in (("now", now), ("good", good)):
        columns = {"x": pa.array([x for x, _ in rows], pa.float64()), "key": pa.array([k for _, k in rows], pa.int64())}
        pq.write_table(pa.table({**columns, "place": range(len(rows))}), folder / f"{name}.parquet")
    found = impute([folder / "now.parquet"], {"x": Fill(same="key")}, [folder / "good.parquet"], folder / "work")
    told: dict[Any, set[float]] = {}
    for x, key in good:
        if key is not None and x is not None and not math.isnan(x):
            told.setdefault(key, set()).add(x)
    table = pq.read_table(found.kept[0]).to_pydict()
    assert table["place"] == list(range(len(now)))
    changed = 0
    for (old, key), new in zip(now, table["x"], strict=True):
        gap = old is None or math.isnan(old)
        wanted = next(iter(told[key])) if gap and len(told.get(key, ())) == 1 else old
        changed += gap and len(told.get(key, ())) == 1
        assert new == wanted or (new is not None and wanted is not None and math.isnan(new) and math.isnan(wanted))
    assert (found.rows, found.bad) == (len(now), changed)


def test_rows_stay_in_their_order_whatever_is_looked_up(tmp_path: Path) -> None:
    """The good version is a hundred times as large, so DuckDB would go through that one and look up the other."""
    keys = [place * 7919 % 50_000 for place in range(500)]
    columns = {"key": keys, "x": pa.array([None] * 500, pa.float64())}
    pq.write_table(pa.table(columns), tmp_path / "now.parquet")
    good = {"key": range(50_000), "x": [float(key) for key in range(50_000)]}
    pq.write_table(pa.table(good), tmp_path / "good.parquet")
    found = impute([tmp_path / "now.parquet"], {"x": Fill(same="key")}, [tmp_path / "good.parquet"], tmp_path / "work")
    table = pq.read_table(found.kept[0]).to_pydict()
    assert (table["key"], table["x"]) == (keys, keys)


def test_a_value_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    """A text for a number, or a column that is not there, says so before anything is written."""
    pq.write_table(pa.table({"x": [1.0, None]}), tmp_path / "rows.parquet")
    files = [tmp_path / "rows.parquet"]
    with pytest.raises(CannotPlan, match="can't be filled in"):
        impute(files, {"x": Fill(constant="many")}, [], tmp_path / "a")
    with pytest.raises(CannotPlan, match="has no column y"):
        impute(files, {"y": Fill(constant=1)}, [], tmp_path / "b")


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (0.5, pa.int64()),
        (7, pa.bool_()),
        (True, pa.int64()),
        (1.239, pa.decimal128(10, 2)),
        (300, pa.int8()),
        (7, pa.string()),
        ("7", pa.int64()),
        ("true", pa.bool_()),
        (16_777_217, pa.float32()),
        ("2026-11-27 10:00:00", pa.date32()),
        ("soon", pa.date32()),
    ],
)
def test_no_constant_is_rounded_or_made_into_something_else(tmp_path: Path, value: Any, kind: pa.DataType) -> None:
    """A cast would write 1 for 0.5, true for 7 and 1.24 for 1.239; the error says what, where and what to change."""
    pq.write_table(pa.table({"x": pa.array([None], kind)}), tmp_path / "rows.parquet")
    told = rf"the constant {value!r} can't be filled in: .* the column x of rows\.parquet is \w+.*change the rule"
    with pytest.raises(CannotPlan, match=told):
        impute([tmp_path / "rows.parquet"], {"x": Fill(constant=value)}, [], tmp_path / "work")


@pytest.mark.parametrize(
    ("value", "kind", "wanted"),
    [
        (7, pa.int8(), 7),
        (7, pa.float64(), 7.0),
        (0.0, pa.int64(), 0),
        (0.1, pa.float32(), pytest.approx(0.1)),
        (1.5, pa.decimal128(10, 2), Decimal("1.50")),
        (False, pa.bool_(), False),
        ("7", pa.string(), "7"),
        ("9999-12-31", pa.date32(), date(9999, 12, 31)),
    ],
)
def test_a_constant_that_fits_is_what_is_read_back(tmp_path: Path, value: Any, kind: pa.DataType, wanted: Any) -> None:
    """It may be written otherwise, and is the same."""
    pq.write_table(pa.table({"x": pa.array([None], kind)}), tmp_path / "rows.parquet")
    found = impute([tmp_path / "rows.parquet"], {"x": Fill(constant=value)}, [], tmp_path / "work")
    assert pq.read_table(found.kept[0])["x"].to_pylist() == [wanted]


def test_a_median_is_one_of_the_values(tmp_path: Path) -> None:
    """Of the integers 1 and 2 it is 1, as declared; where the last good version has fractions, it is refused."""
    pq.write_table(pa.table({"x": pa.array([None], pa.int64())}), tmp_path / "rows.parquet")
    pq.write_table(pa.table({"x": [2, 1]}), tmp_path / "good.parquet")
    pq.write_table(pa.table({"x": [1.5, 1.5]}), tmp_path / "halves.parquet")
    rows, rule = [tmp_path / "rows.parquet"], {"x": Fill(last_good="median")}
    found = impute(rows, rule, [tmp_path / "good.parquet"], tmp_path / "a")
    assert pq.read_table(found.kept[0])["x"].to_pylist() == [1]
    with pytest.raises(CannotPlan, match=r"it is DOUBLE, and the column x of rows\.parquet is BIGINT"):
        impute(rows, rule, [tmp_path / "halves.parquet"], tmp_path / "b")


@pytest.mark.parametrize("rule", [{}, {"constant": 1, "same": "id"}, {"last_good": "mean"}, {"constant": 1, "by": "x"}])
def test_a_rule_says_one_thing(rule: dict[str, Any]) -> None:
    """Law 7: no rule, two rules and an unknown one are refused when the playbook is loaded."""
    with pytest.raises(ValidationError):
        Impute.model_validate({"at_most": 0.1, "columns": {"x": rule}})
