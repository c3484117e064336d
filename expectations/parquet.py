"""Parquet files as one DuckDB view that Great Expectations can question in SQL."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from expectations.answers import CannotValidate


@contextmanager
def opened(files: Sequence[Path]) -> Iterator[tuple[Any, int, list[str]]]:
    """Yield a GX execution engine over the view ``data`` of the files, the number of rows, and the columns.

    Nothing is loaded: DuckDB reads what a question needs, when it is asked. Each call has a database of its
    own, so several may run at once.

    Raises:
        CannotValidate: a file is missing or is not Parquet; says which one and what to do.
    """
    import duckdb
    import sqlalchemy
    from duckdb_engine import ConnectionWrapper
    from great_expectations.execution_engine import SqlAlchemyExecutionEngine

    if not files:
        raise CannotValidate("no files were given: name the Parquet files of the version")
    if odd := [path for path in files if set(str(path)) & set("*?[]{}")]:
        raise CannotValidate(f"DuckDB would take {odd[0]} for a pattern: keep *?[]{{}} out of its path")
    listed = ", ".join("'" + str(path).replace("'", "''") + "'" for path in files)
    # By name, so that a column which one file lacks or adds shows up instead of being passed over; and without
    # hive partitioning, so that a folder called x=1 adds none.
    reader = f"read_parquet([{listed}], union_by_name = true, hive_partitioning = false)"
    # Nothing is downloaded at run time, and times read the same on every machine.
    settings: dict[str, str | bool | int | float | list[str]] = {
        "autoinstall_known_extensions": "false",
        "TimeZone": "UTC",
    }
    with duckdb.connect(":memory:", config=settings) as database:
        try:
            database.execute(f"CREATE VIEW data AS FROM {reader}")
            rows = database.execute("FROM data SELECT count(*)").fetchall()[0][0]
            columns = [row[0] for row in database.execute("DESCRIBE data").fetchall()]
        except duckdb.Error as error:
            raise CannotValidate(
                f"the files can't be read as Parquet: {str(error).splitlines()[0]}. "
                "Publish the version again, or roll the dataset back"
            ) from error
        # Each connection gets its own transaction in the one database: Great Expectations opens several.
        engine = sqlalchemy.create_engine(
            "duckdb:///:memory:",
            creator=lambda: ConnectionWrapper(database.cursor()),
            poolclass=sqlalchemy.pool.NullPool,
        )
        with engine.connect() as connection:
            execution = SqlAlchemyExecutionEngine(engine=engine)
            execution.get_connection = lambda: _kept(connection)
            yield execution, rows, columns


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
