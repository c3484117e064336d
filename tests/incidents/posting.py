"""What the tests of the intake share: alerts as Alertmanager sends them, and a sender that posts without a socket."""

from __future__ import annotations

import asyncio
import json
import sys
from functools import partial
from pathlib import Path
from typing import Any

import httpx
from fastapi import FastAPI

from demo.servers import Server, free_port
from incidents.intake.app import create_app
from incidents.ledger import Ledger
from incidents.playbook import Playbook

PAYLOADS = Path(__file__).parents[1] / "payloads"

#: Real alerts and hostile input beside the repository; they are too many, and not all ours, to be part of it.
SHARED = Path(__file__).parents[3] / "shared"

TOKEN = "the-token"
TOKENS = {"LASTGOOD_TOKEN_ALERTMANAGER": TOKEN, "LASTGOOD_TOKEN_GENERIC": TOKEN}
HEADERS = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"}

#: The first firing, its re-fire, and others, as a real Alertmanager 0.25 sent them.
DRIFT = "rig_FeatureDriftPSI_fraud-xgb_merchant_category_firing.json"
DRIFT_AGAIN = "rig_FeatureDriftPSI_fraud-xgb_merchant_category_firing_refire.json"
SCHEMA_RESOLVED = "rig_DatasetSchemaViolation_transactions_resolved.json"
ACCURACY = "rig_ModelAccuracyDrop_churn-lr_firing.json"
ACCURACY_RESOLVED = "rig_ModelAccuracyDrop_churn-lr_resolved.json"


def payload(name: str) -> bytes:
    """A captured delivery, byte for byte."""
    return (PAYLOADS / name).read_bytes()


def group(*alerts: Any, **more: Any) -> dict[str, Any]:
    """A delivery of these alerts."""
    return {"version": "4", "status": "firing", "truncatedAlerts": 0, "alerts": list(alerts), **more}


def raw_alert(**changed: Any) -> dict[str, Any]:
    """One alert of a delivery; ``None`` takes a field out."""
    alert = {
        "status": "firing",
        "labels": {"alertname": "FeatureDriftPSI", "feature": "amount", "severity": "warning"},
        "annotations": {"summary": "PSI 0.41"},
        "startsAt": "2026-11-23T12:57:27.443Z",
        "endsAt": "0001-01-01T00:00:00Z",
        "generatorURL": "http://prometheus:9090/graph",
        "fingerprint": "6660a89b9814dd59",
    }
    return {name: value for name, value in {**alert, **changed}.items() if value is not None}


def as_bytes(document: Any) -> bytes:
    """The document as a sender writes it."""
    return json.dumps(document).encode()


class Poster:
    """Sends requests to the app without a socket, as one sender after the other."""

    def __init__(self, ledger: Ledger, book: Playbook) -> None:
        self.book = book
        self.app: FastAPI = create_app(ledger, book, handlers={}, patience=2)

    def request(self, method: str, path: str, **given: Any) -> httpx.Response:
        """One request; an error of the app is answered as a server would, and not raised."""

        async def send() -> httpx.Response:
            transport = httpx.ASGITransport(app=self.app, raise_app_exceptions=False)
            async with httpx.AsyncClient(transport=transport, base_url="http://intake") as client:
                return await client.request(method, path, **given)

        return asyncio.run(send())

    def post(self, body: bytes | dict[str, Any], sender: str = "alertmanager", **headers: str) -> httpx.Response:
        """One delivery, with the right token."""
        content = body if isinstance(body, bytes) else as_bytes(body)
        return self.request("POST", f"/alerts/{sender}", content=content, headers={**HEADERS, **headers})


#: The playbook that is shipped.
PLAYBOOK = Path(__file__).parents[2] / "playbook.yaml"

#: The intake as a process of its own; its outbox starts nothing.
CHILD = """
import sys
from pathlib import Path
from incidents.intake.app import create_app, server
from incidents.ledger import Ledger
from incidents.playbook import load

app = create_app(Ledger(sys.argv[1]), load(Path(sys.argv[2]), {}), handlers={})
server(app, port=int(sys.argv[3])).run()
"""


def intake(database: str, log: Path) -> Server:
    """The intake on a port of loopback, as a process that can be killed."""
    port = free_port()
    address = f"http://127.0.0.1:{port}"
    return Server(
        name="intake",
        argv=[sys.executable, "-c", CHILD, database, str(PLAYBOOK), str(port)],
        log=log,
        ready=partial(_answers, address),
        url=address,
        settings=TOKENS,
    )


def _answers(address: str) -> bool:
    return httpx.get(f"{address}/health", timeout=5).is_success
