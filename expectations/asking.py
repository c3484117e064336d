"""Ask every expectation of a suite: first by figures that one look at the data gives, then as Great Expectations does.

It always is Great Expectations that judges and words the result. Of an expectation about single rows that is met,
nothing more is asked; counts, values and keys of rows are only for one that is not.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from expectations import figures
from expectations.answers import error_of

#: Position in the suite -> Great Expectations' result.
Results = dict[int, Any]


def ask(execution: Any, table: str, entries: Mapping[int, Any], *, sample: int, keys: Sequence[str]) -> Results:
    """The result of every entry, by its position; what could not be evaluated has a result too.

    Rows against an entry are told by at most ``sample`` values of the columns ``keys``.
    """
    quick = _by_figures(execution, table, entries)
    plain = Plain(execution, table, entries)
    rest = [position for position in entries if position not in quick]
    whole = plain.ask([position for position in rest if not _of_rows(entries[position])], {"result_format": "COMPLETE"})
    rows = plain.ask([position for position in rest if _of_rows(entries[position])], {"result_format": "BOOLEAN_ONLY"})
    first = {**quick, **whole, **rows}
    unmet = [position for position, answer in first.items() if not answer.success and not error_of(answer)]
    # SUMMARY is bounded by the sample; COMPLETE would fetch every failing row.
    more = {"result_format": "SUMMARY", "partial_unexpected_count": sample}
    if keys:
        more["unexpected_index_column_names"] = list(keys)
    second = plain.ask([position for position in unmet if _of_rows(entries[position])], more)
    # Where the second question had no answer, the first one stands.
    told = {position: answer for position, answer in second.items() if not answer.success and not error_of(answer)}
    return {position: {**first, **told}[position] for position in entries}


def _of_rows(entry: Any) -> bool:
    """Whether an expectation speaks of single rows."""
    from great_expectations.expectations import expectation

    kinds = ("ColumnMapExpectation", "ColumnPairMapExpectation", "MulticolumnMapExpectation")
    return isinstance(entry, tuple(getattr(expectation, kind) for kind in kinds))


def _by_figures(execution: Any, table: str, entries: Mapping[int, Any]) -> Results:
    """The results of those entries whose figures can be had quickly."""
    needs: dict[int, list[Any]] = {}
    for position, entry in entries.items():
        depends = entry.get_validation_dependencies(execution, _brief(entry))
        needs[position] = depends.get_metric_configurations()
    known = figures.answers(execution, table, [metric for metrics in needs.values() for metric in metrics])
    quick: Results = {}
    for position, metrics in needs.items():
        if all(metric.id in known for metric in metrics):
            # A figure that can't be compared raises, and is an answer when it is asked in the plain way.
            with suppress(Exception):
                quick[position] = entries[position].metrics_validate(known, _brief(entries[position]), execution)
    return quick


def _brief(entry: Any) -> dict[str, Any]:
    """How an entry is asked at first. What speaks of the whole table is as cheap to answer in full."""
    return {"result_format": {"result_format": "BOOLEAN_ONLY" if _of_rows(entry) else "COMPLETE"}}


class Plain:
    """Great Expectations' own way to ask: for whatever the figures do not cover."""

    def __init__(self, execution: Any, table: str, entries: Mapping[int, Any]) -> None:
        self._execution, self._table, self._entries = execution, table, entries
        self._validator: Any = None

    def ask(self, positions: Sequence[int], result_format: Mapping[str, Any]) -> Results:
        """Ask the entries at these positions together."""
        if not positions:
            return {}
        configurations = []
        for position in positions:
            configuration = self._entries[position].configuration
            configuration.id = str(position)  # the answers come in another order
            configurations.append(configuration)
        runtime = {"result_format": dict(result_format)}
        answers = self._made().graph_validate(configurations, runtime_configuration=runtime)
        return {int(answer.expectation_config.id): answer for answer in answers}

    def _made(self) -> Any:
        """The validator over the table, made by the first question."""
        from great_expectations.core.batch import Batch
        from great_expectations.execution_engine.sqlalchemy_batch_data import SqlAlchemyBatchData
        from great_expectations.validator.validator import Validator

        if self._validator is None:
            data = SqlAlchemyBatchData(self._execution, table_name=self._table, create_temp_table=False)
            self._validator = Validator(self._execution, batches=[Batch(data=data)])
            self._validator.metrics_calculator.show_progress_bars = False
        return self._validator
