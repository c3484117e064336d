"""How far DuckDB is with a question, for a person who waits at a terminal."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event, Thread
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console

#: Seconds that nobody minds.
PATIENCE = 2.0


@contextmanager
def watched(execution: Any, title: str, console: Console | None = None) -> Iterator[None]:
    """Show the progress of each question that is asked inside, once it all takes long, and only on a terminal."""
    from rich.console import Console

    console = console or Console(stderr=True)
    if not console.is_terminal:
        yield
        return
    with execution.get_connection() as connection:
        for setting in ("enable_progress_bar = true", "enable_progress_bar_print = false"):
            connection.exec_driver_sql(f"SET {setting}")
        database = connection.connection.driver_connection
    done = Event()
    shown = Thread(target=_show, args=(database, title, console, done), name="progress", daemon=True)
    shown.start()
    try:
        yield
    finally:
        done.set()
        shown.join()


def _show(database: Any, title: str, console: Console, done: Event) -> None:
    """Look five times a second until it is done."""
    from rich.progress import Progress

    if done.wait(PATIENCE):
        return
    with Progress(console=console, transient=True) as bar:
        task = bar.add_task(title, total=100)
        while not done.wait(0.2):
            # Below zero between two questions.
            bar.update(task, completed=max(database.query_progress(), 0))
