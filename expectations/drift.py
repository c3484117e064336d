"""Expectations that compare a column with that of the version last verified good: PSI, Kolmogorov-Smirnov, KL.

Great Expectations knows what a suite says beforehand; the version last verified good is known when the suite is run.
So each of these has a ``reference`` that ``validate`` fills in. Where there is none yet it is not
asked, and the verdict says so. With fewer rows than ``minimum_rows`` it can't be evaluated: few rows differ by chance.
"""

from __future__ import annotations

from abc import ABC
from typing import Any, ClassVar

from great_expectations.compatibility import pydantic
from great_expectations.execution_engine import SqlAlchemyExecutionEngine
from great_expectations.expectations import ExpectColumnKLDivergenceToBeLessThan
from great_expectations.expectations.expectation import ColumnAggregateExpectation
from great_expectations.expectations.metrics.column_aggregate_metric_provider import ColumnAggregateMetricProvider
from great_expectations.expectations.metrics.metric_provider import metric_value
from great_expectations.validator.metric_configuration import MetricConfiguration

from expectations.bins import Spread, counted, counting, filled, ks, ks_p_value, psi_of_bins

#: What Great Expectations hands to who judges, by the metric's name.
Metrics = dict[str, Any]

_METRIC = "column.bin_counts"
#: So many bins are named in a result: those that differ most.
_NAMED = 3


class ColumnBinCounts(ColumnAggregateMetricProvider):  # type: ignore[misc]  # GX has no types
    """Rows in each bin, asked of DuckDB. ``figures`` asks the same, together with all else."""

    metric_name = _METRIC
    value_keys = ("edges", "values")

    @metric_value(engine=SqlAlchemyExecutionEngine)  # type: ignore[untyped-decorator]
    def _sqlalchemy(
        cls,
        execution_engine: Any,
        metric_domain_kwargs: dict[str, Any],
        metric_value_kwargs: dict[str, Any],
        metrics: dict[str, Any],  # noqa: ARG002
        runtime_configuration: dict[str, Any],  # noqa: ARG002
    ) -> Spread:
        import sqlalchemy

        rows, _, accessor = execution_engine.get_compute_domain(metric_domain_kwargs, domain_type="column")
        column = '"' + str(accessor["column"]).replace('"', '""') + '"'
        edges, values = metric_value_kwargs["edges"], metric_value_kwargs["values"]
        with execution_engine.get_connection() as connection:
            first: Any = sqlalchemy.select(sqlalchemy.literal_column(f"typeof({column})")).select_from(rows).limit(1)
            kind = connection.execute(first).scalar() or ("DOUBLE" if edges else "VARCHAR")
            asked = counting(column, kind, edges, values)
            if asked is None:
                raise ValueError(f"{accessor['column']} is {kind} now, and has no such bins as in the reference")
            whole: Any = sqlalchemy.select(sqlalchemy.literal_column(asked)).select_from(rows)
            return counted(connection.execute(whole).scalar_one(), edges, values)


class _Drift(ColumnAggregateExpectation, ABC):  # type: ignore[misc]  # GX has no types
    """How far the values of a column are from those of the version last verified good."""

    #: What ``validate`` fills in: this column of the last good version.
    compares: ClassVar[str] = "column"
    #: What is measured, in words.
    measure: ClassVar[str]

    threshold: float = pydantic.Field(description="The largest difference that is still good.")
    minimum_rows: int = pydantic.Field(
        default=1_000, ge=1, description="With fewer values than so many, here or there, nothing can be told."
    )
    reference: dict[str, Any] | None = pydantic.Field(default=None, description="Filled in when the suite is run.")

    success_keys: ClassVar[tuple[str, ...]] = ("threshold", "minimum_rows", "reference")
    args_keys: ClassVar[tuple[str, ...]] = ("column", "threshold")

    def says(self) -> str:
        """What is expected, for the page."""
        version = (self.reference or {}).get("version")
        return f"its {self.measure} against {version} is at most {self.threshold:g}"

    def get_validation_dependencies(self, execution_engine: Any = None, runtime_configuration: Any = None) -> Any:
        """The rows in each of the reference's bins."""
        needed = super(ColumnAggregateExpectation, self).get_validation_dependencies(
            execution_engine, runtime_configuration
        )
        spread = self._spread()
        metric = MetricConfiguration(
            metric_name=_METRIC,
            metric_domain_kwargs=self.configuration.get_domain_kwargs(),
            metric_value_kwargs={"edges": list(spread.edges), "values": list(spread.values)},
        )
        needed.set_metric_configuration(metric_name=_METRIC, metric_configuration=metric)
        return needed

    def _spread(self) -> Spread:
        if self.reference is None:
            raise ValueError("there is no reference: expectations.engine.validate fills it in")
        return Spread.model_validate({name: value for name, value in self.reference.items() if name != "version"})

    def _compared(self, metrics: dict[str, Any]) -> tuple[Spread, Spread]:
        """The reference and what is seen now, where both are enough."""
        seen: Spread = metrics[_METRIC]
        if seen.present < self.minimum_rows:
            raise ValueError(f"only {seen.present} rows have a value, and {self.minimum_rows} are needed to compare")
        return self._spread(), seen

    def _told(self, value: float, **details: Any) -> dict[str, Any]:
        """Great Expectations' result."""
        against = {"reference": (self.reference or {}).get("version")}
        told = {"observed_value": value, "details": {**against, **details}}
        return {"success": bool(value <= self.threshold), "result": told}


class ExpectColumnPsiToBeLessThan(_Drift):
    """The population stability index of a column against the version last verified good is at most a threshold.

    Numbers are put into bins of about a tenth of the reference each, words each by itself, and what is missing is a bin
    too. Up to 0.1 is called no shift, above 0.25 a large one: Siddiqi, Credit Risk Scorecards, 2006.
    """

    measure: ClassVar[str] = "population stability index"

    def _validate(self, metrics: Metrics, **how: Any) -> Any:  # noqa: ARG002
        old, new = self._compared(metrics)
        groups = old.groups()
        expected, seen = [*old.put(groups), old.missing], [*new.put(groups), new.missing]
        labels = [*(old.label(group) for group in groups), "missing"]
        parts = psi_of_bins(expected, seen)
        worst = sorted(range(len(parts)), key=lambda place: -parts[place])[:_NAMED]
        changed = [
            {"bin": labels[at], "reference": expected[at] / sum(expected), "seen": seen[at] / sum(seen)}
            for at in worst
            if parts[at]
        ]
        return self._told(sum(parts), changed=changed)


class ExpectColumnKsToBeLessThan(_Drift):
    """The two-sample Kolmogorov-Smirnov statistic of numbers against the version last verified good is at most so much.

    It is looked at the reference's percentiles: it is never more than that of all values, and less by 0.01 at the most.
    What is missing is left out. The p-value in the result is that of Kolmogorov's limit.
    """

    measure: ClassVar[str] = "Kolmogorov-Smirnov statistic"

    def _validate(self, metrics: Metrics, **how: Any) -> Any:  # noqa: ARG002
        old, new = self._compared(metrics)
        if not old.edges:
            raise ValueError(f"{self.column} has no order that this statistic needs: ask for its PSI or KL divergence")
        value = ks(old.counts, new.counts)
        return self._told(value, p_value=ks_p_value(value, old.present, new.present))


class ExpectColumnKlToBeLessThan(_Drift):
    """The Kullback-Leibler divergence, in nats, of a column from the version last verified good is at most so much.

    Great Expectations' own ExpectColumnKLDivergenceToBeLessThan judges; the partition object that it compares with is
    that of the reference, in the bins of the PSI. What is missing is left out.
    """

    measure: ClassVar[str] = "KL divergence"

    def _validate(self, metrics: Metrics, **how: Any) -> Any:
        import pandas as pd

        old, new = self._compared(metrics)
        groups = old.groups()
        expected, seen, labels = old.put(groups), new.put(groups), [old.label(group) for group in groups]
        names = [f"{place}: {label}" for place, label in enumerate(labels)]  # two bins may read the same
        judge = ExpectColumnKLDivergenceToBeLessThan(
            column=self.column,
            partition_object={"values": names, "weights": filled(expected, seen)},
            threshold=self.threshold,
        )
        counts = {
            "column.value_counts": pd.Series(seen, index=names, name="count"),
            "column_values.nonnull.count": new.present,
        }
        told = judge._validate(counts, **how)
        told["result"]["details"]["reference"] = (self.reference or {}).get("version")
        return told
