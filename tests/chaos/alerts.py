"""The alerts of a trial, as Alertmanager sends them."""

from __future__ import annotations

import hashlib
import json
from datetime import datetime
from typing import Any

from tests.chaos.script import Story


def alerts(story: Story, others: int, at: datetime) -> list[tuple[str, bytes]]:
    """Fingerprint and body of each. The first comes twice at once, as from two Alertmanagers."""
    severity = "low" if story == "asked" else "high"
    main: list[dict[str, str]] = []
    if story in ("data", "both"):
        main.append({"alertname": "DatasetSchemaViolation", "dataset": "transactions", "severity": severity})
    if story != "data":
        main.append({"alertname": "RecallDrop", "model": "fraud", "severity": severity})
    more = [{"alertname": f"LatencyOf{number}", "severity": "high"} for number in range(others)]
    made = [_one(labels, at) for labels in (*main, *more)]
    return [made[0], *made]


def _one(labels: dict[str, str], at: datetime) -> tuple[str, bytes]:
    fingerprint = hashlib.sha256(json.dumps(labels).encode()).hexdigest()[:16]
    alert: dict[str, Any] = {
        "status": "firing",
        "labels": labels,
        "annotations": {"summary": "it is not well"},
        "startsAt": f"{at:%Y-%m-%dT%H:%M:%S}.{at.microsecond // 1000:03d}Z",
        "endsAt": "0001-01-01T00:00:00Z",
        "generatorURL": "http://127.0.0.1:9090/graph",
        "fingerprint": fingerprint,
    }
    body = {"version": "4", "status": "firing", "truncatedAlerts": 0, "alerts": [alert]}
    return fingerprint, json.dumps(body).encode()
