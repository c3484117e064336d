"""Parquet files as a DuckDB view, or two, that Great Expectations can question in SQL."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from expectations.answers import CannotValidate

if TYPE_CHECKING:
    import sqlalchemy

#: DuckDB's types whose values may be no numbers.
_FLOATS = ("FLOAT", "DOUBLE")


@contextmanager
def opened(files: Sequence[Path]) -> Iterator[tuple[Any, int, list[str]]]:
    """Yield a GX execution engine over the view ``data`` of the files, the number of rows, and the columns.

    Nothing is loaded: DuckDB reads what a question needs, when it is asked. Each call has a database of its
    own, so several may run at once.

    Raises:
        CannotValidate: a file is missing or is not Parquet; says which one and what to do.
    """
    import duckdb
    from duckdb_engine import ConnectionWrapper
    from great_expectations.execution_engine import SqlAlchemyExecutionEngine

    reader = _reader(files)
    with (
        tempfile.TemporaryDirectory(prefix="lastgood-") as spill,
        duckdb.connect(":memory:", config=_settings(spill)) as database,
    ):
        try:
            types = {row[0]: row[1] for row in database.execute(f"DESCRIBE FROM {reader}").fetchall()}
            database.execute(f"CREATE VIEW data AS {_selected(types)} FROM {reader}")
            rows = database.execute("FROM data SELECT count(*)").fetchall()[0][0]
        except duckdb.Error as error:
            raise CannotValidate(
                f"the files can't be read as Parquet: {str(error).splitlines()[0]}. "
                "Publish the version again, or roll the dataset back"
            ) from error
        # Each connection gets its own transaction in the one database: Great Expectations opens several.
        engine = _engine(lambda: ConnectionWrapper(database.cursor()))
        with engine.connect() as connection:
            execution = SqlAlchemyExecutionEngine(engine=engine)
            execution.get_connection = lambda: _kept(connection)
            yield execution, rows, list(types)


def warm_up() -> None:
    """Let SQLAlchemy find its dialect for DuckDB among all that is installed, which takes as long as some questions."""
    from sqlalchemy.dialects import registry

    registry.load("duckdb")


def get_ready() -> None:
    """Have DuckDB's dialect look up the words that it quotes, for which it opens a database of its own once."""
    _engine(lambda: None)


def _engine(connect: Callable[[], Any]) -> sqlalchemy.Engine:
    """What reaches DuckDB by this way to connect."""
    import sqlalchemy

    engine = sqlalchemy.create_engine("duckdb:///:memory:", creator=connect, poolclass=sqlalchemy.pool.NullPool)
    # Great Expectations asks for the primary key of what it looks at; a view has none, and DuckDB is slow to say so.
    engine.dialect.get_pk_constraint = lambda *_, **__: {"constrained_columns": [], "name": None}  # type: ignore[assignment,method-assign]
    return engine


def _settings(spill: str) -> dict[str, str | bool | int | float | list[str]]:
    """Nothing is downloaded, times read the same everywhere, and what memory can't hold goes into ``spill``.

    What is at the end of each file, which tells what is where in it, is read once, and not for every question.
    """
    return {
        "autoinstall_known_extensions": "false",
        "TimeZone": "UTC",
        "temp_directory": spill,
        "parquet_metadata_cache": "true",
    }


@contextmanager
def _kept(connection: Any) -> Iterator[Any]:
    """Lend the one connection, and keep it open.

    Great Expectations closes a connection before it reads the rows from it, except on databases that it
    knows to need theirs kept, and it does not know DuckDB. After an error DuckDB refuses everything until a
    rollback, so without one here a single bad column would leave every later expectation unanswered.
    """
    try:
        yield connection
    except Exception:
        connection.rollback()
        raise


#: Rows are drawn in blocks of so many, which DuckDB decodes together.
_BLOCK = 2_048


def draw(execution: Any, files: Sequence[Path], rows: int, wanted: int) -> int:
    """Make the view ``drawn`` of about ``wanted`` of the rows, and return how many it holds.

    Blocks are drawn by a hash of their place, all over the files, and the same ones each time: two looks at one
    version see the same rows, and DuckDB does not read the others.
    """
    largest = min(wanted, rows) * 2**64 // rows - 1
    where = f"hash(file_index, file_row_number // {_BLOCK}) <= {largest}::UBIGINT"
    with execution.get_connection() as connection:
        types = {row[0]: row[1] for row in connection.exec_driver_sql("DESCRIBE data").fetchall()}
        connection.exec_driver_sql(f"CREATE VIEW drawn AS {_selected(types)} FROM {_reader(files)} WHERE {where}")
        connection.commit()  # a later rollback keeps it
        count: int = connection.exec_driver_sql("FROM drawn SELECT count(*)").scalar_one()
    return count


def _reader(files: Sequence[Path]) -> str:
    """The files as one table, in DuckDB's SQL."""
    if not files:
        raise CannotValidate("no files were given: name the Parquet files of the version")
    if odd := [path for path in files if set(str(path)) & set("*?[]{}")]:
        raise CannotValidate(f"DuckDB would take {odd[0]} for a pattern: keep *?[]{{}} out of its path")
    # By name, so that a column which one file lacks or adds shows up instead of being passed over; and without
    # hive partitioning, so that a folder called x=1 adds none.
    listed = ", ".join(_quoted(str(path)) for path in files)
    return f"read_parquet([{listed}], union_by_name = true, hive_partitioning = false)"


def _selected(types: Mapping[str, str]) -> str:
    """All columns, those of floating point in a form that changes no value and hides the smallest and the largest.

    The ranges that Parquet keeps leave out what is not a number, and DuckDB trusts them: it passes over a NaN that is
    out of range (seen with 2.0.0), and bad data would be taken for good.
    """
    floats = {f'"{name.replace(chr(34), chr(34) * 2)}"': kind for name, kind in types.items() if kind in _FLOATS}
    kept = [f"CASE WHEN isnan({name}) THEN 'nan'::{kind} ELSE {name} END AS {name}" for name, kind in floats.items()]
    return f"SELECT * REPLACE ({', '.join(kept)})" if kept else "SELECT *"


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
