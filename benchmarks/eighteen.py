"""The suite that ``validate`` measures: eighteen expectations of the kinds that teams write most."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from great_expectations import ExpectationSuite

NAME = "eighteen"
KEY = "transaction_id"

COLUMNS = [
    "transaction_id",
    "event_time",
    "customer_id",
    "merchant_id",
    "merchant_category",
    "country",
    "currency",
    "amount",
    "channel",
    "card_present",
    "entry_mode",
    "device_age_days",
    "distance_from_home_km",
    "transactions_last_24h",
    "is_fraud",
]
CATEGORIES = [
    "clothing",
    "digital_goods",
    "electronics",
    "entertainment",
    "fuel",
    "grocery",
    "home",
    "jewelry",
    "pharmacy",
    "restaurant",
    "transport",
    "travel",
]
COUNTRIES = ["AT", "CH", "DE", "ES", "FR", "GB", "IT", "NL", "PL", "US"]
CURRENCIES = ["CHF", "EUR", "GBP", "PLN", "USD"]
QUANTILES = {0.25: (8, 50), 0.5: (15, 100), 0.95: (100, 700)}


def suite() -> ExpectationSuite:
    """All of them are met by the generated data, as on most days."""
    import great_expectations.expectations as gxe

    from expectations.engine import declare

    ranges = {"quantiles": list(QUANTILES), "value_ranges": [list(ends) for ends in QUANTILES.values()]}
    return declare(
        NAME,
        [
            gxe.ExpectTableColumnsToMatchOrderedList(column_list=COLUMNS),
            gxe.ExpectTableRowCountToBeBetween(min_value=1_000, max_value=100_000_000),
            gxe.ExpectColumnValuesToBeUnique(column="transaction_id"),
            gxe.ExpectColumnValuesToNotBeNull(column="transaction_id"),
            gxe.ExpectColumnValuesToNotBeNull(column="event_time"),
            gxe.ExpectColumnValuesToNotBeNull(column="customer_id"),
            gxe.ExpectColumnValuesToNotBeNull(column="amount"),
            gxe.ExpectColumnValuesToNotBeNull(column="device_age_days", mostly=0.9),
            gxe.ExpectColumnValuesToBeInSet(column="merchant_category", value_set=CATEGORIES),
            gxe.ExpectColumnValuesToBeInSet(column="country", value_set=COUNTRIES),
            gxe.ExpectColumnValuesToBeInSet(column="currency", value_set=CURRENCIES),
            gxe.ExpectColumnValuesToBeBetween(column="amount", min_value=0.01, max_value=25_000),
            gxe.ExpectColumnValuesToBeBetween(column="distance_from_home_km", min_value=0, max_value=20_038),
            gxe.ExpectColumnValuesToBeBetween(column="transactions_last_24h", min_value=0, max_value=200),
            gxe.ExpectColumnMeanToBeBetween(column="transactions_last_24h", min_value=0.5, max_value=5),
            gxe.ExpectColumnStdevToBeBetween(column="distance_from_home_km", min_value=1, max_value=500),
            gxe.ExpectColumnQuantileValuesToBeBetween(column="amount", quantile_ranges=ranges),
            gxe.ExpectColumnUniqueValueCountToBeBetween(column="merchant_id", min_value=500),
        ],
    )
