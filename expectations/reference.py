"""What a version looks like in few numbers: the reference that the next one is compared with."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from expectations.bins import Spread, counted, counting, is_numbers, is_words, value_of
from expectations.parquet import draw, opened
from incidents.models import Frozen

#: Bins of numbers: the edges are percentiles.
PERCENTILES = 100
#: The most frequent values of words, so many at the most; the rest are others.
VALUES = 100
#: Where percentiles are looked for in a version with more rows than this. The rows in each bin are counted of all.
LOOKED_AT = 200_000


class Reference(Frozen):
    """One version: its rows, and the spread of those of its columns that can be compared."""

    version: str
    rows: int
    columns: dict[str, Spread]


def profile(files: Sequence[Path], version: str, columns: Iterable[str]) -> Reference:
    """The reference that a version is, in the columns named; one that it lacks, or that has no bins, is left out.

    Raises:
        CannotValidate: the files can't be read.
    """
    with opened(files) as (execution, rows, _):
        looked_at = "data"
        if rows > LOOKED_AT:
            draw(execution, files, rows, LOOKED_AT)
            looked_at = "drawn"
        with execution.get_connection() as connection:
            types = {row[0]: row[1] for row in connection.exec_driver_sql("DESCRIBE data").fetchall()}
            found = {
                name: _spread(connection, looked_at, '"' + name.replace('"', '""') + '"', types[name])
                for name in sorted(set(columns) & types.keys())
                if is_numbers(types[name]) or is_words(types[name])
            }
    return Reference(version=version, rows=rows, columns={name: one for name, one in found.items() if one})


def _spread(connection: Any, table: str, column: str, kind: str) -> Spread | None:
    """How one column is spread; None where it has no value at all."""
    edges, values = list[float](), list[str]()
    if is_numbers(kind):
        edges = _edges(connection, table, value_of(column, kind))
    else:
        listed = f"SELECT {value_of(column, kind)} AS value FROM data WHERE value IS NOT NULL"  # noqa: S608  # quoted
        ranked = f"{listed} GROUP BY value ORDER BY count(*) DESC, value LIMIT {VALUES}"
        values = sorted(row[0] for row in connection.exec_driver_sql(ranked).fetchall())
    asked = counting(column, kind, edges, values)
    if asked is None:
        return None
    return counted(connection.exec_driver_sql(f"SELECT {asked} FROM data").scalar_one(), edges, values)  # noqa: S608  # quoted


def _edges(connection: Any, table: str, value: str) -> list[float]:
    """The percentiles; one that repeats has an edge right below it as well, and so a bin of its own."""
    shares = ", ".join(f"{place}/{PERCENTILES}" for place in range(PERCENTILES + 1))
    asked = f"SELECT quantile_disc(value, [{shares}]) FROM (SELECT {value} AS value FROM {table})"  # noqa: S608  # quoted
    found = [one for one in connection.exec_driver_sql(asked).scalar_one() or [] if math.isfinite(one)]
    repeated = {low for low, high in pairwise(found) if low == high}
    below = {math.nextafter(one, -math.inf) for one in repeated}
    return sorted({*found, *(one for one in below if math.isfinite(one))})
