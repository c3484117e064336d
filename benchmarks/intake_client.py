"""Posts alerts over connections that are kept, as a process of its own; prints what it saw as one line of JSON."""

from __future__ import annotations

import asyncio
import json
import statistics
import time
from collections import deque
from dataclasses import dataclass, field
from typing import Annotated

import typer

TOKEN = "made-up-for-the-benchmark"  # noqa: S105  # both ends are here

#: So many alerts have the same name and asset, and meet in one incident: 1 in 20 opens one, and asks for its flow.
MEET = 20


def body(first: int, alerts: int) -> bytes:
    """A delivery as Alertmanager sends it, of alerts that were never there before."""
    return json.dumps(
        {
            "version": "4",
            "groupKey": '{}:{alertname="PodCrashLooping"}',
            "truncatedAlerts": 0,
            "status": "firing",
            "receiver": "lastgood",
            "groupLabels": {"alertname": "PodCrashLooping"},
            "commonLabels": {"severity": "warning", "env": "production"},
            "commonAnnotations": {},
            "externalURL": "http://alertmanager:9093",
            "alerts": [_alert(number) for number in range(first, first + alerts)],
        }
    ).encode()


def _alert(number: int) -> dict[str, object]:
    return {
        "status": "firing",
        "labels": {
            "alertname": f"PodCrashLooping{number // MEET}",
            "env": "production",
            "namespace": "serving",
            "pod": f"fraud-{number}",
            "severity": "warning",
        },
        "annotations": {"summary": f"Pod serving/fraud-{number} restarts all the time", "runbook": "docs/pods.md"},
        "startsAt": "2026-11-23T12:57:27.443Z",
        "endsAt": "0001-01-01T00:00:00Z",
        "generatorURL": "http://prometheus:9090/graph?g0.expr=up+%3D%3D+0&g0.tab=1",
        "fingerprint": f"{number:016x}",
    }


@dataclass
class Load:
    """Requests that are due, and what came of those that were sent."""

    requests: deque[bytes]
    #: Seconds between two requests; 0: each as soon as a connection is free.
    every: float
    began: float = field(default_factory=time.perf_counter)
    sent: int = 0
    waited: list[float] = field(default_factory=list)
    statuses: dict[str, int] = field(default_factory=dict)

    async def post(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Post over one connection until nothing is due any more."""
        while self.requests:
            due = time.perf_counter()
            if self.every:  # waiting for a connection counts as waiting for the answer
                due = self.began + self.sent * self.every
            request = self.requests.popleft()
            self.sent += 1
            if due > time.perf_counter():
                await asyncio.sleep(due - time.perf_counter())
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0])
            await reader.readexactly(length)
            self.waited.append(time.perf_counter() - due)
            status = head[9:12].decode()
            self.statuses[status] = self.statuses.get(status, 0) + 1
        writer.close()


def main(
    port: int,
    *,
    first: Annotated[int, typer.Option(help="The number of the first alert.")] = 0,
    bodies: int = 3000,
    alerts: Annotated[int, typer.Option(help="In each body.")] = 1,
    connections: int = 64,
    rate: Annotated[float, typer.Option(help="Bodies a second; 0: as many as go.")] = 0,
) -> None:
    """Post ``bodies`` deliveries to a server on loopback."""

    async def run() -> Load:
        requests = deque(_request(body(first + number * alerts, alerts)) for number in range(bodies))
        open_ones = [await asyncio.open_connection("127.0.0.1", port) for _ in range(connections)]
        load = Load(requests, 1 / rate if rate else 0)
        await asyncio.gather(*(load.post(reader, writer) for reader, writer in open_ones))
        return load

    load = asyncio.run(run())
    seconds = time.perf_counter() - load.began
    hundredths = statistics.quantiles(load.waited, n=100)
    figures = {"per_second": bodies * alerts / seconds, "p50": hundredths[49] * 1000, "p99": hundredths[98] * 1000}
    typer.echo(json.dumps({**figures, "statuses": load.statuses}))


def _request(content: bytes) -> bytes:
    head = (
        "POST /alerts/alertmanager HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
        f"Authorization: Bearer {TOKEN}\r\nContent-Length: {len(content)}\r\n\r\n"
    )
    return head.encode() + content


if __name__ == "__main__":
    typer.run(main)
