"""The world of each action, for ``test_contract``: alphabetical, one class an action."""

from __future__ import annotations

import secrets
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from demo import servers
from incidents.events import Judged, Scanned
from incidents.ledger import Ledger
from incidents.models import Health, Verdict
from remediations import ImputeMissing, RevertModel, RollbackDataset
from remediations.clients import registry, s3
from remediations.datasets import open_store
from tests.remediations.contract import World
from tests.remediations.worlds_infrastructure import INFRASTRUCTURE


def judge(ledger: Ledger, subject: str, version: str) -> None:
    """Put on the record that a version was verified good."""
    seen = Judged(version=version, verdict=Verdict(health=Health.healthy, why="seen"))
    ledger.append(seen, actor="test", subject=subject)


class ImputeMissingWorld(World):
    """A dataset in S3 with a gap in its current version, and the version before, which was verified good."""

    action = ImputeMissing
    needs = ("s3_server",)
    leaves = True

    def declare(self, book: dict[str, Any]) -> None:
        """A dataset in a place of this test alone, and what fills its gaps."""
        self.prefix = f"contract-{secrets.token_hex(6)}"
        fills = {"x": {"last_good": "median"}, "word": {"same": "id"}}
        rules = {"at_most": 0.5, "columns": fills}
        book["datasets"] = {"contract": {"store": f"s3://{servers.BUCKET}/{self.prefix}", "impute": rules}}

    def build(self) -> ImputeMissing:
        """Published, with the second version current, and nothing else there."""
        self.store = open_store(f"s3://{servers.BUCKET}/{self.prefix}", "contract")
        for item in s3().list_objects_v2(Bucket=servers.BUCKET, Prefix=f"{self.prefix}/").get("Contents", []):
            s3().delete_object(Bucket=servers.BUCKET, Key=item["Key"])
        self.versions = []
        contents = [([1.0, 2.0, 3.0], ["a", "b", "c"]), ([1.0, None, 3.0], ["a", None, "c"]), ([9.0] * 3, ["z"] * 3)]
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "rows.parquet"
            for number, (x, word) in enumerate(contents, 1):
                pq.write_table(pa.table({"id": [1, 2, 3], "x": x, "word": word}), file)
                self.versions.append(self.store.publish([file], at=datetime(2026, 11, number, tzinfo=UTC)).version)
        self.store.move(self.store.pointer_to(self.versions[1], by="pipeline"), expect=None)
        judge(self.ledger, "dataset:contract", self.versions[0])
        return ImputeMissing(dataset="contract", because="a test")

    def state(self) -> Any:
        """The pointer byte for byte, and the rows that readers get there; what else was published, nobody reads."""
        body = s3().get_object(Bucket=servers.BUCKET, Key=f"{self.prefix}/current")["Body"].read()
        with tempfile.TemporaryDirectory() as folder:
            [file] = self.store.fetch(self.store.current().version, Path(folder))
            return body, pq.read_table(file).to_pydict()

    def meddle(self) -> None:
        """A pipeline moves the pointer on."""
        theirs = self.store.pointer_to(self.versions[2], by="pipeline")
        self.store.move(theirs, expect=self.store.current())


class RevertModelWorld(World):
    """A registered model with three versions, of which the first was verified good and the second is champion."""

    action = RevertModel
    needs = ("mlflow_server",)

    def declare(self, book: dict[str, Any]) -> None:
        """A model that learns from nothing declared."""
        book["models"] = {"contract": {"alias": "champion"}}

    def build(self) -> RevertModel:
        """Registered anew, with the second version in production."""
        client = registry()
        if any(found.name == "contract" for found in client.search_registered_models()):
            client.delete_registered_model("contract")
        client.create_registered_model("contract")
        for _ in range(3):
            client.create_model_version("contract", source="s3://nowhere/model")
        client.set_registered_model_alias("contract", "champion", "2")
        judge(self.ledger, "model:contract", "1")
        safe = Verdict(health=Health.healthy, why="scanned")
        self.ledger.append(Scanned(version="1", digest="1" * 64, verdict=safe), actor="test", subject="model:contract")
        return RevertModel(model="contract", because="a test")

    def state(self) -> Any:
        """Every alias, and every version's tags."""
        found = registry().get_registered_model("contract")
        versions = {number: registry().get_model_version("contract", str(number)).tags for number in (1, 2, 3)}
        return {"aliases": {name: int(version) for name, version in found.aliases.items()}, "tags": versions}

    def meddle(self) -> None:
        """Somebody sets the alias in MLflow's own pages."""
        registry().set_registered_model_alias("contract", "champion", "3")


class RollbackDatasetWorld(World):
    """A dataset in S3 with three versions, of which the first was verified good and the second is current."""

    action = RollbackDataset
    needs = ("s3_server",)

    def declare(self, book: dict[str, Any]) -> None:
        """A dataset in a place of this test alone."""
        self.prefix = f"contract-{secrets.token_hex(6)}"
        book["datasets"] = {"contract": {"store": f"s3://{servers.BUCKET}/{self.prefix}"}}

    def build(self) -> RollbackDataset:
        """Published, with the second version current."""
        self.store = open_store(f"s3://{servers.BUCKET}/{self.prefix}", "contract")
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "rows"
            self.versions = []
            for number in (1, 2, 3):
                file.write_text(f"version {number}")
                at = datetime(2026, 11, number, tzinfo=UTC)
                self.versions.append(self.store.publish([file], at=at).version)
        s3().delete_object(Bucket=servers.BUCKET, Key=f"{self.prefix}/current")
        self.store.move(self.store.pointer_to(self.versions[1], by="pipeline"), expect=None)
        judge(self.ledger, "dataset:contract", self.versions[0])
        return RollbackDataset(dataset="contract", because="a test")

    def state(self) -> Any:
        """Every object under the prefix, byte for byte."""
        listed = s3().list_objects_v2(Bucket=servers.BUCKET, Prefix=f"{self.prefix}/")["Contents"]
        keys = [item["Key"] for item in listed]
        return {key: s3().get_object(Bucket=servers.BUCKET, Key=key)["Body"].read() for key in keys}

    def meddle(self) -> None:
        """A pipeline moves the pointer on."""
        theirs = self.store.pointer_to(self.versions[2], by="pipeline")
        self.store.move(theirs, expect=self.store.current())


#: Every action needs at least one; a test holds this against ``remediations.ALL``.
WORLDS: tuple[type[World], ...] = (
    *INFRASTRUCTURE,
    ImputeMissingWorld,
    RevertModelWorld,
    RollbackDatasetWorld,
)
