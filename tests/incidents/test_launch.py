"""Starting a run by its deployment's name, on a real Prefect server."""

from __future__ import annotations

import asyncio
import secrets
from pathlib import Path
from uuid import UUID

import pytest

from demo.servers import Server
from incidents.events import Opened
from incidents.launch import NotLaunched, launch, launch_job, wait
from incidents.ledger import Ledger
from incidents.models import Category, Severity
from tests.incidents.deploying import deploy, runs


def test_the_same_key_gives_one_run(deployment: str) -> None:
    """The outbox may try twice after a crash; the incident's flow must not run twice for it."""

    async def story() -> list[str]:
        start = [launch(deployment, {"incident": "INC-1"}, key=f"k-{deployment}", name="INC-1 x") for _ in range(3)]
        first = await start[0]
        return [first, *await asyncio.gather(*start[1:])]

    ids = asyncio.run(story())
    assert len(set(ids)) == 1
    assert asyncio.run(runs(deployment)) == [(ids[0], "INC-1 x", {"incident": "INC-1"})]


def test_another_key_gives_another_run(deployment: str) -> None:
    """Two incidents are two runs."""
    ids = {
        asyncio.run(launch(deployment, {"incident": name}, key=f"{name}-{deployment}", name=name))
        for name in ("INC-1", "INC-2")
    }
    assert {run for run, _, _ in asyncio.run(runs(deployment))} == ids
    assert len(ids) == 2


def test_a_deployment_that_is_made_anew_is_found_again(deployment: str) -> None:
    """What was known of it before it was deleted keeps nothing from being started."""

    async def story() -> list[str]:
        from prefect.client.orchestration import get_client

        first = await launch(deployment, {"incident": "INC-1"}, key=f"a-{deployment}", name="x")
        async with get_client() as client:
            await client.delete_deployment((await client.read_deployment_by_name(deployment)).id)
        with pytest.raises(NotLaunched, match="prefect deploy --all"):
            await launch(deployment, {"incident": "INC-2"}, key=f"b-{deployment}", name="x")
        await deploy(deployment.split("/", maxsplit=1)[0])
        return [first, await launch(deployment, {"incident": "INC-2"}, key=f"b-{deployment}", name="x")]

    _, second = asyncio.run(story())
    assert [run for run, _, _ in asyncio.run(runs(deployment))] == [second]


def test_two_ledgers_may_share_a_prefect_server(deployment: str, tmp_path: Path) -> None:
    """Each has an INC-1, and both are run; a ledger that is made anew is another one, too."""
    job = {"deployment": deployment, "parameters": {"incident": "INC-1"}, "key": "launch:INC-1", "name": "INC-1 x"}
    ids = []
    for name in ("one", "other"):
        ledger = Ledger(f"sqlite:///{tmp_path / name}.db")
        ledger.append(Opened(category=Category.data, severity=Severity.high, asset=None, title="t"), actor="test")
        ids += [asyncio.run(launch_job(ledger, job)) for _ in range(2)]
        ledger.engine.dispose()
    assert ids[0] == ids[1] != ids[2] == ids[3]
    assert {run for run, _, _ in asyncio.run(runs(deployment))} == set(ids)


def test_wait_gives_the_state_a_run_ended_in(deployment: str) -> None:
    """It goes by what Prefect says, and a run that does not end in time is an error of its own."""

    async def story() -> str:
        from prefect.client.orchestration import get_client
        from prefect.states import Completed

        run = await launch(deployment, {"incident": "INC-1"}, key=f"w-{deployment}", name="INC-1")
        with pytest.raises(TimeoutError):
            await wait(run, 0.1)
        async with get_client() as client:
            await client.set_flow_run_state(UUID(run), Completed(), force=True)
        return await wait(run, 30)

    assert asyncio.run(story()) == "Completed"


def test_an_unknown_deployment_says_what_to_do(prefect_server: Server) -> None:
    """The reason stands in the outbox and in the log, so it names the command."""
    with pytest.raises(NotLaunched, match="prefect deploy --all"):
        asyncio.run(launch("no/such", {}, key="k", name="x"))
    with pytest.raises(NotLaunched, match="no run"):
        asyncio.run(wait("00000000-0000-0000-0000-000000000000", 1))


def test_parameters_that_the_flow_does_not_take(deployment: str) -> None:
    """Prefect checks them against the flow's schema, and its answer is the reason."""
    with pytest.raises(NotLaunched, match="answered 4"):
        asyncio.run(launch(deployment, {"incident": {"no": "text"}}, key=f"p-{deployment}", name="x"))


def test_without_a_server_there_is_a_clear_reason(prefect_server: Server) -> None:
    """Nothing listens, or nothing is set; the client must not start a server of its own then."""
    from prefect.settings import PREFECT_API_URL, temporary_settings

    with (
        temporary_settings(updates={PREFECT_API_URL: "http://127.0.0.1:9/api"}),
        pytest.raises(NotLaunched, match="away"),
    ):
        asyncio.run(launch("data/data", {}, key="k", name="x"))
    with (
        temporary_settings(restore_defaults={PREFECT_API_URL}),
        pytest.raises(NotLaunched, match="PREFECT_API_URL is not set"),
    ):
        asyncio.run(launch("data/data", {}, key="k", name="x"))


def test_a_run_is_tagged_with_its_incident(deployment: str) -> None:
    """The Prefect UI finds every run of an incident by its name."""
    run = asyncio.run(launch(deployment, {"incident": "INC-7"}, key=secrets.token_hex(4), name="INC-7 no asset"))
    assert asyncio.run(_tags(run)) == {"INC-7"}


async def _tags(run: str) -> set[str]:
    from prefect.client.orchestration import get_client

    async with get_client() as client:
        return set((await client.read_flow_run(UUID(run))).tags)
