"""The demo's model service: scores transactions with the version that an MLflow alias points at, and follows it.

    MLFLOW_TRACKING_URI=http://127.0.0.1:5000 python -m demo.service --model fraud --alias champion --port 8500

``POST /predict`` takes ``{"rows": [{"amount": 12.5, "country": "DE", ...}, ...]}``: at most 50,000 rows, each
with all of ``demo.training.FEATURES``, where null means not known; other keys are left alone. It answers
``{"model": "fraud", "version": 2, "scores": [0.93, ...], "fraud": [true, ...]}`` in the order of the rows, and
the version in the header ``X-Model-Version`` too. ``POST /invocations`` is the same in MLflow's scoring protocol:
``{"dataframe_records": [...]}`` is answered with ``{"predictions": [true, ...]}`` and the same header.
``GET /health`` says which version answers, and what is wrong. ``POST /reload`` looks at the alias at once, for whoever
holds the token in ``DEMO_RELOAD_TOKEN``, and is refused where that is not set.
With ``--pinned`` it goes on with the version that it loaded first until it is told to reload, as `mlflow models serve`
does (mlflow#4039); with ``--unnamed`` it does not say its version.
What it can't answer is a problem (RFC 9457): 413 and 422 for what was sent, 503 until a version is loaded.
"""

from __future__ import annotations

import argparse
import hmac
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import uvicorn
from fastapi import FastAPI, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field, ValidationError
from typing_extensions import TypedDict  # pydantic reads the one in typing only from Python 3.12 on

from demo.training import FEATURES, THRESHOLD, build, scores
from remediations.clients import registry
from remediations.loading import Loader

MAX_ROWS = 50_000
#: A full batch is about 15 MB.
MAX_BYTES = 32 * 1024 * 1024
#: Of the mistakes in a body this many are told.
MAX_TOLD = 10

log = logging.getLogger("demo.service")


class Row(TypedDict):
    """One transaction, as far as the model looks at it. Null means not known; other keys are left alone."""

    merchant_category: str | None
    country: str | None
    currency: str | None
    channel: str | None
    entry_mode: str | None
    amount: float | None
    card_present: bool | None
    device_age_days: float | None
    distance_from_home_km: float | None
    transactions_last_24h: float | None


class Batch(BaseModel):
    """The body of ``POST /predict``."""

    rows: list[Row] = Field(max_length=MAX_ROWS)


class Records(Batch):
    """The body of ``POST /invocations``."""

    rows: list[Row] = Field(max_length=MAX_ROWS, alias="dataframe_records")


@dataclass(frozen=True)
class Served:
    """A version and its pipeline, held together: whoever has one has the other."""

    version: int
    pipeline: Any
    #: When it began to answer, in seconds since 1970.
    since: float

    def answer(self, rows: list[Row]) -> tuple[list[float], list[bool]]:
        """Score the rows: how likely each is fraud, and whether to call it that."""
        found = scores(self.pipeline, pd.DataFrame(rows, columns=list(FEATURES))) if rows else []
        return found, [score >= THRESHOLD for score in found]


class Follower:
    """Asks MLflow every ``every`` seconds which version the alias has, and swaps when that one is loaded."""

    def __init__(self, model: str, alias: str, every: float, *, pinned: bool = False) -> None:
        self.model, self.alias, self.every, self.pinned = model, alias, every, pinned
        #: What answers now. Swapped as a whole; a request takes it once and keeps it.
        self.served: Served | None = None
        #: Why it may not be what the alias says, or None.
        self.problem: str | None = "the first version is not loaded yet"
        self._stop = threading.Event()
        self._loader = Loader(model, self._built)

    def look(self) -> None:
        """Follow the alias once. On any failure the version that is served stays, and ``problem`` says why."""
        try:
            wanted = int(registry().get_model_version_by_alias(self.model, self.alias).version)
            if self.served is None or self.served.version != wanted:
                pipeline = self._loader.load(wanted)
                self.served = Served(wanted, pipeline, time.time())
                log.info("serving version %d of %s", wanted, self.model)
            self.problem = None
        except Exception as error:  # whatever it is, the old version goes on and the next look tries again
            problem = f"could not follow {self.model}@{self.alias}: {type(error).__name__}: {error}"
            if problem != self.problem:
                log.warning("%s", problem)
            self.problem = problem

    @staticmethod
    def _built(files: Path) -> Any:
        pipeline = build(files)
        # What loads and yet can't score a row, even one of which nothing is known, is not let in.
        scores(pipeline, pd.DataFrame([dict.fromkeys(FEATURES)]))
        return pipeline

    def run(self) -> None:
        """Look until stopped; where it is pinned, until there is a version."""
        self.look()
        while not self._stop.wait(self.every):
            if not (self.pinned and self.served):
                self.look()

    def stop(self) -> None:
        """Look no more."""
        self._stop.set()


class Refused(Exception):
    """A request that gets a problem (RFC 9457) for an answer. Nothing of what was sent is in it."""

    def __init__(self, status: int, title: str, **more: Any) -> None:
        super().__init__(title)
        self.status = status
        self.problem = {"type": "about:blank", "title": title, "status": status, **more}


async def refuse(_: Request, refused: Exception) -> JSONResponse:
    """Answer with the problem that a ``Refused`` carries."""
    assert isinstance(refused, Refused)
    return JSONResponse(refused.problem, status_code=refused.status, media_type="application/problem+json")


async def body_of(request: Request) -> bytes:
    """The request's body; refused as soon as it is longer than ``MAX_BYTES``."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BYTES:
            raise Refused(413, f"The body is longer than {MAX_BYTES} bytes")
    return bytes(body)


def parse(shape: type[Batch], body: bytes) -> list[Row]:
    """The rows in a body, or a refusal that says where it is wrong."""
    try:
        return shape.model_validate_json(body).rows
    except ValidationError as mistakes:
        told = mistakes.errors(include_url=False, include_context=False, include_input=False)[:MAX_TOLD]
        errors = [{"where": ".".join(map(str, one["loc"])), "why": one["msg"]} for one in told]
        title = "The body is not rows of transactions"
        raise Refused(422, title, errors=errors, mistakes=mistakes.error_count()) from None


def service(follower: Follower, *, unnamed: bool = False) -> FastAPI:
    """Build the application around a follower, which runs in a thread of its own while the application does."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        threading.Thread(target=follower.run, name="follower", daemon=True).start()
        yield
        follower.stop()

    app = FastAPI(title="model service", lifespan=lifespan, openapi_url=None)
    app.add_exception_handler(Refused, refuse)

    async def scored(request: Request, shape: type[Batch]) -> tuple[int, list[float], list[bool]]:
        served = follower.served  # the version this request began with, whatever happens meanwhile
        if served is None:
            raise Refused(503, "No version is loaded yet", detail=follower.problem)
        # In threads: a full batch takes long enough to make /health wait.
        rows = await run_in_threadpool(parse, shape, await body_of(request))
        return served.version, *await run_in_threadpool(served.answer, rows)

    def answer(version: int, content: dict[str, Any]) -> JSONResponse:
        return JSONResponse(content, headers={} if unnamed else {"X-Model-Version": str(version)})

    @app.get("/health")
    async def health() -> JSONResponse:
        served = follower.served
        which = {"version": served.version, "since": served.since} if served else {"version": None, "since": None}
        said = {"model": follower.model, "alias": follower.alias, **which, "problem": follower.problem}
        return JSONResponse(said, status_code=200 if served else 503)

    @app.post("/reload")
    async def reload(request: Request) -> JSONResponse:
        token = os.environ.get("DEMO_RELOAD_TOKEN", "")
        given = request.headers.get("Authorization", "").removeprefix("Bearer ")
        if not token or not hmac.compare_digest(token.encode(), given.encode()):
            raise Refused(401, "Only who holds the token may say so")
        await run_in_threadpool(follower.look)
        return await health()

    @app.post("/predict")
    async def predict(request: Request) -> JSONResponse:
        version, found, fraud = await scored(request, Batch)
        return answer(version, {"model": follower.model, "version": version, "scores": found, "fraud": fraud})

    @app.post("/invocations")
    async def invocations(request: Request) -> JSONResponse:
        version, _, fraud = await scored(request, Records)
        return answer(version, {"predictions": fraud})

    return app


def main() -> None:
    """Serve on 127.0.0.1 until SIGTERM or SIGINT; requests in flight are answered first."""
    parser = argparse.ArgumentParser(prog="python -m demo.service", description="Serves a model by its MLflow alias.")
    parser.add_argument("--model", default="fraud")
    parser.add_argument("--alias", default="champion")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--reload-seconds", type=float, default=1.0, help="how often MLflow is asked")
    parser.add_argument("--pinned", action="store_true", help="go on with the first version until told to reload")
    parser.add_argument("--unnamed", action="store_true", help="don't say which version answers")
    given = parser.parse_args()
    if "MLFLOW_TRACKING_URI" not in os.environ:
        parser.error("MLFLOW_TRACKING_URI is not set: there is no registry to follow")
    # One short try each time: the next look is the retry, and /health is to know soon when MLflow is away.
    os.environ["MLFLOW_HTTP_REQUEST_MAX_RETRIES"] = "1"
    os.environ["MLFLOW_HTTP_REQUEST_TIMEOUT"] = "10"

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(levelname)s %(message)s")
    # uvicorn finishes what is in flight and then raises the signal again; to end that way is to end well.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    follower = Follower(given.model, given.alias, given.reload_seconds, pinned=given.pinned)
    app = service(follower, unnamed=given.unnamed)
    uvicorn.run(app, host="127.0.0.1", port=given.port, access_log=False, timeout_graceful_shutdown=10)


if __name__ == "__main__":
    main()
