"""The sides of ``benchmarks.intake``, each a process of its own, on the very uvicorn that ``lastgood serve`` runs."""

from __future__ import annotations

import asyncio
import json
import os
import sqlite3
from pathlib import Path
from typing import Annotated, Any

import typer
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from benchmarks.intake_client import TOKEN

PLAYBOOK = Path(__file__).parent.parent / "playbook.yaml"


def main(side: Annotated[str, typer.Argument(help="ours, bodies or alerts.")], file: Path, port: int) -> None:
    """Serve one side on loopback, its rows in a SQLite file."""
    from incidents.intake.app import server

    os.environ["LASTGOOD_TOKEN_ALERTMANAGER"] = TOKEN
    app: Any = _ours(file) if side == "ours" else _floor(file, each=side == "alerts")
    server(app, port=port).run()


def _ours(file: Path) -> Any:
    """The whole intake and its outbox; only the run that an incident asks for is not started."""
    from incidents.intake.app import create_app
    from incidents.ledger import Ledger
    from incidents.playbook import load

    async def launch(_job: dict[str, Any]) -> None:
        await asyncio.sleep(0)

    return create_app(Ledger(f"sqlite:///{file}"), load(PLAYBOOK), handlers={"launch": launch})


def _floor(file: Path, *, each: bool) -> Starlette:
    """One insert a body, or one an alert, as durable as ours: WAL, synchronous FULL, answered after the commit."""
    connection = sqlite3.connect(file, isolation_level=None)
    for line in (
        "PRAGMA journal_mode=WAL",
        "PRAGMA synchronous=FULL",
        "CREATE TABLE alerts (id INTEGER PRIMARY KEY, body)",
    ):
        connection.execute(line)

    async def take(request: Request) -> Response:
        body = await request.body()
        if each:
            connection.execute("BEGIN IMMEDIATE")
            rows = ((json.dumps(alert),) for alert in json.loads(body)["alerts"])
            connection.executemany("INSERT INTO alerts (body) VALUES (?)", rows)
            connection.execute("COMMIT")
        else:
            connection.execute("INSERT INTO alerts (body) VALUES (?)", (body,))
        return Response(status_code=202)

    async def health(_request: Request) -> Response:
        return Response("{}")

    return Starlette(routes=[Route("/alerts/{sender}", take, methods=["POST"]), Route("/health", health)])


if __name__ == "__main__":
    typer.run(main)
