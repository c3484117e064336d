"""A small HTTP proxy on loopback that hands every request to somebody who may spoil it, or act meanwhile."""

from __future__ import annotations

import socket
import socketserver
import struct
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from threading import Thread
from typing import Self
from urllib.parse import urlsplit

#: Sends a request on and returns the whole answer, head and body.
Forward = Callable[[], bytes]

#: The longest that the real server is waited for, in seconds.
LIMIT = 60


@dataclass(frozen=True)
class Request:
    """One HTTP request, as it came."""

    method: str
    path: str
    head: bytes
    body: bytes


#: Given a request and a way to send it on, returns the answer; None: the connection is reset.
Around = Callable[[Request, Forward], "bytes | None"]


class Proxy(socketserver.ThreadingTCPServer):
    """Listens on a free port in front of ``upstream``. Every connection carries one request."""

    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 64

    def __init__(self, upstream: str, around: Around) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        found = urlsplit(upstream)
        self.address = (str(found.hostname), int(found.port or 80))
        self.around = around
        self.url = f"http://127.0.0.1:{self.server_address[1]}"

    def __enter__(self) -> Self:
        Thread(target=self.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True, name="proxy").start()
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self.server_close()

    def handle_error(self, *_: object) -> None:
        """A client that was killed, or a server that went away, is what this is for."""


class _Handler(socketserver.BaseRequestHandler):
    server: Proxy

    def handle(self) -> None:
        request = _read(self.request)
        if request is None:
            return
        answer = self.server.around(request, partial(_forward, self.server.address, request))
        if answer is None:  # with no time to linger, closing sends a reset
            self.request.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.request.close()
        else:
            self.request.sendall(answer)


def status(answer: bytes) -> int:
    """The status code of an answer; 0 where there is none."""
    parts = answer.split(b" ", 2)
    return int(parts[1]) if len(parts) == 3 else 0


def plain(code: int, text: str, kind: str = "text/plain") -> bytes:
    """An answer of a server that is not well."""
    head = (
        f"HTTP/1.1 {code} Trouble\r\nContent-Type: {kind}\r\nContent-Length: {len(text)}\r\nConnection: close\r\n\r\n"
    )
    return head.encode() + text.encode()


def _read(client: socket.socket) -> Request | None:
    """One whole request; None where the client left before."""
    read = client.makefile("rb")
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        line = read.readline()
        if not line:
            return None
        head += line
    first, *lines = head.decode("latin-1").split("\r\n")
    named = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    if "expect" in named:
        client.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
    body = read.read(int(named.get("content-length", 0)))
    if named.get("transfer-encoding", "").lower() == "chunked":
        while True:
            line = read.readline()
            size = int(line.split(b";")[0], 16)
            body += line + read.read(size + 2)
            if not size:
                break
    method, path, _ = first.split(" ", 2)
    return Request(method, path, head, body)


def _forward(address: tuple[str, int], request: Request) -> bytes:
    lines = request.head.split(b"\r\n")[:-2]
    kept = [line for line in lines if line.split(b":")[0].lower() not in (b"connection", b"expect")]
    with socket.create_connection(address, timeout=LIMIT) as upstream:
        upstream.sendall(b"\r\n".join([*kept, b"Connection: close", b"", b""]) + request.body)
        return b"".join(iter(partial(upstream.recv, 65536), b""))
