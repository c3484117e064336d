"""Missing values of Parquet files filled in by declared rules. DuckDB does it, file by file."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from incidents.upkeep import Fill
from remediations.base import CannotPlan
from remediations.correction import Corrected
from remediations.row_rules import literal, one_thread, quoted, reader_of, unranged

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

_FLOATS = ("FLOAT", "DOUBLE")
_INTEGERS = re.compile("U?(TINY|SMALL|BIG|HUGE)?(INT|INTEGER)")
#: A row's place in its file; what is looked up may come in another order.
_PLACE = "file_row_number"


@dataclass
class Imputed(Corrected):
    """The files with their missing values filled in, as far as there is something to fill in."""

    #: Column -> the values that were filled in, and those that are still missing.
    filled: Counter[str] = field(default_factory=Counter)
    left: Counter[str] = field(default_factory=Counter)


def impute(files: Sequence[Path], rules: Mapping[str, Fill], good: Sequence[Path], folder: Path) -> Imputed:
    """Write the files anew with what is null, or not a number, filled in; ``good`` are those of the last good version.

    A file with nothing to fill in stays the file that it is. The same files give the same bytes. The median is one of
    the values, the lower of two in the middle (Hyndman and Fan 1996, definition 1), so that of integers is an integer.

    Raises:
        CannotPlan: a file can't be read or lacks a column, or a value does not fit into its column as it is. Nothing is
            rounded, but to the nearest value that a column of floats has.
    """
    import duckdb

    found = Imputed()
    (folder / "imputed").mkdir(parents=True)
    with duckdb.connect(":memory:", config=one_thread(folder)) as database:
        try:
            for number, (column, fill) in enumerate(rules.items()):
                _prepare(database, f"fill_{number}", column, fill, good)
            for file in files:
                _fill_one(database, file, rules, folder / "imputed", found)
        except duckdb.Error as error:
            raise CannotPlan(f"what is missing can't be filled in: {str(error).splitlines()[0]}") from None
    return found


def _prepare(database: DuckDBPyConnection, table: str, column: str, fill: Fill, good: Sequence[Path]) -> None:
    """Put what a column is filled with into a table: one value, or one for each key."""
    if fill.constant is not None:
        database.execute(f"CREATE TABLE {table} AS SELECT {literal(fill.constant)} AS value")  # quoted
        return
    if odd := [file for file in good if set(str(file)) & set("*?[]{}")]:
        raise CannotPlan(f"DuckDB would take {odd[0].name} for a pattern")
    listed = ", ".join(literal(str(file)) for file in good)
    source = unranged(database, f"read_parquet([{listed}], union_by_name = true, hive_partitioning = false)")
    name = quoted(column)
    kind = _types(database, source).get(column, "")
    present = f"FROM {source} WHERE NOT ({_missing(name, kind)})"
    if fill.last_good == "median":
        asked = f"SELECT quantile_disc({name}, 0.5) AS value {present}"
    elif fill.last_good == "mode":
        asked = f"SELECT {name} AS value {present} GROUP BY 1 ORDER BY count(*) DESC, 1 LIMIT 1"
    else:  # a key with two values has none that is surely its own
        key = quoted(str(fill.same))
        asked = f"SELECT {key} AS key, min({name}) AS value {present} GROUP BY 1 HAVING min({name}) = max({name})"
    database.execute(f"CREATE TABLE {table} AS {asked}")


def _fill_one(
    database: DuckDBPyConnection, file: Path, rules: Mapping[str, Fill], folder: Path, found: Imputed
) -> None:
    if set(str(file)) & set("*?[]{}"):
        raise CannotPlan(f"DuckDB would take {file.name} for a pattern")
    reader = reader_of(database, file, f", {_PLACE} = true")
    types = _types(database, reader)
    if gone := sorted(rules.keys() - types.keys()):
        raise CannotPlan(f"{file.name} has no column {', '.join(gone)}")
    joins, now = "", {name: f"r.{quoted(name)}" for name in types if name != _PLACE}
    missing, fills = dict[str, str](), dict[str, str]()
    for number, (column, fill) in enumerate(rules.items()):
        table = f"fill_{number}"
        if fill.same is not None:
            joins += f" LEFT JOIN {table} ON {table}.key = r.{quoted(fill.same)}"
        value = f"{table}.value" if fill.same is not None else f"(SELECT value FROM {table})"  # noqa: S608  # ours
        missing[column] = _missing(f"r.{quoted(column)}", types[column])
        fills[column] = f"({missing[column]} AND {value} IS NOT NULL)"
        now[column] = f"CASE WHEN {fills[column]} THEN {value}::{types[column]} ELSE r.{quoted(column)} END"
    any_of = " OR ".join(fills.values())
    figures = ", ".join(f"count(*) FILTER ({one})" for one in [any_of, *fills.values(), *missing.values()])
    source = f"FROM {reader} r{joins}"
    rows, bad, *each = database.execute(f"SELECT count(*), {figures} {source}").fetchall()[0]
    found.rows += rows
    found.bad += bad
    for number, (column, fill) in enumerate(rules.items()):
        if each[number]:
            _refuse_misfit(database, f"fill_{number}", fill, f"the column {column} of {file.name}", types[column])
    for column, filled, gone_before in zip(rules, each[: len(rules)], each[len(rules) :], strict=True):
        found.filled[column] += filled
        found.left[column] += gone_before - filled
    if not bad:
        found.kept.append(file)
        return
    place = folder / file.name
    selected = ", ".join(f"{value} AS {quoted(name)}" for name, value in now.items())
    query = f"SELECT {selected} {source} ORDER BY r.{_PLACE}"
    copy = f"COPY ({query}) TO {literal(str(place))} (FORMAT parquet, COMPRESSION zstd)"
    written = database.execute(copy).fetchall()[0][0]
    if written != rows:
        raise CannotPlan(f"{file.name} has {rows} rows, and {written} were written")
    found.kept.append(place)


def _refuse_misfit(database: DuckDBPyConnection, table: str, fill: Fill, where: str, kind: str) -> None:
    """A cast rounds and converts without a word: what comes out of it has to be what went in, and of its sort."""
    given = _types(database, table)["value"]
    if given == kind:
        return
    cast = f"TRY_CAST(value AS {kind})"
    differs = f"{cast} IS DISTINCT FROM value"
    if _sort(given) != _sort(kind):
        differs = "true"
    elif kind in _FLOATS:  # its nearest, but of an integer that is more than a detail
        exact = f"TRY_CAST({cast} AS HUGEINT) IS DISTINCT FROM TRY_CAST(value AS HUGEINT)"
        differs = exact if _INTEGERS.fullmatch(given) else "false"
    elif kind == "DATE":
        differs = f"TRY_CAST(value AS TIMESTAMP) IS DISTINCT FROM TRY_CAST({cast} AS TIMESTAMP)"
    elif given == "VARCHAR":
        differs = "false"
    found = f"FROM {table} WHERE value IS NOT NULL AND ({cast} IS NULL OR {differs})"
    if database.execute(f"SELECT count(*) {found}").fetchall()[0][0]:
        raise CannotPlan(
            f"{fill} can't be filled in: it is {given}, and {where} is {kind}, which can't hold it as it is; "
            "change the rule in the playbook, or the column"
        )


def _sort(kind: str) -> str:
    if kind == "BOOLEAN":
        return "truth"
    return "number" if kind in _FLOATS or kind.startswith("DECIMAL") or _INTEGERS.fullmatch(kind) else "other"


def _types(database: DuckDBPyConnection, table: str) -> dict[str, str]:
    return {row[0]: row[1] for row in database.execute(f"DESCRIBE FROM {table}").fetchall()}


def _missing(name: str, kind: str) -> str:
    return f"({name} IS NULL OR isnan({name}))" if kind in _FLOATS else f"{name} IS NULL"
