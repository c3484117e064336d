"""How the command line speaks: inert text on stdout, trouble as one line on stderr, and an exit code that means it."""

from __future__ import annotations

import re
import sqlite3
import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, NoReturn

import typer
from pydantic import ValidationError
from rich.console import Console
from rich.table import Table
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from typer.core import TyperGroup
from typer.exceptions import TyperException

from incidents.incident import Incident, NoSuchIncident
from incidents.inert import one_line
from incidents.ledger import number_of
from incidents.models import now
from incidents.settings import Settings
from incidents.tail import BrokenTail
from incidents.timeline import clock, timeline
from incidents.yaml_lines import Refused

#: Exit codes: the answer is no, or the question was not understood.
NEGATIVE, WRONG_USE = 1, 2

#: Columns where the output goes to a file or a pipe, which have no width of their own.
_PIPE_WIDTH = 160

_UNITS = {"d": "days", "h": "hours", "m": "minutes"}


class Trouble(Exception):
    """What went wrong, in one line for a person, and the exit code."""

    def __init__(self, text: str, code: int = NEGATIVE) -> None:
        super().__init__(text)
        self.code = code


class Commands(TyperGroup):
    """A group of commands in which expected trouble ends in one line, and never in a traceback."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command that was asked for."""
        try:
            return super().invoke(ctx)
        except Trouble as trouble:
            stop(str(trouble), trouble.code)
        except TyperException as error:
            if "\n" in error.format_message():  # the help, which is no trouble
                raise
            stop(f"{error.format_message().rstrip('.')}. See --help.", error.exit_code)
        except (NoSuchIncident, Refused, BrokenTail) as error:
            stop(str(error))
        except DBAPIError as error:  # the statement and its values stay out of it
            stop(one_line(f"the ledger cannot be reached or read: {error.orig}"))
        except (sqlite3.Error, UnicodeError) as error:
            stop(one_line(f"the ledger cannot be reached or read: {error}"))
        except SQLAlchemyError as error:
            stop(one_line(f"LASTGOOD_DATABASE_URL: {error}"), WRONG_USE)
        except ValidationError as error:
            if error.title != Settings.__name__:
                stop("the ledger holds an event that is none; `lastgood audit verify` says which")
            wrong = error.errors()[0]
            stop(f"LASTGOOD_{'.'.join(map(str, wrong['loc'])).upper()}: {wrong['msg']}", WRONG_USE)
        except BrokenPipeError:
            raise
        except OSError as error:
            stop(f"{error.filename or 'the machine'}: {error.strerror or error}")


def stop(text: str, code: int = NEGATIVE) -> NoReturn:
    """Say what went wrong on stderr, a line for each finding, and end."""
    for finding in text.splitlines() or [""]:
        sys.stderr.write(f"lastgood: {one_line(finding)}\n")
    raise typer.Exit(code)


def incident_name(given: str) -> str:
    """An incident's name as the record writes it: ``inc-007`` is ``INC-7``."""
    try:
        return f"INC-{number_of(given)}"
    except ValueError as error:
        raise Trouble(str(error), WRONG_USE) from None


def moment(text: str, option: str) -> datetime:
    """A moment as a person gives it: ISO 8601, in UTC unless it says so; or so long ago: ``90d``, ``12h``, ``30m``."""
    ago = re.fullmatch(r"(\d{1,5})([dhm])", text)
    if ago:
        return now() - timedelta(**{_UNITS[ago[2]]: int(ago[1])})
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise Trouble(f"{option} {text!r} is not a date or time such as 2026-11-23T07:00", WRONG_USE) from None
    return found.astimezone(UTC) if found.tzinfo else found.replace(tzinfo=UTC)


def say(text: object = "", *, indent: int = 0) -> None:
    """Print one line. Neither escape sequences nor markup in it do anything."""
    _console().print(" " * indent + one_line(text), soft_wrap=True)


def table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print rows under their headings; a cell is inert text as well."""
    made = Table(*columns, box=None, pad_edge=False, header_style="bold")
    for row in rows:
        made.add_row(*(one_line(cell) for cell in row))
    _console().print(made)


def say_timeline(incident: Incident) -> None:
    """Print an incident's events, a sentence each."""
    lines = timeline(incident)
    rows = [(f"{line.at:%Y-%m-%d %H:%M:%S}", clock(line.after), line.phase, line.actor, line.text) for line in lines]
    table(("At (UTC)", "After", "Phase", "Who", "What"), rows)


def _console() -> Console:
    width = None if sys.stdout.isatty() else _PIPE_WIDTH
    return Console(width=width, markup=False, highlight=False, emoji=False)
