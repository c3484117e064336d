"""Many models that learned from the same data, on a few servers; each really answers with its alias's version."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import pandas as pd

from demo.training import FEATURES, THRESHOLD, load, scores
from remediations.clients import registry
from tests.flows.kit import System

SERVERS = 3


def name(number: int) -> str:
    """The name of one of them."""
    return f"many-{number}"


@contextmanager
def many_models(system: System, count: int) -> Iterator[str]:
    """Register so many models with a good version 1 and a broken version 2, serve them; yields their declarations."""
    client = registry()
    pipelines = {
        "1": load(f"models:/fraud/{system.model_good}"),
        "2": load(f"models:/fraud/{system.model_broken}"),
    }
    for number in range(count):
        client.create_registered_model(name(number))
        for version in (system.model_good, system.model_broken):
            original = client.get_model_version("fraud", str(version))
            of = {"run_id": original.run_id, "model_id": original.source.removeprefix("models:/")}
            client.create_model_version(name(number), original.source, await_creation_for=0, **of)
    with ExitStack() as stack:
        urls = [stack.enter_context(_server(pipelines)) for _ in range(SERVERS)]
        health = "{dataset: labelled_transactions, label: is_fraud, metric: recall, at_least: 0.7, minimum: 100}"
        declared = [
            f"  {name(number)}:\n    learns_from: [transactions]\n    health: {health}\n"
            f"    service: {urls[number % SERVERS]}/{name(number)}\n"
            for number in range(count)
        ]
        yield "".join(declared)


def aliases(count: int) -> list[int]:
    """Which version each has in production."""
    return [int(registry().get_registered_model(name(number)).aliases["champion"]) for number in range(count)]


def break_them(count: int) -> None:
    """Put the broken version of each into production."""
    for number in range(count):
        registry().set_registered_model_alias(name(number), "champion", "2")


@contextmanager
def _server(pipelines: dict[str, Any]) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            model = self.path.split("/")[1]
            version = str(registry().get_registered_model(model).aliases["champion"])
            rows = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["dataframe_records"]
            found = scores(pipelines[version], pd.DataFrame(rows, columns=list(FEATURES)))
            body = json.dumps({"predictions": [score >= THRESHOLD for score in found]}).encode()
            self.send_response(200)
            self.send_header("X-Model-Version", version)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
