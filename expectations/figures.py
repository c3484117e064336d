"""The figures that Great Expectations judges by, asked of DuckDB in the way that it answers fastest.

Each expectation names the metrics that it needs, and judges them itself; who worked them out is all the same to it.
Here all plain aggregates are one statement over one scan, and the few that DuckDB answers better alone are a
statement over one column each. What is not on the list below is left to Great Expectations.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from expectations.bins import counted, counting

#: DuckDB's types of columns that hold numbers, and of those whose values have an order that a range can speak of.
_NUMBERS = frozenset(
    {f"{sign}{size}INT" for sign in ("", "U") for size in ("TINY", "SMALL", "BIG", "HUGE")}
    | {"INTEGER", "UINTEGER", "FLOAT", "DOUBLE"}
)
_ORDERED = _NUMBERS | {"DATE", "TIMESTAMP", "TIMESTAMP WITH TIME ZONE"}


@dataclass(frozen=True)
class Figure:
    """One metric in SQL, with ``?`` for each parameter."""

    sql: str
    parameters: tuple[Any, ...] = ()
    #: Asked in a statement of its own. Beside other aggregates DuckDB stores the whole scan for a DISTINCT:
    #: 10 million rows took 5.5 s and 2.1 GB in one statement, and 1.6 s and 0.6 GB in three.
    alone: bool = False
    #: Rows that are counted, for one asked alone. A list of texts is looked up once for each text that a block of
    #: Parquet knows when it stands here, and once for each row (18 times slower) when it stands in a FILTER.
    where: str = "true"
    #: Makes the metric's value of DuckDB's answer; None leaves the question to Great Expectations.
    read: Callable[[Any], Any] = lambda value: value


def answers(execution: Any, table: str, metrics: Sequence[Any]) -> dict[Any, Any]:
    """The values, by id, of those of Great Expectations' metrics that DuckDB can be asked for here.

    A metric that makes its statement fail is left out, for Great Expectations to say what is wrong.
    """
    types = _types(execution, table)
    found: dict[Any, Any] = {}
    wanted: dict[Any, Figure] = {}
    for metric in metrics:
        if metric.metric_name == "table.columns":
            found[metric.id] = list(types)
        elif figure := _figure(metric, types):
            wanted[metric.id] = figure
    together = {name: figure for name, figure in wanted.items() if not figure.alone}
    for asked in [together, *({name: figure} for name, figure in wanted.items() if figure.alone)]:
        row = _row(execution, table, list(asked.values()))
        if row is None:  # one of them is at fault: each by itself then
            row = [(_row(execution, table, [figure]) or [None])[0] for figure in asked.values()]
        for name, value in zip(asked, row, strict=True):
            if value is not None and (read := wanted[name].read(value)) is not None:
                found[name] = read
    return found


def _types(execution: Any, table: str) -> dict[str, str]:
    """The table's columns in their order, each with DuckDB's name of its type."""
    with execution.get_connection() as connection:
        return {row[0]: row[1] for row in connection.exec_driver_sql(f"DESCRIBE {table}").fetchall()}


def _row(execution: Any, table: str, figures: Sequence[Figure]) -> Sequence[Any] | None:
    """Ask for all figures in one statement; None when it fails."""
    from sqlalchemy.exc import DBAPIError

    if not figures:
        return ()
    asked = ", ".join(figure.sql for figure in figures)
    statement = f"SELECT {asked} FROM {table} WHERE {figures[0].where}"  # noqa: S608 - names are quoted
    parameters = tuple(value for figure in figures for value in figure.parameters)
    try:
        with execution.get_connection() as connection:
            return tuple(connection.exec_driver_sql(statement, parameters).fetchone())
    except DBAPIError:
        return None


def _figure(metric: Any, types: Mapping[str, str]) -> Figure | None:
    """The metric in SQL, or None where it is not on the list, or asks for more than the list can."""
    domain = {name: value for name, value in metric.metric_domain_kwargs.items() if value is not None}
    options = {name: value for name, value in metric.metric_value_kwargs.items() if value is not None}
    options = {name: value for name, value in options.items() if value is not False}
    column = domain.pop("column", None)
    if domain:  # a condition on rows, or another table
        return None
    if metric.metric_name == "table.row_count":
        return Figure("count(*)")
    if metric.metric_name not in _COLUMN or column not in types:
        return None
    knows, write = _COLUMN[metric.metric_name]
    if not set(options) <= set(knows):
        return None
    return write('"' + column.replace('"', '""') + '"', types[column], options)


_Writer = Callable[[str, str, Mapping[str, Any]], Figure | None]


def _of(sql: str, kinds: frozenset[str] | None = None, alone: bool = False) -> _Writer:
    """A figure without parameters, for columns of some types."""

    def write(column: str, kind: str, _: Mapping[str, Any]) -> Figure | None:
        return Figure(sql.format(column), alone=alone) if kinds is None or kind in kinds else None

    return write


def _outside(column: str, kind: str, options: Mapping[str, Any]) -> Figure | None:
    """How many values lie outside a range."""
    low, high = options.get("min_value"), options.get("max_value")
    ends = [end for end in (low, high) if end is not None]
    comparable = all(isinstance(end, int | float) for end in ends) or all(isinstance(end, date) for end in ends)
    if kind not in _ORDERED or not ends or not comparable or len({type(end) for end in ends} - {int, float}) > 1:
        return None
    if low is not None and high is not None and not low <= high:  # Great Expectations refuses it
        return None
    bounds = [f"{column} >{'' if options.get('strict_min') else '='} ?"] if low is not None else []
    bounds += [f"{column} <{'' if options.get('strict_max') else '='} ?"] if high is not None else []
    return Figure(f"count(*) FILTER (NOT ({' AND '.join(bounds)}))", tuple(ends))


def _listed(word: str) -> _Writer:
    """How many values are, or are not, among the listed ones."""

    def write(column: str, _: str, options: Mapping[str, Any]) -> Figure | None:
        values = options.get("value_set")
        if not values or not all(isinstance(value, str | int | float) for value in values):
            return None
        where = f"{column} {word} ({', '.join('?' * len(values))})"
        return Figure("count(*)", tuple(values), alone=True, where=where)

    return write


def _repeated(column: str, kind: str, _: Mapping[str, Any]) -> Figure | None:
    """Zero where no value repeats. Where one may, Great Expectations counts the rows.

    Texts that differ in their hashes differ, and hashes are smaller to remember. Two texts may share one, so only
    the zero is certain.
    """
    value = f"CASE WHEN {column} IS NOT NULL THEN hash({column}) END" if kind == "VARCHAR" else column
    sql = f"count({column}) - count(DISTINCT {value})"
    return Figure(sql, alone=True, read=lambda repeated: 0 if repeated == 0 else None)


def _quantiles(column: str, kind: str, options: Mapping[str, Any]) -> Figure | None:
    """Values at some shares of the column, all from one sorted copy."""
    shares = options["quantiles"]
    if kind not in _ORDERED or not all(isinstance(share, int | float) and 0 <= share <= 1 for share in shares):
        return None
    listed = ", ".join(f"{float(share)!r}::DOUBLE" for share in shares)
    return Figure(f"quantile_disc({column}, [{listed}])")


def _bins(column: str, kind: str, options: Mapping[str, Any]) -> Figure | None:
    """Rows in each bin of a reference."""
    edges, values = options.get("edges", ()), options.get("values", ())
    asked = counting(column, kind, edges, values)
    return None if asked is None else Figure(asked, read=lambda answer: counted(answer, edges, values))


#: Metric of a column -> the options that are known of it, and how it is written.
_COLUMN: dict[str, tuple[tuple[str, ...], _Writer]] = {
    "column_values.nonnull.unexpected_count": ((), _of("count(*) - count({})")),
    "column_values.null.unexpected_count": ((), _of("count({})")),
    "column_values.between.unexpected_count": (("min_value", "max_value", "strict_min", "strict_max"), _outside),
    "column_values.in_set.unexpected_count": (("value_set",), _listed("NOT IN")),
    "column_values.not_in_set.unexpected_count": (("value_set",), _listed("IN")),
    "column_values.unique.unexpected_count": ((), _repeated),
    "column.distinct_values.count": ((), _of("count(DISTINCT {})", alone=True)),
    "column.quantile_values": (("quantiles",), _quantiles),
    "column.mean": ((), _of("avg(1.0::DOUBLE * {})", _NUMBERS)),
    "column.standard_deviation": ((), _of("stddev_samp({})", _NUMBERS)),
    "column.sum": ((), _of("sum({})", _NUMBERS)),
    "column.min": ((), _of("min({})")),
    "column.max": ((), _of("max({})")),
    "column.bin_counts": (("edges", "values"), _bins),
}
