"""The alert of the demo, in the bytes that Alertmanager 0.25 sends: same keys, same order, same escapes."""

from __future__ import annotations

import hashlib
import json
from datetime import datetime


def alertmanager_bytes(dataset: str, starts_at: datetime) -> bytes:
    """One firing alert about a dataset; its shape is that of the capture in ``tests/payloads``."""
    labels = {
        "alertname": "DatasetSchemaViolation",
        "cluster": "eu-west-1",
        "column": "merchant_category",
        "dataset": dataset,
        "env": "prod",
        "instance": "127.0.0.1:4610",
        "job": "ml-exporter",
        "severity": "high",
    }
    annotations = {"summary": f"rows violate the schema of {dataset}.merchant_category"}
    matchers = ", ".join(f'{name}="{value}"' for name, value in labels.items())
    document = {
        "receiver": "lastgood",
        "status": "firing",
        "alerts": [
            {
                "status": "firing",
                "labels": labels,
                "annotations": annotations,
                "startsAt": f"{starts_at:%Y-%m-%dT%H:%M:%S}.{starts_at.microsecond // 1000:03d}Z",
                "endsAt": "0001-01-01T00:00:00Z",
                "generatorURL": "http://127.0.0.1:9090/graph?g0.expr=ml_schema_violations+%3E+0&g0.tab=1",
                "fingerprint": hashlib.sha256(matchers.encode()).hexdigest()[:16],
            }
        ],
        "groupLabels": labels,
        "commonLabels": labels,
        "commonAnnotations": annotations,
        "externalURL": "http://127.0.0.1:9093",
        "version": "4",
        "groupKey": f"{{}}/{{}}:{{{matchers}}}",
        "truncatedAlerts": 0,
    }
    text = json.dumps(document, separators=(",", ":"), ensure_ascii=False)
    # Go's encoder escapes these three, and ends the document with a line feed.
    for character in "&<>":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text.encode() + b"\n"
