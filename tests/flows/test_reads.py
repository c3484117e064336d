"""What the warm worker reads from Prefect's API for a run, counted on a real server."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable
from uuid import UUID

import httpx
import pytest
from prefect.client.orchestration import PrefectClient, get_client

from demo.servers import Server
from flows.warm import reads


def reading(work: Callable[[PrefectClient, UUID, UUID], Awaitable[None]]) -> list[str]:
    """Do this with a client that reads once, a deployment and its flow; returns the paths that it read."""

    async def whole() -> list[str]:
        asked: list[str] = []

        async def note(request: httpx.Request) -> None:
            asked.append(f"{request.method} {request.url.path}")

        async with get_client() as client:
            flow = await client.create_flow_from_name(f"read-{secrets.token_hex(4)}")
            env = {"env": {"OF_ALL": "yes"}}
            deployment = await client.create_deployment(flow, "read", entrypoint="a:b", job_variables=env)
            client._client.event_hooks["request"].append(note)
            reads.read_once(client)
            await work(client, deployment, flow)
        return asked

    return asyncio.run(whole())


def test_a_run_reads_its_deployment_and_its_flow_once(prefect_server: Server) -> None:
    """Twice within a moment is one request, and what is read is what Prefect has."""

    async def twice(client: PrefectClient, deployment: UUID, flow: UUID) -> None:
        for _ in range(2):
            found = await client.read_deployment(deployment)
            assert (found.id, found.job_variables) == (deployment, {"env": {"OF_ALL": "yes"}})
            assert (await client.read_flow(flow)).id == flow

    assert len(reading(twice)) == 2


def test_what_one_run_writes_into_its_deployment_no_other_run_has(prefect_server: Server) -> None:
    """Prefect puts a run's own variables into the deployment that it has read."""

    async def write(client: PrefectClient, deployment: UUID, _: UUID) -> None:
        (await client.read_deployment(deployment)).job_variables["env"]["OF_ONE"] = "secret"
        assert "OF_ONE" not in (await client.read_deployment(deployment)).job_variables["env"]

    reading(write)


def test_a_later_run_reads_its_deployment_anew(prefect_server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was read a moment ago counts for that moment alone."""
    monkeypatch.setattr(reads, "JUST_NOW", 0.0)

    async def twice(client: PrefectClient, deployment: UUID, _: UUID) -> None:
        await client.read_deployment(deployment)
        await client.read_deployment(deployment)

    assert len(reading(twice)) == 2
