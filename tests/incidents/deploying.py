"""Deployments of a flow that does nothing, on a real Prefect server, and the runs that were asked for."""

from __future__ import annotations


def nothing(incident: str) -> str:
    """A flow that does nothing; it is deployed, and no worker takes it up."""
    return incident


async def deploy(name: str) -> None:
    """Deploy it under that name."""
    from prefect import flow
    from prefect.client.orchestration import get_client

    made = flow(name=name)(nothing)
    async with get_client() as client:
        flow_id = await client.create_flow(made)
        await client.create_deployment(
            flow_id, name, parameter_openapi_schema=made_schema(), enforce_parameter_schema=True
        )


def made_schema() -> dict[str, object]:
    """The schema of the parameters of ``nothing``."""
    from prefect.utilities.callables import parameter_schema

    return parameter_schema(nothing).model_dump()


async def runs(deployment: str) -> list[tuple[str, str, dict[str, object]]]:
    """Every run of a deployment: its id, its name and its parameters."""
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterDeploymentId

    async with get_client() as client:
        found = await client.read_deployment_by_name(deployment)
        of_it = FlowRunFilter(deployment_id=FlowRunFilterDeploymentId(any_=[found.id]))
        found_runs = await client.read_flow_runs(flow_run_filter=of_it)
    return [(str(run.id), run.name, run.parameters) for run in found_runs]
