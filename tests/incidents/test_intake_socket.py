"""The app as a real server on a socket: slow and broken clients, many at once, and a kill in the middle."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from signal import SIGKILL
from typing import Any

import httpx
import pytest
from sqlalchemy import select

from demo.servers import free_port
from incidents.intake.app import create_app, server
from incidents.ledger import Ledger
from incidents.playbook import Playbook
from incidents.schema import episodes, outbox
from tests.incidents.posting import DRIFT, HEADERS, TOKENS, as_bytes, group, intake, payload, raw_alert


class Handler:
    """Does the jobs of the outbox by keeping them."""

    def __init__(self) -> None:
        self.jobs: list[dict[str, Any]] = []
        self.called = threading.Event()

    async def __call__(self, job: dict[str, Any]) -> None:
        """Keep the job."""
        self.jobs.append(job)
        self.called.set()


@pytest.fixture
def handler() -> Handler:
    """What the server's outbox does its launches with."""
    return Handler()


@pytest.fixture
def port(ledger: Ledger, book: Playbook, handler: Handler, monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """A port of loopback on which the app answers, with an outbox that works."""
    for name, value in TOKENS.items():
        monkeypatch.setenv(name, value)
    number = free_port()
    running = server(create_app(ledger, book, handlers={"launch": handler}, patience=1), port=number)
    thread = threading.Thread(target=running.run)
    thread.start()
    while not running.started:
        time.sleep(0.01)
    yield number
    running.should_exit = True
    thread.join()


def raw(port: int, head: str, body: bytes = b"") -> bytes:
    """Send these bytes, and whatever comes back until the other end closes."""
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        connection.sendall(head.replace("\n", "\r\n").encode() + body)
        answer = b""
        while chunk := connection.recv(65536):
            answer += chunk
        return answer


HEAD = f"POST /alerts/alertmanager HTTP/1.1\nHost: x\nAuthorization: {HEADERS['Authorization']}\n"


def test_a_body_that_does_not_come_is_408(port: int) -> None:
    """A client that promises 5,000 bytes and sends eleven does not hold a place for ever."""
    answer = raw(port, HEAD + "Content-Type: application/json\nContent-Length: 5000\n\n", b'{"alerts":[')
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b"application/problem+json" in answer


def test_large_headers_are_431(port: int) -> None:
    """Refused by the app and not by the server, whose own answer would be a 400 without a word."""
    answer = raw(port, HEAD + f"X-A: {'a' * 65_536}\nConnection: close\nContent-Length: 0\n\n")
    assert answer.startswith(b"HTTP/1.1 431 ")
    assert b"application/problem+json" in answer


def test_a_get_is_405(port: int) -> None:
    """The address takes alerts in and gives nothing out."""
    answer = raw(port, "GET /alerts/alertmanager HTTP/1.1\nHost: x\nConnection: close\n\n")
    assert answer.startswith(b"HTTP/1.1 405 ")


def test_no_credentials_are_refused_before_the_body_is_read(port: int) -> None:
    """Who has no token can't make us hold a body, not even wait for one."""
    head = HEAD.replace("the-token", "wrong") + "Content-Length: 16000000\nConnection: close\n\n"
    assert raw(port, head, b'{"alerts":[').startswith(b"HTTP/1.1 401 ")


def test_clients_that_break_off_do_no_harm(port: int, ledger: Ledger) -> None:
    """Half a body is not a delivery, and the server goes on."""
    for _ in range(20):
        with socket.create_connection(("127.0.0.1", port)) as connection:
            connection.sendall((HEAD + "Content-Length: 5000\n\n").replace("\n", "\r\n").encode() + b'{"alerts":[')
    answer = httpx.post(f"http://127.0.0.1:{port}/alerts/alertmanager", content=payload(DRIFT), headers=HEADERS)
    assert answer.status_code == 202
    assert [event.body.kind for event in ledger.events()] == ["opened"]


def test_the_same_alert_a_thousand_times_from_eight_clients(port: int, ledger: Ledger, handler: Handler) -> None:
    """One incident, one job, one run of its handler, and exactly one of the answers says that it was new."""

    def client(posts: int) -> list[int]:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", headers=HEADERS, timeout=60) as client:
            return [client.post("/alerts/alertmanager", content=payload(DRIFT)).status_code for _ in range(posts)]

    with ThreadPoolExecutor(8) as pool:
        answers = Counter(status for statuses in pool.map(client, [125] * 8) for status in statuses)
    assert answers == {202: 1, 200: 999}
    assert [event.body.kind for event in ledger.events()] == ["opened"]
    assert handler.called.wait(30)
    with ledger.engine.connect() as connection:
        [job] = connection.execute(select(outbox)).all()
    assert job.key == "launch:INC-1"
    [seen] = handler.jobs
    assert (seen["deployment"], seen["parameters"], seen["key"]) == ("data/data", {"incident": "INC-1"}, job.key)


def test_what_was_acknowledged_is_there_after_a_kill(ledger: Ledger, tmp_path: Path) -> None:
    """The process is killed in the middle of posts, several times; every alert that got its 2xx is in the ledger."""
    acknowledged = set[str]()
    url = str(ledger.engine.url)
    for round_number, so_many in enumerate((5, 17, 31, 40)):
        with intake(url, tmp_path / "intake.log") as child:
            address = child.url
            enough = len(acknowledged) + so_many
            posters = [
                threading.Thread(target=_post_until_it_breaks, args=(address, f"{round_number}-{i}", acknowledged))
                for i in range(3)
            ]
            for poster in posters:
                poster.start()
            while len(acknowledged) < enough and any(poster.is_alive() for poster in posters):
                time.sleep(0.002)
            os.kill(child.pid, SIGKILL)
            for poster in posters:
                poster.join()
    with ledger.engine.connect() as connection:
        stored = set(connection.scalars(select(episodes.c.fingerprint)))
    assert len(acknowledged) >= 5 + 17 + 31 + 40
    assert acknowledged <= stored
    on_record = {str(event.body.model_dump()["alert"]["fingerprint"]) for event in ledger.events()}
    assert stored == on_record


def _post_until_it_breaks(address: str, name: str, acknowledged: set[str]) -> None:
    with suppress(httpx.HTTPError), httpx.Client(base_url=address, headers=HEADERS, timeout=30) as client:
        for i in range(100_000):
            fingerprint = f"{name}-{i}"
            answer = client.post("/alerts/alertmanager", content=as_bytes(group(raw_alert(fingerprint=fingerprint))))
            assert answer.status_code == 202
            acknowledged.add(fingerprint)
