"""The web app that takes alerts in. It answers 2xx after the commit and never before, and repeats nothing it was sent.

``POST /alerts/{sender}``: 202 something new is on the record; 200 nothing was to be done, a repeat say; 400 not
JSON; 401 no token or a wrong one; 404 no such sender; 408, 413, 415, 431 as usual; 422 JSON of another shape; 503 busy,
or the record is broken and a person has to see to it: send it again. It is a 503 and never a 429, because Alertmanager
does not try again after a 429.

``GET`` and ``POST /answers/{token}``: a person's answer to a plan, see ``answers``.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import Any

import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response
from sqlalchemy.exc import SQLAlchemyError
from starlette.exceptions import HTTPException

from incidents import outbox
from incidents.intake import WrongShape, answers, strict_json
from incidents.intake.group import AWAY, Groups
from incidents.intake.request import COME_AGAIN, Refused, check_headers, check_token, read_body
from incidents.intake.room import Room
from incidents.ledger import Ledger
from incidents.outbox import Handlers
from incidents.playbook import Playbook
from incidents.tail import BrokenTail

_log = logging.getLogger(__name__)


def create_app(
    ledger: Ledger, playbook: Playbook, *, handlers: Handlers | None = None, patience: float = 10
) -> FastAPI:
    """The app. While it runs it also works off the outbox, with ``outbox.handlers`` unless others are given.

    ``patience``: seconds within which a request's body has to arrive.
    """
    for name, sender in playbook.senders.items():
        if not os.environ.get(sender.token_env):
            _log.warning("%s is not set, so nobody can post as %s", sender.token_env, name)
    jobs = outbox.handlers(ledger) if handlers is None else handlers
    wake, room, groups = asyncio.Event(), Room(), Groups(ledger, playbook)

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        gc.collect()
        gc.freeze()  # what is loaded now stays, and need not be looked through at every collection
        stop = asyncio.Event()
        working = asyncio.create_task(outbox.run(ledger, jobs, stop, wake))
        yield
        stop.set()
        wake.set()
        await working

    app = FastAPI(lifespan=lifespan, docs_url=None, redoc_url=None, openapi_url=None, redirect_slashes=False)
    app.add_exception_handler(Refused, _refused)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(WrongShape, _wrong_shape)
    app.add_exception_handler(strict_json.Malformed, _malformed)
    for error in AWAY:
        app.add_exception_handler(error, _busy)
    app.add_exception_handler(BrokenTail, _not_whole)
    app.add_exception_handler(Exception, _broken)

    async def alerts(request: Request) -> Response:
        """Take one delivery in."""
        sender = request.path_params["sender"]
        known = playbook.senders.get(sender)
        if known is None:
            raise Refused(404, "the playbook has no such sender")
        check_token(request, known.token_env)
        gzipped = check_headers(request)
        with room.place() as place:
            body = await read_body(request, place.grow, gzipped=gzipped, patience=patience)
            receipt = await groups.take(sender, body)
        if receipt.opened:  # then a job waits in the outbox
            wake.set()
        return Response(receipt.model_dump_json(), 202 if receipt.new else 200, media_type="application/json")

    # A plain route: it declares nothing that FastAPI would have to look at anew for every request.
    app.add_route("/alerts/{sender}", alerts, methods=["POST"])
    app.add_route("/answers/{token}", answers.route(ledger, playbook, wake.set), methods=["GET", "POST"])

    @app.get("/health")
    async def health() -> dict[str, Any]:
        """Whether the ledger can be read, and how much waits in the outbox."""
        return {"ledger": "readable", "outbox": await asyncio.to_thread(outbox.backlog, ledger)}

    return app


def server(app: FastAPI, host: str = "127.0.0.1", port: int = 8000) -> uvicorn.Server:
    """The app in a server with one worker: with two, every call on a kept connection takes 44 ms longer (uvicorn#3149).

    Headers may grow beyond what the app allows, so that it is the app that refuses them, and in its own words.
    """
    config = uvicorn.Config(
        app, host=host, port=port, http="h11", h11_max_incomplete_event_size=256 * 1024, server_header=False
    )
    return uvicorn.Server(config)


def _problem(status: int, detail: str, headers: dict[str, str] | None = None, **more: object) -> JSONResponse:
    """An error as RFC 9457 has it."""
    content = {"type": "about:blank", "title": HTTPStatus(status).phrase, "status": status, "detail": detail, **more}
    return JSONResponse(content, status, headers, media_type="application/problem+json")


async def _refused(_request: Request, error: Exception) -> Response:
    assert isinstance(error, Refused)
    return _problem(error.status, str(error), error.headers)


async def _http(_request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    detail = {404: "there is nothing here; post to /alerts/SENDER", 405: "this method is not for this address"}
    return _problem(error.status_code, detail.get(error.status_code, ""), dict(error.headers or {}))


async def _wrong_shape(_request: Request, error: Exception) -> Response:
    assert isinstance(error, WrongShape)
    return _problem(422, "the document is not of this sender's format", errors=list(error.problems))


async def _malformed(_request: Request, error: Exception) -> Response:
    return _problem(400, str(error))


async def _busy(_request: Request, error: Exception) -> Response:
    assert isinstance(error, SQLAlchemyError)
    _log.warning("the database is away or busy: %s", type(error).__name__)
    return _problem(503, "the ledger can't be written at the moment; send it again", COME_AGAIN)


async def _not_whole(_request: Request, error: Exception) -> Response:
    _log.error("nothing is taken in: %s", error)
    return _problem(503, f"nothing was stored, so send it again: {error}", COME_AGAIN)


async def _broken(_request: Request, _error: Exception) -> Response:
    return _problem(500, "something broke here; nothing was stored, so send it again")
