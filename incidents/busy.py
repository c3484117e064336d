"""Asks Prefect's server again at once where its database was busy for a moment.

Where two transactions meet in Prefect's SQLite one of them fails (``SQLITE_BUSY_SNAPSHOT``, against which SQLite's own
waiting does not help), and the server answers 503. Its client then waits two seconds before it asks again, four after
that: far longer than the database is busy, and longer than all the rest from the alert to the fix.
"""

from __future__ import annotations

import asyncio

import httpx

#: The waits before it is asked again, in seconds. After them Prefect's client goes on with its own.
WAITS = (0.02, 0.05, 0.1, 0.2, 0.4)

#: With one of these in its answer, a server says when to come back.
LATER = ("Retry-After", "Prefect-Maintenance")


class AskAgain(httpx.AsyncBaseTransport):
    """A transport that sends a request again that was answered by a bare 503."""

    def __init__(self, under: httpx.AsyncBaseTransport) -> None:
        self.under = under

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send it, and again while the server is busy, unless it says when to come back."""
        for wait in WAITS:
            response = await self.under.handle_async_request(request)
            if response.status_code != 503 or any(name in response.headers for name in LATER):
                return response
            await response.aclose()
            await asyncio.sleep(wait)
        return await self.under.handle_async_request(request)

    async def aclose(self) -> None:
        """Close the transport under it."""
        await self.under.aclose()


def ask_again(client: httpx.AsyncClient) -> None:
    """Let a client, the one inside of Prefect's, send its requests so."""
    client._transport = AskAgain(client._transport)
    client._mounts = {where: under and AskAgain(under) for where, under in client._mounts.items()}
