"""Expectations on what arrived: how much, against the version last verified good, and how fresh it is.

As those of ``drift`` they have a ``reference``, or a ``moment``, that ``validate`` fills in.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from typing import Any, ClassVar

from great_expectations.compatibility import pydantic
from great_expectations.expectations.expectation import BatchExpectation, ColumnAggregateExpectation

#: What Great Expectations hands to who judges, by the metric's name.
Metrics = dict[str, Any]


class ExpectTableRowCountRatioToBeBetween(BatchExpectation):  # type: ignore[misc]  # GX has no types
    """The rows are so many times those of the version last verified good: 0.5 to 2, for instance."""

    compares: ClassVar[str] = "rows"

    min_value: float = pydantic.Field(default=0.5, ge=0, description="The smallest ratio that is still good.")
    max_value: float = pydantic.Field(default=2.0, ge=0, description="The largest.")
    reference: dict[str, Any] | None = pydantic.Field(default=None, description="Filled in when the suite is run.")

    metric_dependencies: ClassVar[tuple[str, ...]] = ("table.row_count",)
    success_keys: ClassVar[tuple[str, ...]] = ("min_value", "max_value", "reference")
    args_keys: ClassVar[tuple[str, ...]] = ("min_value", "max_value")

    def says(self) -> str:
        """What is expected, for the page."""
        version = (self.reference or {}).get("version")
        return f"the rows are {self.min_value:g} to {self.max_value:g} times those of {version}"

    def _validate(self, metrics: Metrics, **how: Any) -> Any:  # noqa: ARG002
        if self.reference is None:
            raise ValueError("there is no reference: expectations.engine.validate fills it in")
        rows, before = metrics["table.row_count"], self.reference["rows"]
        ratio = rows / before
        details = {"reference": self.reference["version"], "rows": rows, "rows_of_reference": before}
        return {
            "success": self.min_value <= ratio <= self.max_value,
            "result": {"observed_value": ratio, "details": details},
        }


class ExpectColumnAgeToBeLessThan(ColumnAggregateExpectation):  # type: ignore[misc]  # GX has no types
    """The newest time in a column is at most so many hours old at the moment of the look, and not in the future.

    A time without a zone is UTC, and a day begins at midnight. How old it may be is asked of the current version alone:
    one that is gone back to is old, and as good as it was. A time in the future is wrong in any version.
    """

    compares: ClassVar[str] = "moment"

    hours: float = pydantic.Field(gt=0, description="How old the newest may be.")
    ahead_hours: float = pydantic.Field(
        default=1, ge=0, description="How far it may be in the future: clocks differ. One row of next year hides all."
    )
    moment: str | None = pydantic.Field(default=None, description="Filled in when the suite is run.")
    timely: bool = pydantic.Field(default=True, description="Whether its age counts. Filled in when the suite is run.")

    metric_dependencies: ClassVar[tuple[str, ...]] = ("column.max",)
    success_keys: ClassVar[tuple[str, ...]] = ("hours", "ahead_hours", "moment", "timely")
    args_keys: ClassVar[tuple[str, ...]] = ("column", "hours")

    def says(self) -> str:
        """What is expected, for the page."""
        return f"the newest is at most {self.hours:g} hours old" if self.timely else "the newest is not in the future"

    def _validate(self, metrics: Metrics, **how: Any) -> Any:  # noqa: ARG002
        if self.moment is None:
            raise ValueError("there is no moment: expectations.engine.validate fills it in")
        newest = _aware(metrics["column.max"], self.column)
        age = (datetime.fromisoformat(self.moment) - newest) / timedelta(hours=1)
        details = {"newest": newest.isoformat(), "moment": self.moment}
        return {
            "success": -self.ahead_hours <= age and (age <= self.hours or not self.timely),
            "result": {"observed_value": age, "details": details},
        }


def _aware(newest: Any, column: str) -> datetime:
    if not isinstance(newest, date):
        raise ValueError(f"{column} holds no time")
    moment = newest if isinstance(newest, datetime) else datetime.combine(newest, time())
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
