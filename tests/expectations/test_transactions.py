"""The demo's dataset and its suite: good traffic passes, and each way of breaking it is called by its name."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from demo.transactions import COLUMNS, SCHEMA, break_feed, generate, write_parquet
from expectations import transactions
from expectations.engine import validate
from incidents.models import Health


@pytest.mark.parametrize(("rows", "seed"), [(20_000, 1), (20_000, 7), (50_000, 3), (100_000, 11), (200_000, 7)])
def test_good_traffic_meets_everything(tmp_path: Path, rows: int, seed: int) -> None:
    """No failure at all, not even of a warning, and every expectation was evaluated."""
    found = validate("transactions", write_parquet(generate(rows, seed), tmp_path))
    assert found.failures == ()
    assert (found.rows, found.evaluated) == (rows, found.expectations)
    assert found.verdict.health is Health.healthy


@pytest.mark.parametrize("seed", [2, 7])
def test_the_broken_feed_is_called_by_its_names(tmp_path: Path, seed: int) -> None:
    """Cents instead of units, the null spike and the new category are three failures that say so."""
    found = validate("transactions", write_parquet(break_feed(generate(30_000, seed)), tmp_path))
    told = {(one.column, one.expectation): one for one in found.failures if one.severity == "critical"}
    cents = told["amount", "expect_column_quantile_values_to_be_between"]
    nulls = told["distance_from_home_km", "expect_column_values_to_not_be_null"]
    category = told["merchant_category", "expect_column_values_to_be_in_set"]
    assert "quantile 0.5 is" in cents.observed
    assert nulls.unexpected_percent == pytest.approx(30, abs=2)
    assert "crypto_exchange" in category.observed
    assert found.verdict.health is Health.unhealthy
    assert {"amount", "distance_from_home_km", "merchant_category"} == {one.column for one in found.failures}


Change = Callable[[pd.DataFrame], pd.DataFrame]
CHANGES: dict[str, tuple[Change, str, str]] = {
    "a column gone": (lambda f: f.drop(columns="country"), "", "missing country"),
    "a column too many": (lambda f: f.assign(note="x"), "", "unknown note"),
    "columns in another order": (lambda f: f[sorted(f.columns)], "", "another order"),
    "a column of another type": (lambda f: f.assign(amount=f.amount.astype(str)), "", "type"),
    "too few rows": (lambda f: f.head(9_000), "", "row count is 9000"),
    "a null customer": (
        lambda f: f.assign(customer_id=f.customer_id.astype("Int64").mask(f.index == 5)),
        "customer_id",
        "null",
    ),
    "a repeated id": (
        lambda f: f.assign(transaction_id=f.transaction_id.mask(f.index == 5, f.transaction_id[6])),
        "transaction_id",
        "not unique",
    ),
    "an unknown currency": (
        lambda f: f.assign(currency=f.currency.mask(f.index == 5, "XXX")),
        "currency",
        "XXX",
    ),
    "an unknown country": (lambda f: f.assign(country=f.country.mask(f.index == 5, "XX")), "country", "XX"),
    "an unknown channel": (lambda f: f.assign(channel=f.channel.mask(f.index == 5, "fax")), "channel", "fax"),
    "an unknown entry mode": (
        lambda f: f.assign(entry_mode=f.entry_mode.mask(f.index == 5, "voice")),
        "entry_mode",
        "voice",
    ),
    "a refund as an amount": (lambda f: f.assign(amount=f.amount.mask(f.index == 5, -3.0)), "amount", "-3"),
    "a distance off the planet": (
        lambda f: f.assign(distance_from_home_km=f.distance_from_home_km.mask(f.index == 5, 50_000.0)),
        "distance_from_home_km",
        "50000",
    ),
    "a negative count": (
        lambda f: f.assign(transactions_last_24h=f.transactions_last_24h.mask(f.index == 5, -1)),
        "transactions_last_24h",
        "-1",
    ),
    "no fraud at all": (lambda f: f.assign(is_fraud=False), "is_fraud", "unique value count is 1"),
    "labels the wrong way round": (lambda f: f.assign(is_fraud=~f.is_fraud), "is_fraud", "among the refused"),
}


@pytest.fixture(scope="module")
def good() -> pd.DataFrame:
    """Good traffic to break in one way at a time."""
    return generate(12_000)


@pytest.mark.parametrize("way", CHANGES)
def test_each_way_of_breaking_it_is_critical(good: pd.DataFrame, tmp_path: Path, way: str) -> None:
    """One change, often in one row of twelve thousand, and the failure names the column and the change."""
    change, column, words = CHANGES[way]
    path = tmp_path / "changed.parquet"
    change(good).to_parquet(path, index=False)
    found = validate("transactions", [path])
    assert found.verdict.health is Health.unhealthy
    told = [one for one in found.failures if one.severity == "critical" and one.column == column and not one.error]
    assert any(words in one.observed for one in told), found.failures
    if "one row" in way:
        assert told[0].sample == (good.transaction_id[5],)


def test_a_card_online_is_only_a_warning(good: pd.DataFrame, tmp_path: Path) -> None:
    """Odd, told with its rows, and no incident."""
    path = tmp_path / "odd.parquet"
    row = int(good.index[good.channel == "online"][0])
    good.assign(card_present=good.card_present.mask(good.index == row, True)).to_parquet(path, index=False)
    found = validate("transactions", [path])
    assert found.verdict.health is Health.healthy
    assert [(one.severity, one.unexpected_count, one.sample) for one in found.failures] == [
        ("warning", 1, (good.transaction_id[row],))
    ]
    assert "a card is never present online" in found.verdict.why


def test_the_suite_speaks_of_the_same_columns_as_the_data() -> None:
    """The dataset and its suite list the columns apart; here they are held together."""
    assert tuple(transactions.TYPES) == COLUMNS
    assert len(COLUMNS) == 15
    assert set(generate(5_000).merchant_category) == set(transactions.CATEGORIES)
    assert transactions.NAME == "transactions"
    assert transactions.KEY in COLUMNS


def test_the_data_is_as_it_is_described() -> None:
    """Fraud is rare, ids are unique, some devices are unknown, and nothing but the device is ever null."""
    frame = generate(50_000)
    assert 0.02 < frame.is_fraud.mean() < 0.03
    assert frame.transaction_id.is_unique
    assert 0.01 < frame.device_age_days.isna().mean() < 0.05
    assert not frame.drop(columns="device_age_days").isna().any().any()
    assert frame.event_time.is_monotonic_increasing
    assert (frame.channel == "online").equals(frame.entry_mode == "ecom")


def test_breaking_leaves_the_good_frame_alone() -> None:
    """The broken feed is a copy: the same rows with other content."""
    frame = generate(5_000)
    before = frame.copy()
    broken = break_feed(frame)
    pd.testing.assert_frame_equal(frame, before)
    assert np.allclose(broken.amount, frame.amount * 100)
    assert broken.transaction_id.equals(frame.transaction_id)
    assert list(broken.columns) == list(frame.columns)


@given(rows=st.integers(0, 300), seed=st.integers(0, 2**32 - 1), parts=st.integers(1, 5))
@settings(max_examples=20, deadline=None)
def test_the_same_arguments_give_the_same_bytes(
    tmp_path_factory: pytest.TempPathFactory, rows: int, seed: int, parts: int
) -> None:
    """For any size and seed: the same files byte for byte, that read back as the frame they came from."""
    folder = tmp_path_factory.mktemp("bytes")
    frame = generate(rows, seed)
    first = write_parquet(frame, folder / "a", parts)
    second = write_parquet(generate(rows, seed), folder / "b", parts)
    assert [path.name for path in first] == [f"part-{number:05d}.parquet" for number in range(parts)]
    assert [_hash(path) for path in first] == [_hash(path) for path in second]
    table = pq.ParquetDataset(first).read()
    assert table.schema == SCHEMA
    assert table.column("transaction_id").to_pylist() == frame.transaction_id.tolist()
    assert table.column("event_time").to_pylist() == frame.event_time.tolist()
    assert frame.transaction_id.is_unique


def test_another_seed_gives_other_data() -> None:
    """Two months of traffic share no row, so one can test a model that learned from the other."""
    assert set(generate(2_000, 1).transaction_id).isdisjoint(generate(2_000, 2).transaction_id)


def _hash(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
