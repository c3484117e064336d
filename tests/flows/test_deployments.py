"""The team's own deployments on a real Prefect server, run by a worker: a preprocessing, and a training."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from prefect.client.orchestration import get_client

from demo import servers
from demo.servers import Server
from demo.transactions import break_feed, generate, write_parquet
from flows.checks import DatasetCheck, Look
from flows.data import data
from flows.model import model
from incidents import known_good
from incidents.events import Conflicted
from incidents.incident import find
from incidents.ledger import Ledger
from incidents.models import Category, Health, Status
from remediations import RerunPreprocessing, RetrainModel
from remediations.base import Conflict
from remediations.clients import registry
from remediations.datasets import DatasetStore, open_store
from tests.flows.kit import ROOT, ChangePlaybook, System, judge, kinds, opened, run
from tests.flows.test_warm_worker import until

#: Deploys a flow of ``job_flows`` with some of its parameters, and returns its name.
Deploy = Callable[..., str]
SUITE = "    suite: transactions\n"
ACTION = RerunPreprocessing(dataset="transactions", because="a test")


@pytest.fixture(scope="module")
def pool(prefect_server: Server, mlflow_server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A work pool with lastgood's own worker, which can import the tests."""
    name = f"jobs-{secrets.token_hex(3)}"
    running = servers.worker(tmp_path_factory.mktemp("jobs"), name)
    running.settings |= {"PYTHONPATH": str(ROOT), "LASTGOOD_PRELOAD": '["tests.flows.job_flows"]'}
    with running:
        yield name


@pytest.fixture
def deploy(pool: str) -> Deploy:
    """Each deployment is of one test alone."""

    def work(function: str, **given: Any) -> str:
        name, entry = f"of-{secrets.token_hex(4)}", f"tests.flows.job_flows:{function}"
        with get_client(sync_client=True) as client:
            flow = client.create_flow_from_name(function)
            client.create_deployment(flow, name, work_pool_name=pool, entrypoint=entry, pull_steps=[], parameters=given)
        return f"{function}/{name}"

    return work


def states(deployment: str) -> list[str | None]:
    """The states of a deployment's runs."""
    from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterDeploymentId

    with get_client(sync_client=True) as client:
        of: UUID = client.read_deployment_by_name(deployment).id
        only = FlowRunFilter(deployment_id=FlowRunFilterDeploymentId(any_=[of]))
        return [found.state_name for found in client.read_flow_runs(flow_run_filter=only)]


@pytest.fixture
def kept(ledger: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> DatasetStore:
    """A store in a folder: an older version that was verified good, and a broken one that is current."""
    monkeypatch.setenv("LASTGOOD_STORE", f"file://{tmp_path}/store")
    store = open_store(f"file://{tmp_path}/store/transactions", "transactions")
    rows = generate(12_000)
    good = store.publish(write_parquet(rows, tmp_path / "good", parts=1)).version
    broken = store.publish(write_parquet(break_feed(rows), tmp_path / "broken", parts=1)).version
    store.move(store.pointer_to(broken, by="test"), expect=None)
    judge(ledger, "dataset:transactions", good)
    return store


def declare(change_playbook: ChangePlaybook, deployment: str, seconds: float = 60) -> None:
    """The playbook's preprocessing of the dataset."""
    ours = f"    preprocessing: {{deployment: {deployment}, within_seconds: {seconds}}}\n"
    change_playbook(SUITE, f"{SUITE}    correct: rerun_preprocessing\n{ours}")


def test_what_is_made_anew_passes_and_is_made_current(
    kept: DatasetStore, ledger: Ledger, deploy: Deploy, change_playbook: ChangePlaybook
) -> None:
    """The section runs it once, sees its version pass, points at it, and sees it well; entered again nothing runs."""
    deployment = deploy("preprocess")
    declare(change_playbook, deployment)
    before = set(kept.versions())
    incident = opened(ledger, "dataset:transactions", Category.data)
    outcome = run(data, incident)
    assert outcome.status is Status.resolved, outcome.why
    [made] = set(kept.versions()) - before
    assert kept.current().version == made
    assert made in known_good.versions(ledger, "dataset:transactions", Health.healthy)
    attempts = {attempt.plan.action: attempt.state for attempt in find(ledger, incident).attempts}
    assert attempts == {"rerun_preprocessing": "healthy", "rollback_dataset": "healthy"}
    run(data, incident)
    assert states(deployment) == ["Completed"]


def test_what_is_made_anew_takes_no_other_versions_place(
    kept: DatasetStore, deploy: Deploy, ledger: Ledger, change_playbook: ChangePlaybook, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A person moved the pointer to a good version while it was made: it passes, and the pointer stays theirs."""
    declare(change_playbook, deploy("preprocess"))
    [good] = set(kept.versions()) - {kept.current().version}
    look, theirs = DatasetCheck.look, kept.pointer_to(good, by="anna")

    def meanwhile(check: DatasetCheck) -> Look:
        if check.version is not None:
            kept.move(theirs, expect=kept.current())
        return look(check)

    monkeypatch.setattr(DatasetCheck, "look", meanwhile)
    outcome = run(data, opened(ledger, "dataset:transactions", Category.data))
    assert outcome.status is Status.resolved, outcome.why
    assert (kept.current(), len(kept.versions())) == (theirs, 3)


def test_what_is_made_anew_and_bad_stays_out(
    kept: DatasetStore, ledger: Ledger, deploy: Deploy, change_playbook: ChangePlaybook
) -> None:
    """It does not pass, so the pointer never names it; the dataset goes back to what was good."""
    declare(change_playbook, deploy("preprocess", bad=True, seed=4))
    [good] = set(kept.versions()) - {kept.current().version}
    incident = opened(ledger, "dataset:transactions", Category.data)
    outcome = run(data, incident)
    assert outcome.status is Status.resolved, outcome.why
    assert (kept.current().version, len(kept.versions())) == (good, 3)
    assert kinds(ledger, incident).count("applied") == 2


def test_applied_twice_is_one_run(
    kept: DatasetStore, deploy: Deploy, change_playbook: ChangePlaybook, tmp_path: Path
) -> None:
    """The job's name is the run's key: killed before it was published, or all done, it is not run a second time."""
    deployment = deploy("preprocess")
    declare(change_playbook, deployment)
    pointer, plan = kept.current(), ACTION.plan()
    assert (plan.hash, states(deployment)) == (ACTION.plan().hash, []), "a plan starts nothing"
    assert ACTION.verify(plan).health is Health.unhealthy
    ACTION.apply(plan)
    made = ACTION.made(str(plan.after["job"]))
    assert made is not None
    (tmp_path / "store" / "transactions" / "manifests" / f"{made}.json").unlink()  # as if it was killed before
    ACTION.apply(plan)
    ACTION.apply(plan)
    assert ACTION.made(str(plan.after["job"])) == made
    assert ACTION.verify(plan).health is Health.healthy
    assert ACTION.plan().nothing_to_do
    ACTION.undo(plan)
    assert (states(deployment), kept.current()) == (["Completed"], pointer)


def test_what_outlives_its_time_is_neither_failed_nor_done(
    kept: DatasetStore, ledger: Ledger, deploy: Deploy, change_playbook: ChangePlaybook, tmp_path: Path
) -> None:
    """Inconclusive while it runs; undone it is cancelled, and makes nothing any more."""
    deployment = deploy("preprocess", go=str(tmp_path / "go"))
    declare(change_playbook, deployment, seconds=0.5)
    plan = ACTION.plan()
    ACTION.apply(plan)
    until(lambda: states(deployment) == ["Running"], "the run has begun")
    verdict = ACTION.verify(plan)
    assert (verdict.health, "has not ended yet" in verdict.why) == (Health.inconclusive, True)
    ACTION.undo(plan)
    (tmp_path / "go").touch()
    assert states(deployment) == ["Cancelled"]
    assert len(kept.versions()) == 2
    ACTION.apply(plan)
    assert states(deployment) == ["Cancelled"], "the same reason is the same run"
    verdict = ACTION.verify(plan)
    assert (verdict.health, "another reason (`because`) has it run anew" in verdict.why) == (Health.unhealthy, True)
    declare(change_playbook, deployment)
    other = ACTION.model_copy(update={"because": "another reason"})
    again = other.plan()
    other.apply(again)
    assert other.verify(again).health is Health.healthy
    assert sorted(map(str, states(deployment))) == ["Cancelled", "Completed"]


def test_the_world_moved_on_so_nothing_is_made_anew(
    kept: DatasetStore, deploy: Deploy, change_playbook: ChangePlaybook
) -> None:
    """Another version is current than the plan found: no run is asked for."""
    deployment = deploy("preprocess")
    declare(change_playbook, deployment)
    plan, now = ACTION.plan(), kept.current()
    other = next(version for version in kept.versions() if version != now.version)
    kept.move(kept.pointer_to(other, by="anna"), expect=now)
    with pytest.raises(Conflict, match="was to be made anew"):
        ACTION.apply(plan)
    assert states(deployment) == []


def test_a_deployment_that_is_not_there_keeps_no_rollback_back(
    kept: DatasetStore, ledger: Ledger, pool: str, change_playbook: ChangePlaybook
) -> None:
    """A name that Prefect does not know is on the record, and the next step of the section is taken."""
    declare(change_playbook, "preprocess/nowhere")
    incident = opened(ledger, "dataset:transactions", Category.data)
    broken = kept.current().version
    outcome = run(data, incident)
    assert outcome.status is Status.resolved, outcome.why
    assert kept.current().version != broken
    [told] = [event.body.why for event in ledger.events(incident=incident) if isinstance(event.body, Conflicted)]
    assert "no deployment preprocess/nowhere" in told


@pytest.fixture
def trained_by(system: System, ledger: Ledger, deploy: Deploy, change_playbook: ChangePlaybook) -> Callable[..., str]:
    """Good data is current and the broken model serves; the model is trained by a deployment."""

    def declared(seconds: float = 60, **given: Any) -> str:
        of = str(system.model_good)
        deployment = deploy("train", like=of, learned_as=of, **given)
        alias = "    alias: champion\n"
        ours = f"    training: {{deployment: {deployment}, within_seconds: {seconds}}}\n"
        change_playbook(alias, alias + ours)
        system.set(system.good, system.model_broken)
        judge(ledger, "dataset:transactions", system.good)
        return deployment

    return declared


def test_a_model_is_trained_by_a_deployment_and_wins(
    trained_by: Callable[..., str], system: System, ledger: Ledger
) -> None:
    """The section has it trained once, compares, promotes, and sees the service recover."""
    deployment = trained_by()
    # its job is named after the incident, and in MLflow no other test's may have that name
    incident = [opened(ledger, asset, Category.model) for asset in (*[None] * 20, "model:fraud")][-1]
    outcome = run(model, incident)
    assert outcome.status is Status.resolved, outcome.why
    attempts = {attempt.plan.action: attempt.state for attempt in find(ledger, incident).attempts}
    assert attempts == {"retrain_model": "healthy", "promote_model": "healthy"}
    assert system.alias > system.model_broken
    run(model, incident)
    assert states(deployment) == ["Completed"]


def test_a_training_that_outlives_its_time_is_left_to_a_person(
    trained_by: Callable[..., str], system: System, ledger: Ledger, tmp_path: Path
) -> None:
    """It goes on, nothing is promoted, and the incident says that it has not ended; undone it is cancelled."""
    deployment = trained_by(seconds=0.5, go=str(tmp_path / "go"))
    made = len(registry().search_model_versions("name = 'fraud'"))
    names = [opened(ledger, asset, Category.model) for asset in (None, None, None, "model:fraud")]
    outcome = run(model, names[-1])
    assert outcome.status is Status.escalated
    assert "has not ended yet" in outcome.why
    assert system.alias == system.model_broken
    until(lambda: states(deployment) == ["Running"], "the training has begun")
    [attempt] = find(ledger, names[-1]).attempts
    action = RetrainModel.model_validate(attempt.plan.parameters)
    action.undo(attempt.plan)
    (tmp_path / "go").touch()
    assert states(deployment) == ["Cancelled"]
    assert "another reason (`because`) has it run anew" in action.verify(attempt.plan).why
    assert len(registry().search_model_versions("name = 'fraud'")) == made
