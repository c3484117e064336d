"""What a single row has to meet, and the rows of Parquet files divided by it. DuckDB does it, file by file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Self

from pydantic import Field, model_validator

from incidents.models import Frozen
from remediations.base import CannotPlan
from remediations.correction import Corrected

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

#: The column beside a row that was taken out: which rules it breaks.
WHY = "quarantined_because"


class RowRule(Frozen):
    """One thing that every row has to meet in one column. But for ``not_null``, an empty value meets it."""

    column: str = Field(min_length=1, description="The column it speaks of.")
    kind: Literal["not_null", "in_set", "between", "matches"] = Field(description="What is asked of its value.")
    values: tuple[str | int | float, ...] = Field((), description="For in_set: the values that are known.")
    low: float | None = Field(None, description="For between: the lowest value that is good.")
    high: float | None = Field(None, description="For between: the highest value that is good.")
    pattern: str | None = Field(None, description="For matches: the regular expression, found anywhere in it.")

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        given = {
            "in_set": bool(self.values),
            "between": not (self.low is None and self.high is None),
            "matches": self.pattern is not None,
        }
        if not given.get(self.kind, True):
            raise ValueError(f"a rule {self.kind} on {self.column} has nothing to compare with")
        return self

    def __str__(self) -> str:
        """``amount between 0.01 and 25000``, in short."""
        if self.kind == "between":
            return f"{self.column} between {self.low:g} and {self.high:g}" if self._closed else self._open
        return f"{self.column} {self.kind.replace('_', ' ')}"

    @property
    def sql(self) -> str:
        """The rule as DuckDB's SQL; its value may be NULL, which is not yes."""
        name = quoted(self.column)
        if self.kind == "not_null":
            return f"{name} IS NOT NULL"
        if self.kind == "in_set":
            return f"({name} IS NULL OR {name} IN ({', '.join(literal(value) for value in self.values)}))"
        if self.kind == "matches":
            return f"({name} IS NULL OR regexp_matches({name}::VARCHAR, {literal(str(self.pattern))}))"
        ends = [f"{name} {sign} {end!r}" for sign, end in ((">=", self.low), ("<=", self.high)) if end is not None]
        return f"({name} IS NULL OR ({' AND '.join(ends)}))"

    @property
    def _closed(self) -> bool:
        return self.low is not None and self.high is not None

    @property
    def _open(self) -> str:
        return f"{self.column} at most {self.high:g}" if self.low is None else f"{self.column} at least {self.low:g}"


@dataclass
class Divided(Corrected):
    """The rows that meet all rules, and beside them those that do not."""

    #: Rule -> the rows that break it.
    broken: Counter[str] = field(default_factory=Counter)


def divide(files: Iterable[Path], rules: Sequence[RowRule], folder: Path) -> Divided:
    """Write the rows apart, under the names of their files. A file with no bad row stays the file that it is.

    The same files give the same bytes, so what comes of them can be named before it is published.

    Raises:
        CannotPlan: a file can't be read or lacks a column, or a row would be lost.
    """
    import duckdb

    found = Divided()
    (folder / "kept").mkdir(parents=True)
    (folder / "taken").mkdir()
    with duckdb.connect(":memory:", config=one_thread(folder)) as database:
        for file in files:
            try:
                _divide_one(database, file, rules, folder, found)
            except duckdb.Error as error:
                raise CannotPlan(f"the rows of {file.name} can't be told apart: {str(error).splitlines()[0]}") from None
    return found


def one_thread(folder: Path) -> dict[str, str | bool | int | float | list[str]]:
    """DuckDB's settings with which rows are written in their order, and in the same groups, every time."""
    return {
        "threads": 1,
        "TimeZone": "UTC",
        "autoinstall_known_extensions": "false",
        "temp_directory": str(folder / "spill"),
    }


def _divide_one(
    database: DuckDBPyConnection,
    file: Path,
    rules: Sequence[RowRule],
    folder: Path,
    found: Divided,
) -> None:
    if set(str(file)) & set("*?[]{}"):
        raise CannotPlan(f"DuckDB would take {file.name} for a pattern")
    reader = reader_of(database, file)
    # a rule that gives NULL is not met; without the coalesce the row would be on neither side
    broken = [f"NOT coalesce({rule.sql}, false)" for rule in rules]
    bad = " OR ".join(broken)
    figures = ", ".join(["count(*)", *(f"count(*) FILTER ({one})" for one in [bad, *broken])])
    rows, count, *each = database.execute(f"SELECT {figures} FROM {reader}").fetchall()[0]  # noqa: S608  # quoted
    found.rows += rows
    found.bad += count
    found.broken.update({str(rule): one for rule, one in zip(rules, each, strict=True) if one})
    if not count:
        found.kept.append(file)
        return
    whys = ", ".join(f"CASE WHEN {one} THEN {literal(str(rule))} END" for one, rule in zip(broken, rules, strict=True))
    for side, select, where, files, wanted in (
        ("kept", "*", f"NOT ({bad})", found.kept, rows - count),
        ("taken", f"*, concat_ws('; ', {whys}) AS {WHY}", bad, found.taken, count),
    ):
        if not wanted:
            continue
        place = folder / side / file.name
        query = f"SELECT {select} FROM {reader} WHERE {where}"  # noqa: S608  # quoted
        copy = f"COPY ({query}) TO {literal(str(place))} (FORMAT parquet, COMPRESSION zstd)"
        written = database.execute(copy).fetchall()[0][0]
        if written != wanted:
            raise CannotPlan(f"{wanted} rows of {file.name} were to be {side}, and {written} were")
        files.append(place)


def reader_of(database: DuckDBPyConnection, file: Path, more: str = "") -> str:
    """The file as a table in SQL, the ranges of its numbers hidden; ``more``: options."""
    return unranged(database, f"read_parquet({literal(str(file))}, hive_partitioning = false{more})")


def unranged(database: DuckDBPyConnection, reader: str) -> str:
    """Parquet files as a table in SQL, with their numbers in a form that hides the smallest and the largest.

    DuckDB trusts the ranges that Parquet keeps, and a NaN is in none: where it looks for rows out of a range that all
    the rest are in, it finds no NaN (seen with 2.0.0), and where it looks for the others it finds the NaN too.
    """
    types = database.execute(f"DESCRIBE FROM {reader}").fetchall()
    floats = [(quoted(row[0]), row[1]) for row in types if row[1] in ("FLOAT", "DOUBLE")]
    shown = [f"CASE WHEN isnan({name}) THEN 'nan'::{kind} ELSE {name} END AS {name}" for name, kind in floats]
    return f"(SELECT * REPLACE ({', '.join(shown)}) FROM {reader})" if shown else reader  # noqa: S608  # quoted


def quoted(column: str) -> str:
    """A column's name in SQL."""
    return '"' + column.replace('"', '""') + '"'


def literal(value: str | float) -> str:
    """A value in SQL."""
    return "'" + value.replace("'", "''") + "'" if isinstance(value, str) else repr(value)
