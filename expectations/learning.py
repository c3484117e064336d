"""Learning a first suite from a good version: a Python file for a person to read, to correct and to commit.

What is written is what was seen, with some room. Whether it has to be so, only who knows the data can say.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from pathlib import Path
from typing import Any

from expectations.parquet import opened
from expectations.suite_text import MODULE

#: So many different texts, or fewer, are taken for all that there are, where they repeat as often as below.
SET = 50
REPEATED = 100
#: An integer with more different values than this is taken for a number that names something.
NAMES = 100
#: How far a range reaches beyond what was seen, in parts of its width; a mean may move by so much of itself.
ROOM = 0.25
MEAN = 0.5

#: The customary limits of what changes by chance: a larger PSI is a large shift, and these of the others are of note.
PSI = 0.25
KS = 0.1
KL = 0.1
#: The newest time may be so many times as old as it was on publishing, and so many hours at the least.
AGE = 2
HOURS = 24

_WHOLE = ("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT", "UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT")
_BROKEN = ("FLOAT", "DOUBLE")
_TIMES = ("DATE", "TIMESTAMP", "TIMESTAMP WITH TIME ZONE")


@dataclass(frozen=True)
class Column:
    """What was seen in one column."""

    name: str
    type: str
    rows: int
    nulls: int
    distinct: int
    low: Any = None
    high: Any = None
    mean: float | None = None
    values: tuple[str, ...] = ()

    @property
    def unique(self) -> bool:
        """Whether no value is missing and none repeats, in a column that can name rows."""
        return self.nulls == 0 and self.distinct == self.rows and self.type in ("VARCHAR", "UUID", *_WHOLE)

    @property
    def names_something(self) -> bool:
        """Whether its numbers stand for customers or the like, and not for how much of something there is."""
        return self.type in _WHOLE and self.distinct > NAMES


def learn(name: str, files: Sequence[Path], source: str, published_at: datetime | None = None) -> str:
    """The text of a suite's module that the files pass; ``source`` says in it what it was learned from.

    How fresh it is to be is learned from how fresh it was when it was published.

    Raises:
        CannotValidate: the files can't be read.
    """
    with opened(files) as (execution, rows, _), execution.get_connection() as connection:
        types = {row[0]: row[1] for row in connection.exec_driver_sql("DESCRIBE data").fetchall()}
        columns = [_seen(connection, column, kind, rows) for column, kind in types.items()]
    key = next((one.name for one in columns if one.unique), columns[0].name)
    lines = [line for one in columns for line in _expectations(one)] + _fresh(columns, published_at)
    return MODULE.format(
        source=source,
        name=_text(name),
        key=_text(key),
        types="".join(f"    {_text(one.name)}: {_text(one.type)},\n" for one in columns),
        least=max(1, rows // 2),
        most=rows * 2,
        lines="".join(f"            {line},\n" for line in lines),
    )


def _seen(connection: Any, name: str, kind: str, rows: int) -> Column:
    column = '"' + name.replace('"', '""') + '"'
    numbers = kind in (*_WHOLE, *_BROKEN)
    finite = f"CASE WHEN isfinite({column}::DOUBLE) THEN {column} END"
    figures = f"min({finite}), max({finite}), avg({finite})" if numbers else "NULL, NULL, NULL"
    if kind in _TIMES:
        figures = f"min({column}), max({column}), NULL"
    asked = f"SELECT count(*) - count({column}), count(DISTINCT {column}), {figures} FROM data"  # noqa: S608  # quoted
    nulls, distinct, low, high, mean = connection.exec_driver_sql(asked).fetchone()
    values: tuple[str, ...] = ()
    if kind == "VARCHAR" and distinct <= SET and distinct * REPEATED <= rows:
        listed = f"SELECT DISTINCT {column} FROM data WHERE {column} IS NOT NULL ORDER BY 1"  # noqa: S608  # quoted
        values = tuple(row[0] for row in connection.exec_driver_sql(listed).fetchall())
    return Column(name, kind, rows, nulls, distinct, low, high, mean, values)


def _expectations(seen: Column) -> list[str]:
    """What is expected of a column, each as a line of Python."""
    told = []
    if seen.nulls == 0:
        told.append(_call("ValuesToNotBeNull", seen))
    elif seen.nulls < seen.rows:
        mostly = math.floor(100 * (1 - 2 * seen.nulls / seen.rows) - 1) / 100
        told += [_call("ValuesToNotBeNull", seen, mostly=mostly)] if mostly > 0 else []
    if seen.unique:
        told.append(_call("ValuesToBeUnique", seen))
    if seen.values:
        told.append(_call("ValuesToBeInSet", seen, value_set=list(seen.values)))
    if seen.type == "BOOLEAN" and seen.distinct > 1:
        told.append(_call("UniqueValueCountToBeBetween", seen, min_value=2))
    if seen.low is not None and seen.type not in _TIMES and not seen.unique:
        told.append(_call("ValuesToBeBetween", seen, warning=seen.names_something, **_range(seen)))
        if seen.mean and not seen.names_something:
            low, high = sorted([seen.mean * (1 - MEAN), seen.mean * (1 + MEAN)])
            ends: dict[str, Any] = {"min_value": _short(low), "max_value": _short(high)}
            told.append(_call("MeanToBeBetween", seen, warning=True, **ends))
    return told + _drift(seen)


def _drift(seen: Column) -> list[str]:
    """How much a column may differ from what the version last verified good has in it."""
    if seen.values or (seen.type == "BOOLEAN" and seen.distinct > 1):
        kl = _call("KlToBeLessThan", seen, of="drift", warning=True, threshold=KL)
        return [_call("PsiToBeLessThan", seen, of="drift", threshold=PSI), kl]
    if seen.mean is not None and not seen.unique and not seen.names_something:
        ks = _call("KsToBeLessThan", seen, of="drift", warning=True, threshold=KS)
        return [_call("PsiToBeLessThan", seen, of="drift", threshold=PSI), ks]
    return []


def _fresh(columns: Sequence[Column], published_at: datetime | None) -> list[str]:
    """How old the newest time may be: of the column that was freshest on publishing, and not ahead of it."""
    times = [(_moment(one.high), one) for one in columns if one.type in _TIMES and one.high is not None]
    past = [(moment, one) for moment, one in times if published_at and moment <= published_at]
    if published_at is None or not past:
        return []
    moment, seen = max(past, key=lambda found: found[0])
    hours = max(HOURS, math.ceil(AGE * ((published_at - moment) / timedelta(hours=1))))
    return [_call("AgeToBeLessThan", seen, of="arrival", warning=True, hours=hours)]


def _moment(time_or_day: Any) -> datetime:
    """A time of DuckDB's, in UTC where it says no zone."""
    moment = time_or_day if isinstance(time_or_day, datetime) else datetime.combine(time_or_day, time())
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _range(seen: Column) -> dict[str, Any]:
    """What was seen and some room; what was never below zero is not expected to be."""
    room = (seen.high - seen.low) * ROOM or abs(seen.high) * ROOM or 1
    low, high = seen.low - room, seen.high + room
    if seen.low >= 0:
        low = max(low, 0)
    if seen.type in _WHOLE:
        return {"min_value": math.floor(low), "max_value": math.ceil(high)}
    return {"min_value": _short(low), "max_value": _short(high)}


def _short(number: float) -> float:
    """Three digits are enough for what has this much room."""
    return float(f"{number:.3g}")


def _call(what: str, seen: Column, *, of: str = "gxe", warning: bool = False, **options: Any) -> str:
    given = "".join(f", {name}={_python(value)}" for name, value in options.items())
    severity = "warning" if warning else "critical"
    return f'{of}.ExpectColumn{what}(column={_text(seen.name)}{given}, severity="{severity}")'


def _python(value: Any) -> str:
    return f"[{', '.join(_text(one) for one in value)}]" if isinstance(value, list) else repr(value)


def _text(text: str) -> str:
    """A text as Python writes it, in double quotes."""
    return json.dumps(text, ensure_ascii=False)
