"""What the actions on models keep besides the contract: nothing learns from tainted data, or wins without a contest."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

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


def action_of(kind: str, world: World) -> Remediation:
    """The action that a test is about."""
    because = "a test"
    return {
        "promote_model": PromoteModel(model=world.model, to=3, because=because),
        "retrain_model": RetrainModel(model=world.model, because=because),
        "revert_model": RevertModel(model=world.model, because=because),
    }[kind]


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
