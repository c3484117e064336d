"""What the worker need not read from Prefect's API again: it reads a deployment twice for every run, and the flow."""

from __future__ import annotations

import time
from typing import Any
from uuid import UUID

from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.objects import Flow
from prefect.client.schemas.responses import DeploymentResponse

#: For how long a deployment that was read counts as read just now, in seconds: one run's two readings are one.
JUST_NOW = 1.0


class Reads:
    """A client's readings of deployments and flows, each at most once: a deployment a run, a flow for good."""

    def __init__(self, client: PrefectClient) -> None:
        self._read_deployment, self._read_flow = client.read_deployment, client.read_flow
        self._deployments: dict[str, tuple[float, DeploymentResponse]] = {}
        self._flows: dict[UUID, Flow] = {}

    async def deployment(self, deployment_id: UUID | str) -> DeploymentResponse:
        """As ``PrefectClient.read_deployment``: a copy, because Prefect writes into what it reads."""
        self._deployments = {key: one for key, one in self._deployments.items() if time.monotonic() - one[0] < JUST_NOW}
        if str(deployment_id) not in self._deployments:
            self._deployments[str(deployment_id)] = time.monotonic(), await self._read_deployment(deployment_id)
        return self._deployments[str(deployment_id)][1].model_copy(deep=True)

    async def flow(self, flow_id: UUID) -> Flow:
        """As ``PrefectClient.read_flow``: what a worker needs of a flow is its name, which never changes."""
        if flow_id not in self._flows:
            self._flows[flow_id] = await self._read_flow(flow_id)
        return self._flows[flow_id]


def read_once(client: Any) -> None:
    """Let a client of Prefect's read no more often than ``Reads`` says."""
    reads = Reads(client)
    client.read_deployment, client.read_flow = reads.deployment, reads.flow
