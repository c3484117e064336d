"""The worlds of the actions that bring another version of a model into production, for ``test_contract``."""

from __future__ import annotations

import secrets
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from demo import servers
from incidents import known_good
from incidents.events import Contested, Judged, Scanned
from incidents.models import Health, Verdict
from remediations import PromoteModel, Remediation, RetrainModel, RevertModel
from remediations.clients import aws, registry
from remediations.datasets import open_store
from remediations.retrain_model import TAG
from tests.remediations.contract import ELSEWHERE, World
from tests.remediations.model_kit import empty, learned

ROLE = "arn:aws:iam::123456789012:role/train"
TRAINING = {
    "AlgorithmSpecification": {"TrainingImage": "train:1", "TrainingInputMode": "File"},
    "RoleArn": ROLE,
    "OutputDataConfig": {"S3OutputPath": "s3://out"},
    "ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 1},
    "StoppingCondition": {"MaxRuntimeInSeconds": 60},
}


class ModelWorld(World):
    """A registered model with three versions, of which the second is champion."""

    needs: ClassVar[tuple[str, ...]] = ("mlflow_server",)

    def declare(self, book: dict[str, Any]) -> None:
        """A model that learns from nothing declared."""
        book["models"] = {"contract": {"alias": "champion"}}

    def registered(self) -> None:
        """Registered anew, with the second version in production."""
        empty("contract")
        for _ in range(3):
            registry().create_model_version("contract", source="s3://nowhere/model")
        registry().set_registered_model_alias("contract", "champion", "2")

    def record(self, body: Judged | Scanned | Contested) -> None:
        """Put on the record what was seen of the model."""
        self.ledger.append(body, actor="test", subject="model:contract")

    def state(self) -> Any:
        """Every alias, and every version's tags."""
        client = registry()
        found = client.search_model_versions("name = 'contract'")
        tags = {int(one.version): dict(client.get_model_version("contract", one.version).tags) for one in found}
        aliases = client.get_registered_model("contract").aliases
        return dict(sorted(tags.items())), {name: int(version) for name, version in aliases.items()}

    def meddle(self) -> None:
        """Somebody sets the alias in MLflow's own pages."""
        registry().set_registered_model_alias("contract", "champion", "3")


class RevertModelWorld(ModelWorld):
    """Back to the first version."""

    action = RevertModel

    def build(self) -> Remediation:
        """The first was verified good, and scanned."""
        self.registered()
        good = Verdict(health=Health.healthy, why="seen")
        self.record(Judged(version="1", verdict=good))
        self.record(Scanned(version="1", digest="1" * 64, verdict=good))
        return RevertModel(model="contract", because="a test")


class PromoteModelWorld(ModelWorld):
    """The first version has won against the second."""

    action = PromoteModel

    def build(self) -> Remediation:
        """It was compared."""
        self.registered()
        well = Verdict(health=Health.healthy, why="compared, and scanned")
        self.record(Contested(champion=2, challenger=1, verdict=well))
        self.record(Scanned(version="1", digest="1" * 64, verdict=well))
        return PromoteModel(model="contract", to=1, because="a test")


class RetrainModelWorld(ModelWorld):
    """A model that SageMaker trains, and data that was verified good. A job that has run never runs again."""

    action = RetrainModel
    needs = ("mlflow_server", "s3_server", "sagemaker")

    def declare(self, book: dict[str, Any]) -> None:
        """The dataset is in a place of this test alone."""
        self.uri = f"s3://{servers.BUCKET}/contract-{secrets.token_hex(6)}"
        book["datasets"] = {"rows": {"store": self.uri}}
        book["models"] = {"contract": {"learns_from": ["rows"], "training": {"sagemaker": TRAINING}}}
        self.builds = 0

    def build(self) -> Remediation:
        """One version of the data, verified good; each time for another reason, so that it is another job."""
        self.registered()
        self.builds += 1
        store = open_store(self.uri, "rows")
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / "rows").write_text("a,b\n1,2\n")
            self.data = store.publish([Path(folder) / "rows"]).version
        if self.builds == 1:
            store.move(store.pointer_to(self.data, by="test"), expect=None)
        self._judge(Health.healthy)
        self.fixtures["sagemaker"].container = self._trained
        return RetrainModel(model="contract", because=f"test {self.builds}")

    def state(self) -> Any:
        """The model, and whether it may learn from the data."""
        good = known_good.versions(self.ledger, "dataset:rows", Health.healthy)
        return *super().state(), self.data in good

    def meddle(self) -> None:
        """Somebody finds the data bad; or, where the model was trained, uses what came of it."""
        made = registry().search_model_versions(f"name = 'contract' AND tags.{TAG} LIKE 'lastgood-%'")
        if made:
            registry().set_registered_model_alias("contract", "staging", made[0].version)
        else:
            self._judge(Health.unhealthy)

    def spoil(self) -> None:
        """Somebody deletes what came of it."""
        for made in registry().search_model_versions(f"name = 'contract' AND tags.{TAG} LIKE 'lastgood-%'"):
            registry().delete_model_version("contract", made.version)

    def _judge(self, health: Health) -> None:
        seen = Judged(version=self.data, verdict=Verdict(health=health, why="seen"))
        self.ledger.append(seen, actor="test", subject="dataset:rows")

    def _trained(self, given: Mapping[str, str]) -> None:
        """What the container of the job does."""
        ELSEWHERE.set(True)
        learned(given["model"], given["dataset"], given["dataset_version"], **{TAG: given["job"]})


MODELS: tuple[type[World], ...] = (PromoteModelWorld, RetrainModelWorld, RevertModelWorld)


def jobs() -> list[str]:
    """The names of the training jobs that SageMaker was asked for."""
    return [one["TrainingJobName"] for one in aws("sagemaker").list_training_jobs()["TrainingJobSummaries"]]
