"""A Prefect server whose database is busy for a moment is asked again at once."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from demo.servers import Server
from incidents.busy import WAITS
from incidents.launch import NotLaunched, launch
from tests.chaos.proxy import Forward, Proxy, Request
from tests.incidents.deploying import runs

#: What Prefect's server answers where two of its transactions met.
BODY = b'{"exception_message":"Service Unavailable"}'


class Busy:
    """Stands in front of a Prefect server, and is it for ``times`` requests for a run."""

    def __init__(self, times: int, header: bytes = b"") -> None:
        self.left, self.header, self.asked = times, header, 0

    def __call__(self, request: Request, forward: Forward) -> bytes:
        """Let everything else through."""
        if not request.path.endswith("/create_flow_run"):
            return forward()
        self.asked += 1
        self.left -= 1
        if self.left < 0:
            return forward()
        return (
            b"HTTP/1.1 503 Busy\r\n%bContent-Length: %d\r\nConnection: close\r\n\r\n" % (self.header, len(BODY)) + BODY
        )


@contextmanager
def in_front(server: Server, busy: Busy) -> Iterator[None]:
    """Prefect's address is that of the busy one, and its client does not ask again by itself."""
    from prefect.settings import PREFECT_API_URL, PREFECT_CLIENT_MAX_RETRIES, temporary_settings

    with (
        Proxy(server.url, busy) as proxy,
        temporary_settings({PREFECT_API_URL: f"{proxy.url}/api", PREFECT_CLIENT_MAX_RETRIES: 0}),
    ):
        yield


def ask(deployment: str) -> str:
    """Start a run."""
    return asyncio.run(launch(deployment, {"incident": "INC-1"}, key=f"k-{deployment}", name="INC-1 x"))


def test_it_is_asked_again_until_it_has_time(deployment: str, prefect_server: Server) -> None:
    """The run is started, once, although the server was busy for as often as it is asked again."""
    with in_front(prefect_server, busy := Busy(len(WAITS))):
        run = ask(deployment)
    assert busy.asked == len(WAITS) + 1
    assert asyncio.run(runs(deployment)) == [(run, "INC-1 x", {"incident": "INC-1"})]


def test_one_that_stays_busy_is_left_to_whoever_asked(deployment: str, prefect_server: Server) -> None:
    """After the last wait the answer is passed on, as any other refusal, and nothing was started."""
    with in_front(prefect_server, busy := Busy(99)), pytest.raises(NotLaunched, match="503"):
        ask(deployment)
    assert busy.asked == len(WAITS) + 1
    assert asyncio.run(runs(deployment)) == []


@pytest.mark.parametrize("header", [b"Retry-After: 1\r\n", b"Prefect-Maintenance: true\r\n"])
def test_one_that_says_when_to_come_back_is_not_pressed(deployment: str, prefect_server: Server, header: bytes) -> None:
    """Prefect's client keeps to what the server says; what is under it does not ask in between."""
    with in_front(prefect_server, busy := Busy(1, header)):
        if b"Maintenance" in header:
            ask(deployment)  # for maintenance its client waits, however long
        else:
            with pytest.raises(NotLaunched, match="503"):
                ask(deployment)
    assert busy.asked == (2 if b"Maintenance" in header else 1)
