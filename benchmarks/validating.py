"""One side of ``validate`` in a process of its own: ``python -m benchmarks.validating SIDE FILE... -- WARM_UP_FILE``.

Prints one line of JSON: seconds of one validation, the most megabytes that the process ever held, and by how many of
them the validation raised that.
A small validation beforehand makes every side load what it loads only once.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.eighteen import CATEGORIES, COLUMNS, COUNTRIES, CURRENCIES, QUANTILES

Validate = Callable[[list[Path]], None]


def ours() -> Validate:
    """lastgood's engine."""
    import expectations
    from expectations.engine import validate

    expectations.__path__.append(str(Path(__file__).parent))  # where it finds the suite

    def once(files: list[Path]) -> None:
        found = validate("eighteen", files)
        assert (found.failures, found.evaluated) == ((), 18)

    return once


def gx_on_pandas() -> Validate:
    """Great Expectations on a data frame, as its tutorial does it."""
    import great_expectations as gx
    import pandas as pd

    from benchmarks.eighteen import suite

    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = {"globally": False}
    asset = context.data_sources.add_pandas("pandas").add_dataframe_asset("transactions")
    definition = asset.add_batch_definition_whole_dataframe("all")
    expected = suite()

    def once(files: list[Path]) -> None:
        batch = definition.get_batch({"dataframe": pd.read_parquet(files)})
        found = batch.validate(expected)
        assert found.success
        assert len(found.results) == 18

    return once


def sql() -> Validate:
    """The same questions in two statements, written by hand with the same care for how DuckDB answers them."""
    import duckdb

    quantiles = ", ".join(str(share) for share in QUANTILES)
    first = f"""
        SELECT count(*), count(transaction_id), count(event_time), count(customer_id), count(amount),
            count(device_age_days), avg(transactions_last_24h), stddev_samp(distance_from_home_km),
            count(*) FILTER (merchant_category NOT IN {tuple(CATEGORIES)}),
            count(*) FILTER (country NOT IN {tuple(COUNTRIES)}),
            count(*) FILTER (currency NOT IN {tuple(CURRENCIES)}),
            count(*) FILTER (NOT (amount BETWEEN 0.01 AND 25000)),
            count(*) FILTER (NOT (distance_from_home_km BETWEEN 0 AND 20038)),
            count(*) FILTER (NOT (transactions_last_24h BETWEEN 0 AND 200)),
            quantile_disc(amount, [{quantiles}]),
            (SELECT count(DISTINCT merchant_id) FROM data)
        FROM data
    """  # noqa: S608 - constants only
    second = "SELECT count(*) FROM (SELECT 1 FROM data GROUP BY transaction_id HAVING count(*) > 1)"

    def once(files: list[Path]) -> None:
        with duckdb.connect() as database:
            database.read_parquet([str(file) for file in files]).create_view("data")
            assert [row[0] for row in database.execute("DESCRIBE data").fetchall()] == COLUMNS
            row = database.execute(first).fetchone()
            repeated = database.execute(second).fetchone()
        assert row is not None
        assert repeated is not None
        rows, ids, times, customers, amounts, devices, mean, deviation, *against, values, merchants = row
        met = [1_000 <= rows <= 100_000_000, ids == times == customers == amounts == rows, devices >= 0.9 * rows]
        met += [0.5 <= mean <= 5, 1 <= deviation <= 500, merchants >= 500, repeated[0] == 0, not any(against)]
        met += [low <= value <= high for value, (low, high) in zip(values, QUANTILES.values(), strict=True)]
        assert all(met)

    return once


def pandera() -> Validate:
    """Pandera on a polars data frame; it needs an environment of its own."""
    import pandera.polars as pa  # type: ignore[import-not-found] # only in that environment
    import polars as pl  # type: ignore[import-not-found] # likewise

    def figure(expression: pl.Expr, low: float, high: float) -> pa.Check:
        """A check of one figure of a whole column."""

        def check(data: pa.PolarsData) -> bool:
            return bool(data.lazyframe.select(expression.is_between(low, high)).collect().item())

        return pa.Check(check)

    quantiles = [
        figure(pl.col("amount").quantile(share, "nearest"), low, high) for share, (low, high) in QUANTILES.items()
    ]
    spread = figure(pl.col("distance_from_home_km").std(), 1, 500)
    columns = {name: pa.Column(nullable=True) for name in COLUMNS} | {
        "transaction_id": pa.Column(unique=True),
        "event_time": pa.Column(),
        "customer_id": pa.Column(),
        "merchant_id": pa.Column(checks=figure(pl.col("merchant_id").n_unique(), 500, 1e9)),
        "merchant_category": pa.Column(checks=pa.Check.isin(CATEGORIES)),
        "country": pa.Column(checks=pa.Check.isin(COUNTRIES)),
        "currency": pa.Column(checks=pa.Check.isin(CURRENCIES)),
        "amount": pa.Column(checks=[pa.Check.in_range(0.01, 25_000), *quantiles]),
        "device_age_days": pa.Column(
            nullable=True, checks=figure(pl.col("device_age_days").is_not_null().mean(), 0.9, 1)
        ),
        "distance_from_home_km": pa.Column(checks=[pa.Check.in_range(0, 20_038), spread]),
        "transactions_last_24h": pa.Column(
            checks=[pa.Check.in_range(0, 200), figure(pl.col("transactions_last_24h").mean(), 0.5, 5)]
        ),
    }
    schema = pa.DataFrameSchema(columns, checks=figure(pl.len(), 1_000, 100_000_000), strict=True, ordered=True)

    def once(files: list[Path]) -> None:
        schema.validate(pl.read_parquet(files), lazy=True)

    return once


SIDES = {side.__name__: side for side in (ours, gx_on_pandas, sql, pandera)}


def main() -> None:
    """Warm up, then measure one validation."""
    side, *files, _, small = sys.argv[1:]
    once = SIDES[side]()
    once([Path(small)])
    loaded = _most()
    began = time.perf_counter()
    once([Path(file) for file in files])
    seconds = time.perf_counter() - began
    print(json.dumps({"seconds": seconds, "megabytes": _most(), "grown": _most() - loaded}))


def _most() -> float:
    """The most megabytes that this process has held so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024  # kilobytes on Linux


if __name__ == "__main__":
    main()
