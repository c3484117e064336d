"""Card transactions: made up, seeded, and close enough to real ones for a fraud model to learn from."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

#: The Parquet schema of the dataset: 15 columns, in this order.
SCHEMA = pa.schema(
    [
        ("transaction_id", pa.string()),
        ("event_time", pa.timestamp("us", tz="UTC")),
        ("customer_id", pa.int64()),
        ("merchant_id", pa.int64()),
        ("merchant_category", pa.string()),
        ("country", pa.string()),  # ISO 3166-1 alpha-2, where the money was spent
        ("currency", pa.string()),  # ISO 4217, the currency of that country
        ("amount", pa.float64()),  # in units of the currency
        ("channel", pa.string()),
        ("card_present", pa.bool_()),
        ("entry_mode", pa.string()),
        ("device_age_days", pa.float64()),  # null where the terminal does not tell
        ("distance_from_home_km", pa.float64()),
        ("transactions_last_24h", pa.int64()),  # by the same customer
        ("is_fraud", pa.bool_()),
    ]
)
COLUMNS: tuple[str, ...] = tuple(SCHEMA.names)

#: category: share of good traffic, share of fraud, typical amount in EUR.
_CATEGORIES = {
    "grocery": (0.27, 0.06, 24.0),
    "restaurant": (0.16, 0.05, 28.0),
    "fuel": (0.09, 0.06, 45.0),
    "transport": (0.11, 0.04, 12.0),
    "pharmacy": (0.06, 0.03, 18.0),
    "clothing": (0.08, 0.10, 48.0),
    "electronics": (0.05, 0.26, 95.0),
    "travel": (0.04, 0.13, 160.0),
    "entertainment": (0.06, 0.05, 22.0),
    "home": (0.04, 0.06, 60.0),
    "digital_goods": (0.03, 0.11, 15.0),
    "jewelry": (0.01, 0.05, 180.0),
}
#: country: share of customers, currency, units of that currency for one EUR.
_COUNTRIES = {
    "DE": (0.22, "EUR", 1.0),
    "FR": (0.16, "EUR", 1.0),
    "IT": (0.11, "EUR", 1.0),
    "ES": (0.09, "EUR", 1.0),
    "NL": (0.07, "EUR", 1.0),
    "AT": (0.04, "EUR", 1.0),
    "GB": (0.12, "GBP", 0.86),
    "US": (0.09, "USD", 1.08),
    "CH": (0.04, "CHF", 0.95),
    "PL": (0.06, "PLN", 4.3),
}
_CHANNELS = ("pos", "online", "atm")
_ENTRY_MODES = ("chip", "contactless", "swipe", "manual", "ecom")
_MERCHANTS_PER_CATEGORY = 500
#: No card in the portfolio may spend more at once, in units of the currency.
_CARD_LIMIT = 20_000.0
_FIRST_DAY = np.datetime64("2026-09-01T00:00:00", "us")
_DAYS = 30


def _pick(rng: np.random.Generator, size: int, weights: list[float]) -> NDArray[np.int64]:
    """Draw ``size`` indices, each as likely as its weight says."""
    share = np.asarray(weights) / sum(weights)
    return rng.choice(len(share), size=size, p=share).astype(np.int64)


def generate(rows: int = 200_000, seed: int = 7) -> pd.DataFrame:
    """Make ``rows`` transactions of one month, in order of time; the same arguments give the same frame.

    About 2.5 % are fraud. A thief tends to spend more, far away, in quick succession, online, from a new
    device and on goods that sell on; each of these only most of the time, and honest people travel and
    splurge too, so no single column gives it away.
    """
    rng = np.random.default_rng(seed)
    fraud = rng.random(rows) < 0.025

    def mostly(share: float) -> NDArray[np.bool_]:
        """The fraud rows that show one habit of thieves; the rest of them hide it."""
        shown: NDArray[np.bool_] = fraud & (rng.random(rows) < share)
        return shown

    customer = rng.integers(0, max(rows // 20, 1), rows)
    homes = _pick(rng, int(customer.max(initial=0)) + 1, [share for share, _, _ in _COUNTRIES.values()])
    travelling = rng.random(rows) < 0.06
    stolen_abroad = mostly(0.65)
    abroad = travelling | stolen_abroad
    country = np.where(abroad, rng.integers(0, len(_COUNTRIES), rows), homes[customer])
    distance = np.where(abroad, rng.lognormal(6.6, 0.8, rows), rng.lognormal(1.6, 1.1, rows))

    good_category = _pick(rng, rows, [good for good, _, _ in _CATEGORIES.values()])
    bad_category = _pick(rng, rows, [bad for _, bad, _ in _CATEGORIES.values()])
    category = np.where(fraud, bad_category, good_category)
    # A few merchants of each category take most of the trade.
    merchant = category * 1_000 + (_MERCHANTS_PER_CATEGORY * rng.random(rows) ** 2.5).astype(np.int64)

    channel = _pick(rng, rows, [0.68, 0.27, 0.05])
    channel = np.where(mostly(0.6), 1, channel)
    mode = np.where(
        channel == 0,
        _pick(rng, rows, [0.36, 0.57, 0.05, 0.02, 0.0]),
        np.where(channel == 1, 4, _pick(rng, rows, [0.93, 0.0, 0.07, 0.0, 0.0])),
    )
    mode = np.where((channel != 1) & mostly(0.5), 2, mode)

    splurging = rng.random(rows) < 0.03
    typical = np.array([price for _, _, price in _CATEGORIES.values()])[category]
    greed = np.where(mostly(0.92), rng.normal(2.2, 0.5, rows), 0.0) + np.where(splurging, 1.5, 0.0)
    rate = np.array([units for _, _, units in _COUNTRIES.values()])[country]
    amount = np.clip(typical * rate * np.exp(rng.normal(0, 0.65, rows) + greed), 0.5, _CARD_LIMIT)

    velocity = rng.poisson(1.6, rows) + np.where(mostly(0.6), rng.poisson(6.0, rows), 0)
    device_age = np.where(mostly(0.7), rng.exponential(12.0, rows), rng.exponential(420.0, rows))
    device_age = np.where(rng.random(rows) < 0.03, np.nan, device_age)

    # People shop by day: the hour is a bell around 15:00, folded into one day.
    seconds = rng.integers(0, _DAYS, rows) * 86_400 + np.mod(rng.normal(15, 4.5, rows), 24) * 3_600
    event_time = _FIRST_DAY + np.sort((seconds * 1_000_000).astype(np.int64)).astype("timedelta64[us]")
    # An odd factor permutes the 64-bit numbers, so the ids look random and can't repeat.
    ids = (np.arange(1, rows + 1, dtype=np.uint64) + np.uint64((seed << 40) % 2**64)) * np.uint64(0x9E3779B97F4A7C15)

    return pd.DataFrame(
        {
            "transaction_id": [f"{value:016x}" for value in ids.tolist()],
            "event_time": pd.Series(event_time).dt.tz_localize("UTC"),
            "customer_id": 100_000 + customer,
            "merchant_id": 10_000 + merchant,
            "merchant_category": np.array(list(_CATEGORIES))[category],
            "country": np.array(list(_COUNTRIES))[country],
            "currency": np.array([currency for _, currency, _ in _COUNTRIES.values()])[country],
            "amount": amount.round(2),
            "channel": np.array(_CHANNELS)[channel],
            "card_present": mode < 3,
            "entry_mode": np.array(_ENTRY_MODES)[mode],
            "device_age_days": device_age.round(1),
            "distance_from_home_km": np.minimum(distance, 19_000.0).round(2),
            "transactions_last_24h": velocity,
            "is_fraud": fraud,
        },
        columns=list(COLUMNS),
    )


def break_feed(frame: pd.DataFrame, seed: int = 11) -> pd.DataFrame:
    """Copy ``frame`` as a broken upstream feed would send it: same rows, wrong content.

    ``amount`` comes in cents instead of units in every row, about 30 % of ``distance_from_home_km`` are null,
    and about 6 % carry a ``merchant_category`` that nobody announced, ``crypto_exchange``.
    """
    rng = np.random.default_rng(seed)
    broken = frame.copy()
    broken["amount"] = (broken["amount"] * 100).round()
    broken.loc[rng.random(len(broken)) < 0.30, "distance_from_home_km"] = np.nan
    broken.loc[rng.random(len(broken)) < 0.06, "merchant_category"] = "crypto_exchange"
    return broken


def write_parquet(frame: pd.DataFrame, folder: Path, parts: int = 4) -> list[Path]:
    """Write ``frame`` as ``part-00000.parquet`` and so on, and return the paths in order.

    The same frame gives the same bytes, so a content hash says whether a dataset changed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    # Without its zone the time is UTC, as the schema says; pyarrow's own way warns on this pandas.
    frame = frame.assign(event_time=frame["event_time"].dt.tz_convert(None))
    # pandas' own metadata is left out: it names library versions, which are no part of the data.
    table = pa.Table.from_pandas(frame, schema=SCHEMA, preserve_index=False).replace_schema_metadata(None)
    edges = np.linspace(0, table.num_rows, parts + 1).astype(int).tolist()
    paths = []
    for number, (start, end) in enumerate(pairwise(edges)):
        path = folder / f"part-{number:05d}.parquet"
        pq.write_table(table.slice(start, end - start), path, compression="zstd")
        paths.append(path)
    return paths
