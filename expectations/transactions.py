"""What good card transactions are.

Critical: a model trained on this would be wrong, so the data flow acts. Warning: worth a look in working
hours. Info: good to know.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from expectations.engine import declare

if TYPE_CHECKING:
    from great_expectations import ExpectationSuite

NAME = "transactions"
#: The column that names a row in samples of failing rows.
KEY = "transaction_id"

#: The columns in their order, each with the type that DuckDB reads from Parquet.
TYPES = {
    "transaction_id": "VARCHAR",
    "event_time": "TIMESTAMP WITH TIME ZONE",
    "customer_id": "BIGINT",
    "merchant_id": "BIGINT",
    "merchant_category": "VARCHAR",
    "country": "VARCHAR",
    "currency": "VARCHAR",
    "amount": "DOUBLE",
    "channel": "VARCHAR",
    "card_present": "BOOLEAN",
    "entry_mode": "VARCHAR",
    "device_age_days": "DOUBLE",
    "distance_from_home_km": "DOUBLE",
    "transactions_last_24h": "BIGINT",
    "is_fraud": "BOOLEAN",
}
CATEGORIES = (
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
)
COUNTRIES = ("AT", "CH", "DE", "ES", "FR", "GB", "IT", "NL", "PL", "US")
CURRENCIES = ("CHF", "EUR", "GBP", "PLN", "USD")
#: Columns that may be empty: a terminal does not always tell its device, and a distance needs an address.
SOMETIMES_NULL = ("device_age_days", "distance_from_home_km")


def suite() -> ExpectationSuite:
    """The expectations of one published version, which holds a month of traffic."""
    import great_expectations.expectations as gxe

    wrong_type = " OR ".join(f"typeof({column}) <> '{kind}'" for column, kind in TYPES.items())
    return declare(
        NAME,
        [
            gxe.ExpectTableColumnsToMatchOrderedList(column_list=list(TYPES), severity="critical"),
            gxe.UnexpectedRowsExpectation(
                description="every column has its type",
                unexpected_rows_query=f"SELECT {KEY} FROM {{batch}} WHERE {wrong_type}",  # noqa: S608 - constants only
                severity="critical",
            ),
            *(
                gxe.ExpectColumnValuesToNotBeNull(column=column, severity="critical")
                for column in TYPES
                if column not in SOMETIMES_NULL
            ),
            gxe.ExpectTableRowCountToBeBetween(min_value=10_000, max_value=5_000_000, severity="critical"),
            gxe.ExpectColumnValuesToBeUnique(column="transaction_id", severity="critical"),
            gxe.ExpectColumnValuesToBeInSet(
                column="merchant_category", value_set=list(CATEGORIES), severity="critical"
            ),
            gxe.ExpectColumnValuesToBeInSet(column="country", value_set=list(COUNTRIES), severity="critical"),
            gxe.ExpectColumnValuesToBeInSet(column="currency", value_set=list(CURRENCIES), severity="critical"),
            gxe.ExpectColumnValuesToBeInSet(column="channel", value_set=["pos", "online", "atm"], severity="critical"),
            gxe.ExpectColumnValuesToBeInSet(
                column="entry_mode",
                value_set=["chip", "contactless", "swipe", "manual", "ecom"],
                severity="critical",
            ),
            # A single amount of 3,000 is possible; half of them is cents instead of units.
            gxe.ExpectColumnValuesToBeBetween(column="amount", min_value=0.01, max_value=25_000, severity="critical"),
            gxe.ExpectColumnQuantileValuesToBeBetween(
                column="amount",
                quantile_ranges={
                    "quantiles": [0.25, 0.5, 0.95],
                    "value_ranges": [[8, 36], [15, 70], [100, 700]],
                },
                severity="critical",
            ),
            gxe.ExpectColumnValuesToNotBeNull(column="distance_from_home_km", mostly=0.98, severity="critical"),
            gxe.ExpectColumnValuesToBeBetween(
                column="distance_from_home_km", min_value=0, max_value=20_038, severity="critical"
            ),
            gxe.ExpectColumnValuesToBeBetween(
                column="transactions_last_24h", min_value=0, max_value=200, severity="critical"
            ),
            # Without fraud there is nothing to learn; with a lot of it the labels are wrong.
            gxe.ExpectColumnValuesToNotBeInSet(column="is_fraud", value_set=[True], mostly=0.9, severity="critical"),
            gxe.ExpectColumnUniqueValueCountToBeBetween(column="is_fraud", min_value=2, severity="critical"),
            gxe.ExpectColumnValuesToNotBeNull(column="device_age_days", mostly=0.9, severity="warning"),
            gxe.ExpectColumnValuesToBeBetween(
                column="device_age_days", min_value=0, max_value=7_300, severity="warning"
            ),
            gxe.ExpectColumnMeanToBeBetween(
                column="transactions_last_24h", min_value=0.5, max_value=5, severity="warning"
            ),
            gxe.UnexpectedRowsExpectation(
                description="a card is never present online",
                unexpected_rows_query="SELECT transaction_id FROM {batch} WHERE channel = 'online' AND card_present",
                severity="warning",
            ),
            gxe.ExpectColumnUniqueValueCountToBeBetween(column="merchant_id", min_value=1_000, severity="info"),
            gxe.ExpectColumnUniqueValueCountToBeBetween(column="customer_id", min_value=500, severity="info"),
            gxe.ExpectColumnMeanToBeBetween(
                column="distance_from_home_km", min_value=5, max_value=400, severity="info"
            ),
        ],
    )
