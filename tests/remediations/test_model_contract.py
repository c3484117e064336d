"""What every action on models keeps: planning writes nothing, twice is once, undo restores, a third party's change
stays, and a kill between any two calls is recovered from. On a real MLflow, and on SageMaker's API.
"""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import botocore.httpsession
import pytest
import requests

from benchmarks.registry_rows import Run, insert
from demo.servers import Server
from incidents import ledger as ledgers
from incidents import playbook as playbooks
from incidents import settings as all_settings
from incidents.events import Contested, Judged, Scanned
from incidents.ledger import Ledger
from incidents.models import Health, Verdict
from remediations import PromoteModel, Remediation, RetrainModel, RevertModel
from remediations.base import CannotPlan, Conflict
from remediations.clients import registry
from remediations.datasets import open_store
from remediations.retrain_model import TAG

ROOT = Path(__file__).parents[2]
SAGEMAKER = (
    "training: {sagemaker: {AlgorithmSpecification: {TrainingImage: 'train:1', TrainingInputMode: File},"
    " RoleArn: 'arn:aws:iam::123456789012:role/train', OutputDataConfig: {S3OutputPath: 's3://out'},"
    " ResourceConfig: {InstanceType: ml.m5.large, InstanceCount: 1, VolumeSizeInGB: 1},"
    " StoppingCondition: {MaxRuntimeInSeconds: 60}}}"
)


@dataclass
class World:
    """One model of one test: version 1 learned from good data, 2 is in production, 3 learned from good data."""

    model: str
    ledger: Ledger
    data: str

    def judge(self, subject: str, version: str, health: Health = Health.healthy) -> None:
        """Put on the record that a version was looked at."""
        body = Judged(version=version, verdict=Verdict(health=health, why="seen"))
        self.ledger.append(body, actor="test", subject=subject)

    def state(self) -> Any:
        """All that there is to see of the model in MLflow, except for times."""
        client = registry()
        versions = client.search_model_versions(f"name = '{self.model}'")
        tags = {int(one.version): dict(client.get_model_version(self.model, one.version).tags) for one in versions}
        aliases = {name: int(at) for name, at in client.get_registered_model(self.model).aliases.items()}
        return dict(sorted(tags.items())), aliases

    def contested(self, health: Health = Health.healthy, champion: int = 2) -> None:
        """Put on the record how version 3 did."""
        told = Contested(champion=champion, challenger=3, verdict=Verdict(health=health, why="compared"))
        self.ledger.append(told, actor="test", subject=f"model:{self.model}")


@pytest.fixture
def world(
    mlflow_server: Server, servers_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[World]:
    """A ledger, a playbook, a published dataset and a model of this test alone."""
    model = f"contract-{secrets.token_hex(4)}"
    text = (ROOT / "playbook.yaml").read_text()
    text = text.replace("  fraud:\n    alias: champion\n", f"  {model}:\n    alias: champion\n    {SAGEMAKER}\n")
    (tmp_path / "playbook.yaml").write_text(text)
    monkeypatch.setenv("LASTGOOD_HOME", str(tmp_path / "lastgood"))
    monkeypatch.setenv("LASTGOOD_PLAYBOOK", str(tmp_path / "playbook.yaml"))
    monkeypatch.setenv("LASTGOOD_STORE", f"file://{tmp_path}/store")
    for cached in (ledgers.ledger, playbooks.playbook, all_settings.settings):
        cached.cache_clear()
    (tmp_path / "rows.csv").write_text("a\n1\n")
    store = open_store(f"file://{tmp_path}/store/transactions", "transactions")
    data = store.publish([tmp_path / "rows.csv"]).version
    store.move(store.pointer_to(data, by="test"), expect=None)
    learned = [{data}, {"bad"}, {data}, {data}]
    runs = [
        Run(secrets.token_hex(16), model, number, frozenset(("transactions", version) for version in versions))
        for number, versions in enumerate(learned, 1)
    ]
    insert(servers_folder / "mlflow" / "mlflow.db", runs)
    registry().set_registered_model_alias(model, "champion", "2")
    made = World(model, ledgers.ledger(), data)
    made.judge("dataset:transactions", data)
    made.judge(f"model:{model}", "1")
    safe = Verdict(health=Health.healthy, why="scanned")
    made.ledger.append(Scanned(version="1", digest="1" * 64, verdict=safe), actor="test", subject=f"model:{model}")
    made.contested()
    yield made
    ledgers.ledger().engine.dispose()
    for cached in (ledgers.ledger, playbooks.playbook, all_settings.settings):
        cached.cache_clear()


@pytest.fixture
def container(world: World, aws: Callable[[str], Any]) -> Iterator[None]:
    """What SageMaker would run: for each job that it is asked for, register a version that learned from the data."""
    over, client, done = threading.Event(), aws("sagemaker"), set[str]()

    def work() -> None:
        while not over.wait(0.05):
            for job in client.list_training_jobs()["TrainingJobSummaries"]:
                if job["TrainingJobName"] not in done:
                    done.add(job["TrainingJobName"])
                    given = client.describe_training_job(TrainingJobName=job["TrainingJobName"])["HyperParameters"]
                    assert given["dataset_version"] == world.data
                    run_id = registry().get_model_version(world.model, "1").run_id
                    tags = {TAG: given["job"]}
                    registry().create_model_version(given["model"], f"runs:/{run_id}/m", run_id, tags=tags)

    thread = threading.Thread(target=work)
    thread.start()
    yield
    over.set()
    thread.join()


def action_of(kind: str, world: World) -> Remediation:
    """The action that a test is about."""
    because = "a test"
    return {
        "promote_model": PromoteModel(model=world.model, to=3, because=because),
        "retrain_model": RetrainModel(model=world.model, because=because),
        "revert_model": RevertModel(model=world.model, because=because),
    }[kind]


#: The actions that this file holds to the contract.
TRAINING = ("promote_model", "retrain_model", "revert_model")


@pytest.fixture(params=TRAINING)
def action(request: pytest.FixtureRequest, world: World) -> Remediation:
    """Each of the actions in turn; the training of the one that trains has what runs it."""
    if request.param == "retrain_model":
        request.getfixturevalue("container")
    return action_of(request.param, world)


def settled(action: Remediation, plan: Any) -> None:
    """Apply, and wait for what a training registers by itself after its job was started."""
    action.apply(plan)
    for _ in range(200):
        if not isinstance(action, RetrainModel) or action.made(str(plan.after["job"])):
            break
        threading.Event().wait(0.05)


def test_a_plan_writes_nothing_and_is_the_same_again(action: Remediation, world: World) -> None:
    """Planning twice gives one hash, and nothing in MLflow or on the record is another."""
    before, length = world.state(), world.ledger.length()
    plan = action.plan()
    assert plan == action.plan()
    assert not plan.nothing_to_do
    assert (world.state(), world.ledger.length()) == (before, length)


def test_applied_twice_is_once_and_undone_it_is_as_before(action: Remediation, world: World) -> None:
    """Each way a second time changes nothing; what is applied plans nothing more."""
    before, plan = world.state(), action.plan()
    settled(action, plan)
    after = world.state()
    assert after != before
    action.apply(plan)
    assert world.state() == after
    assert action.verify(plan).health is Health.healthy
    if not isinstance(action, PromoteModel):
        world.judge(f"model:{world.model}", "1")
    assert action.plan().nothing_to_do
    for _ in range(2):
        action.undo(plan)
        assert world.state() == before
    assert action.verify(plan).health is Health.unhealthy


def test_a_third_partys_change_stays(action: Remediation, world: World) -> None:
    """Whoever moved the alias in between, or gave one to what was made, keeps it, in both directions."""
    plan = action.plan()
    settled(action, plan)
    if isinstance(action, RetrainModel):
        registry().set_registered_model_alias(world.model, "staging", str(action.made(str(plan.after["job"]))[0]))
    else:
        registry().set_registered_model_alias(world.model, "champion", "4")
    theirs = world.state()
    with pytest.raises(Conflict, match="left as it is"):
        action.undo(plan)
    if not isinstance(action, RetrainModel):
        with pytest.raises(Conflict, match="left as it is"):
            action.apply(plan)
    assert world.state() == theirs


def test_killed_between_any_two_calls_it_recovers(
    action: Remediation, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Dead after its first call, its second, and so on, in both directions: done again it is as if nothing happened."""
    before, own, left = world.state(), threading.get_ident(), [0]

    def dying(real: Any) -> Any:
        def send(*given: Any, **more: Any) -> Any:
            answer = real(*given, **more)
            if threading.get_ident() == own:  # the container is another machine
                left[0] -= 1
                if left[0] == 0:
                    raise KeyboardInterrupt
            return answer

        return send

    def dies(calls: int, work: Callable[[Any], None], plan: Any) -> bool:
        left[0] = calls
        try:
            work(plan)
        except KeyboardInterrupt:
            return True
        finally:
            left[0] = 0
        return False

    monkeypatch.setattr(requests.Session, "send", dying(requests.Session.send))
    send = dying(botocore.httpsession.URLLib3Session.send)
    monkeypatch.setattr(botocore.httpsession.URLLib3Session, "send", send)
    for calls in range(1, 40):
        again = action.model_copy(update={"because": f"time {calls}"})
        plan = again.plan()
        died = dies(calls, again.apply, plan)
        settled(again, plan)
        assert again.verify(plan).health is Health.healthy, f"killed after call {calls}"
        assert len(world.state()[0]) == 4 + isinstance(again, RetrainModel), f"trained twice, killed after {calls}"
        died = dies(calls, again.undo, plan) or died
        again.undo(plan)
        assert world.state() == before, f"killed after call {calls}"
        if not died:
            break
    assert calls > 4


def test_an_alias_that_is_gone_tells_nothing(world: World) -> None:
    """It is neither where it should be nor elsewhere: that is for a person."""
    action = action_of("revert_model", world)
    plan = action.plan()
    registry().delete_registered_model_alias(world.model, "champion")
    assert action.verify(plan).health is Health.inconclusive


@pytest.mark.parametrize("health", [Health.unhealthy, Health.inconclusive])
def test_what_did_not_win_is_not_promoted(world: World, health: Health) -> None:
    """The newest contest decides, also where an older one was won."""
    world.contested(health)
    with pytest.raises(CannotPlan, match="has not won"):
        action_of("promote_model", world).plan()


def test_what_won_against_another_champion_is_not_promoted(world: World) -> None:
    """The champion has changed since: against that one it never stood."""
    registry().set_registered_model_alias(world.model, "champion", "4")
    with pytest.raises(CannotPlan, match="never compared"):
        action_of("promote_model", world).plan()


@pytest.mark.parametrize("kind", ["promote_model", "retrain_model", "revert_model"])
def test_tainted_data_is_never_learned_from_and_what_learned_from_it_never_comes_back(world: World, kind: str) -> None:
    """The data turns out to be bad: no training on it, no promotion and no way back to what learned from it."""
    world.judge("dataset:transactions", world.data, Health.unhealthy)
    with pytest.raises(CannotPlan, match=r"not verified good|which is bad"):
        action_of(kind, world).plan()


def test_data_that_turns_bad_after_the_plan_is_not_learned_from(world: World, aws: Callable[[str], Any]) -> None:
    """Compare, then act: no job is asked for."""
    action = action_of("retrain_model", world)
    plan = action.plan()
    world.judge("dataset:transactions", world.data, Health.unhealthy)
    with pytest.raises(Conflict, match="no longer verified good"):
        action.apply(plan)
    assert aws("sagemaker").list_training_jobs()["TrainingJobSummaries"] == []
