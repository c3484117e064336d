"""What is checked of a request before and while its body is read: who sends it, what it is, how much, how long."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import os
import zlib
from collections.abc import Callable

from fastapi import Request
from starlette.requests import ClientDisconnect

#: Bytes of a body, counted after they were inflated and while they come.
LARGEST_BODY = 16 * 1024 * 1024

#: Bytes of all header names and values together.
LARGEST_HEADERS = 32 * 1024

#: What a 503 says: when to send it again, in seconds.
COME_AGAIN = {"Retry-After": "5"}


class Refused(Exception):
    """The request is answered with this status; the message says why and repeats nothing of the request."""

    def __init__(self, status: int, why: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(why)
        self.status = status
        self.headers = headers or {}


class Busy(Refused):
    """Too much is held already. It is a 503 and never a 429, after which Alertmanager would not try again."""

    def __init__(self) -> None:
        super().__init__(503, "too many deliveries at once", headers=COME_AGAIN)


def check_token(request: Request, variable: str) -> None:
    """See whether the request carries the bearer token that the environment variable holds.

    Every failure costs the same work and looks the same: no header, another scheme, a wrong token, a variable that is
    not set or empty.

    Raises:
        Refused: 401.
    """
    scheme, _, given = request.headers.get("authorization", "").partition(" ")
    token = os.environ.get(variable, "")
    same = hmac.compare_digest(_sha256(given.strip()), _sha256(token))
    if not (same and token and scheme.lower() == "bearer"):
        raise Refused(401, "a valid bearer token is needed", headers={"WWW-Authenticate": 'Bearer realm="alerts"'})


def check_headers(request: Request) -> bool:
    """See whether the body can be read at all; returns whether it comes gzipped.

    Raises:
        Refused: 431 for too large headers, 415 for another content type than JSON or another encoding than gzip, 413
            for a body that says itself that it is too large.
    """
    headers = request.headers
    if sum(len(name) + len(value) for name, value in headers.raw) > LARGEST_HEADERS:
        raise Refused(431, f"the headers are larger than {LARGEST_HEADERS} bytes", headers={"Connection": "close"})
    kind = headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind and kind != "application/json" and not (kind.startswith("application/") and kind.endswith("+json")):
        raise Refused(415, "the body must be application/json", headers={"Accept": "application/json"})
    encoding = headers.get("content-encoding", "identity").strip().lower()
    if encoding not in ("identity", "gzip"):
        raise Refused(415, "the only content encoding is gzip", headers={"Accept-Encoding": "gzip"})
    length = headers.get("content-length", "")
    if length.isdecimal() and (len(length) > 12 or int(length) > LARGEST_BODY):
        raise _too_large()
    return encoding == "gzip"


async def read_body(request: Request, hold: Callable[[int], None], *, gzipped: bool, patience: float) -> bytes:
    """The body, inflated; it has to arrive within ``patience`` seconds. ``hold`` is told of each part of it.

    Raises:
        Refused: 408 for a body that does not come, 413 for one that is too large, 400 for broken gzip; or what
            ``hold`` raises.
    """
    body = bytearray()
    inflate = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS) if gzipped else None
    try:
        async with asyncio.timeout(patience):
            async for chunk in request.stream():
                part = _inflated(inflate, chunk, LARGEST_BODY + 1 - len(body)) if inflate else chunk
                if len(body) + len(part) > LARGEST_BODY:
                    raise _too_large()
                hold(len(part))
                body += part
    except TimeoutError:
        raise Refused(408, "the body did not arrive in time", headers={"Connection": "close"}) from None
    except ClientDisconnect:
        raise Refused(400, "the body ended too soon") from None
    if inflate and (not inflate.eof or inflate.unused_data):
        raise Refused(400, "the body is not one whole gzip stream")
    return bytes(body)


def _inflated(inflate: zlib._Decompress, chunk: bytes, most: int) -> bytes:
    try:
        return inflate.decompress(chunk, most)
    except zlib.error:
        raise Refused(400, "the body is not gzip") from None


def _too_large() -> Refused:
    return Refused(413, f"the body is larger than {LARGEST_BODY} bytes", headers={"Connection": "close"})


def _sha256(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()
