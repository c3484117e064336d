"""Starts deployments by name. The one place outside ``flows`` that touches Prefect, which is imported at first use."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any
from uuid import UUID

import httpx
from pydantic import JsonValue

from incidents.busy import ask_again
from incidents.ledger import Ledger

if TYPE_CHECKING:
    from prefect.client.orchestration import PrefectClient
    from prefect.client.schemas.objects import FlowRun


#: The deployments that were started before, by the server's address and by name: one question less.
_known: dict[tuple[str, str], UUID] = {}


class NotLaunched(Exception):
    """Prefect did not start the run; the message says why. The same key can be tried again without harm."""


async def launch_job(ledger: Ledger, job: Mapping[str, Any]) -> str:
    """Start what a job of a ledger's outbox asks for, and return the run's id; asked again, it is the same run.

    Raises:
        NotLaunched: as ``launch``.
    """
    key = ledger.key(job["key"])
    return await launch(job["deployment"], job["parameters"], key=key, name=job["name"], queue=job.get("queue"))


async def launch(
    deployment: str, parameters: dict[str, JsonValue], *, key: str, name: str, queue: str | None = None
) -> str:
    """Start a run of ``flow/deployment`` and return its id. The same key gives the same run, however often.

    The run gets the incident that it is about as a tag, so that the Prefect UI finds all runs of one.
    ``queue``: the work queue of the deployment's pool, which is made where there is none; None: the deployment's own.

    Raises:
        NotLaunched: the API is away, has no such deployment, or refused the parameters.
    """
    incident = parameters.get("incident")
    asked: dict[str, Any] = {"parameters": parameters, "idempotency_key": key, "name": name, "work_queue_name": queue}
    async with _client() as client:
        run = await _created(client, deployment, {**asked, "tags": [str(incident)] if incident else []})
    return str(run.id)


async def _created(client: PrefectClient, deployment: str, asked: dict[str, Any]) -> FlowRun:
    from prefect.exceptions import ObjectNotFound

    place = str(client.api_url), deployment
    if place in _known:
        try:
            return await client.create_flow_run_from_deployment(_known[place], **asked)
        except httpx.HTTPStatusError as error:
            if error.response.status_code != 404:
                raise
            del _known[place]  # it was deleted, and may have been made again
    try:
        _known[place] = (await client.read_deployment_by_name(deployment)).id
    except ObjectNotFound:
        raise NotLaunched(f"Prefect has no deployment {deployment}; run `prefect deploy --all`") from None
    return await client.create_flow_run_from_deployment(_known[place], **asked)


async def wait(run: str, seconds: float) -> str:
    """The name of the state that a run ended in: ``Completed``, ``Failed``, ``Crashed``.

    Raises:
        NotLaunched: the API is away, or has no such run.
        TimeoutError: it has not ended after that many seconds.
    """
    from prefect.exceptions import ObjectNotFound

    end = time.monotonic() + seconds
    async with _client() as client:
        while True:
            try:
                state = (await client.read_flow_run(UUID(run))).state
            except ObjectNotFound:
                raise NotLaunched(f"Prefect has no run {run}") from None
            if state is not None and state.is_final():
                return str(state.name)
            if time.monotonic() > end:
                raise TimeoutError(f"run {run} has not ended after {seconds:.0f} s")
            await asyncio.sleep(0.5)


async def find(key: str) -> str | None:
    """The run that was started with a key; None where there is none.

    Raises:
        NotLaunched: the API is away.
    """
    async with _client() as client:
        from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterIdempotencyKey

        wanted = FlowRunFilter(idempotency_key=FlowRunFilterIdempotencyKey(any_=[key]))
        found = await client.read_flow_runs(flow_run_filter=wanted, limit=1)
    return str(found[0].id) if found else None


async def cancel(run: str) -> None:
    """Have a run ended: its worker does it, in a moment.

    Raises:
        NotLaunched: the API is away.
    """
    async with _client() as client:
        from prefect.states import Cancelling

        await client.set_flow_run_state(UUID(run), Cancelling())


async def alive(run: str) -> bool:
    """Whether a run is waiting or running, as far as Prefect knows; False where it has ended, or there is none.

    Raises:
        NotLaunched: the API is away.
    """
    from prefect.exceptions import ObjectNotFound

    async with _client() as client:
        try:
            state = (await client.read_flow_run(UUID(run))).state
        except (ObjectNotFound, ValueError):
            return False
    return state is None or not state.is_final()


@asynccontextmanager
async def _client() -> AsyncIterator[PrefectClient]:
    """A client of the Prefect server that ``PREFECT_API_URL`` names, its errors turned into ours."""
    await asyncio.to_thread(_import)  # it takes more than a second, and the intake goes on answering meanwhile
    from prefect.client.orchestration import get_client
    from prefect.settings import get_current_settings

    url = get_current_settings().api.url
    if not url:  # the client would start a server of its own
        raise NotLaunched("PREFECT_API_URL is not set")
    try:
        async with get_client(httpx_settings=_no_tls(url)) as client:
            ask_again(client._client)
            yield client
    except httpx.HTTPStatusError as error:
        raise NotLaunched(
            f"Prefect's API answered {error.response.status_code}: {error.response.text[:500]}"
        ) from error
    except httpx.HTTPError as error:
        raise NotLaunched(f"Prefect's API is away ({type(error).__name__})") from error


def _no_tls(url: str) -> dict[str, Any]:
    """Where the address has no TLS, a context that trusts nobody: reading all certificates takes 20 ms a client."""
    return {"verify": ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)} if url.startswith("http://") else {}


def _import() -> None:
    import prefect.client.orchestration  # noqa: F401  # importing it is all there is to do
