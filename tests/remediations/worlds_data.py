"""The worlds of the actions on datasets, and of the evidence that is kept of anything, for ``test_contract``."""

from __future__ import annotations

import json
import secrets
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from demo import servers
from incidents.events import Judged
from incidents.models import Health, Plan, Verdict
from remediations import ImputeMissing, PreserveEvidence, QuarantineRows, Remediation, RollbackDataset
from remediations.clients import aws, s3
from remediations.datasets import open_store
from remediations.row_rules import RowRule
from tests.remediations.contract import World


class DatasetWorld(World):
    """A dataset in S3, in a place of this test alone."""

    needs: ClassVar[tuple[str, ...]] = ("s3_server",)
    more: ClassVar[dict[str, Any]] = {}

    def declare(self, book: dict[str, Any]) -> None:
        """Under the name ``contract``."""
        self.bucket, self.prefix = servers.BUCKET, f"contract-{secrets.token_hex(6)}"
        self.uri = f"s3://{self.bucket}/{self.prefix}/rows"
        book["datasets"] = {"contract": {"store": self.uri, **self.more}}

    def state(self) -> Any:
        """Every object under the prefix, byte for byte."""
        listed = s3().list_objects_v2(Bucket=self.bucket, Prefix=f"{self.prefix}/").get("Contents", [])
        return {one["Key"]: s3().get_object(Bucket=self.bucket, Key=one["Key"])["Body"].read() for one in listed}

    def judge(self, version: str) -> None:
        """Put on the record that a version was verified good."""
        seen = Judged(version=version, verdict=Verdict(health=Health.healthy, why="seen"))
        self.ledger.append(seen, actor="test", subject="dataset:contract")

    def empty(self) -> None:
        """Nothing is under the prefix."""
        for key in self.state():
            s3().delete_object(Bucket=self.bucket, Key=key)


class RollbackDatasetWorld(DatasetWorld):
    """Three versions, of which the first was verified good and the second is current."""

    action = RollbackDataset

    def build(self) -> Remediation:
        """Published, with the second version current."""
        self.store = open_store(self.uri, "contract")
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "rows"
            self.versions = []
            for number in (1, 2, 3):
                file.write_text(f"version {number}")
                at = datetime(2026, 11, number, tzinfo=UTC)
                self.versions.append(self.store.publish([file], at=at).version)
        s3().delete_object(Bucket=self.bucket, Key=f"{self.prefix}/rows/current")
        self.store.move(self.store.pointer_to(self.versions[1], by="pipeline"), expect=None)
        self.judge(self.versions[0])
        return RollbackDataset(dataset="contract", because="a test")

    def meddle(self) -> None:
        """A pipeline moves the pointer on."""
        theirs = self.store.pointer_to(self.versions[2], by="pipeline")
        self.store.move(theirs, expect=self.store.current())


class RollbackPlainKeysWorld(DatasetWorld):
    """Plain keys in a versioned bucket: one was altered, one came and one went since they were verified good."""

    action = RollbackDataset
    needs = ("versioned_bucket",)

    def declare(self, book: dict[str, Any]) -> None:
        """Under ``s3+versions``."""
        super().declare(book)
        self.bucket = "versioned"
        self.uri = f"s3+versions://{self.bucket}/{self.prefix}/rows"
        book["datasets"]["contract"]["store"] = self.uri

    def build(self) -> Remediation:
        """As a pipeline wrote them."""
        self.empty()
        s3().delete_object(Bucket=self.bucket, Key=f"{self.prefix}/rows.lastgood/current")
        self._put("altered", "good")
        self._put("gone", "good")
        self.judge(open_store(self.uri, "contract").snapshot().version)  # type: ignore[attr-defined]  # plain keys
        self._put("altered", "bad")
        self._put("came", "bad")
        s3().delete_object(Bucket=self.bucket, Key=f"{self.prefix}/rows/gone")
        return RollbackDataset(dataset="contract", because="a test")

    def state(self) -> Any:
        """What readers of plain keys get. The states that are on file beside it stay there, whoever looked at them."""
        return {key: body for key, body in super().state().items() if f"{self.prefix}/rows/" in key}

    def meddle(self) -> None:
        """Somebody writes a key."""
        self._put("altered", "theirs")

    def _put(self, name: str, text: str) -> None:
        s3().put_object(Bucket=self.bucket, Key=f"{self.prefix}/rows/{name}", Body=text.encode())


class QuarantineRowsWorld(DatasetWorld):
    """A version of ten rows, of which one breaks a rule. What is published stays, also when the pointer goes back."""

    action = QuarantineRows
    more: ClassVar[dict[str, Any]] = {"quarantine": {"at_most": 0.2}}

    def build(self) -> Remediation:
        """Published, and current."""
        self.empty()
        self.store = open_store(self.uri, "contract")
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "rows.parquet"
            pd.DataFrame({"amount": [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, -1.0]}).to_parquet(file)
            version = self.store.publish([file]).version
            pd.DataFrame({"amount": [1.0]}).to_parquet(file)
            self.theirs = self.store.publish([file]).version
        self.store.move(self.store.pointer_to(version, by="pipeline"), expect=None)
        rule = RowRule(column="amount", kind="between", low=0)
        return QuarantineRows(dataset="contract", rules=(rule,), because="a test")

    def undone(self, before: Any, applied: Any) -> Any:
        """The pointer is as it was; versions never change, so what was published is there."""
        current = f"{self.prefix}/rows/current"
        return {**applied, current: before[current]}

    def meddle(self) -> None:
        """A pipeline moves the pointer on."""
        self.store.move(self.store.pointer_to(self.theirs, by="pipeline"), expect=self.store.current())


class ImputeMissingWorld(DatasetWorld):
    """A version with gaps, and the one before, which was verified good. What is published stays."""

    action = ImputeMissing
    more: ClassVar[dict[str, Any]] = {
        "impute": {"at_most": 0.5, "columns": {"x": {"last_good": "median"}, "word": {"same": "id"}}}
    }

    def build(self) -> Remediation:
        """Published, with the second version current, and nothing else there."""
        self.empty()
        self.store = open_store(self.uri, "contract")
        versions = []
        contents = [([1.0, 2.0, 3.0], ["a", "b", "c"]), ([1.0, None, 3.0], ["a", None, "c"]), ([9.0] * 3, ["z"] * 3)]
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "rows.parquet"
            for number, (x, word) in enumerate(contents, 1):
                pq.write_table(pa.table({"id": [1, 2, 3], "x": x, "word": word}), file)
                versions.append(self.store.publish([file], at=datetime(2026, 11, number, tzinfo=UTC)).version)
        self.store.move(self.store.pointer_to(versions[1], by="pipeline"), expect=None)
        self.judge(versions[0])
        self.theirs = versions[2]
        return ImputeMissing(dataset="contract", because="a test")

    def undone(self, before: Any, applied: Any) -> Any:
        """The pointer is as it was; versions never change, so what was published is there."""
        current = f"{self.prefix}/rows/current"
        return {**applied, current: before[current]}

    def meddle(self) -> None:
        """A pipeline moves the pointer on."""
        self.store.move(self.store.pointer_to(self.theirs, by="pipeline"), expect=self.store.current())


class PreserveEvidenceWorld(DatasetWorld):
    """A dataset, an access log, and a bucket with object lock that evidence goes to. It is never taken back."""

    action = PreserveEvidence
    stays = True
    asset = "dataset:contract"

    def declare(self, book: dict[str, Any]) -> None:
        """The bucket is of this test alone: what is in it can't be deleted."""
        super().declare(book)
        self.evidence, self.builds = f"evidence-{secrets.token_hex(6)}", 0
        logs = f"s3://{self.bucket}/{self.prefix}/access/"
        book["evidence"] = {"store": f"s3://{self.evidence}/kept", "retain_days": 1, "access_records": [logs]}

    def build(self) -> Remediation:
        """Each time it is another incident."""
        self.builds += 1
        if self.builds == 1:
            s3().create_bucket(Bucket=self.evidence, ObjectLockEnabledForBucket=True)
            store = open_store(self.uri, "contract")
            with tempfile.TemporaryDirectory() as folder:
                (Path(folder) / "rows").write_text("a,b\n1,2\n")
                version = store.publish([Path(folder) / "rows"]).version
            store.move(store.pointer_to(version, by="pipeline"), expect=None)
            s3().put_object(Bucket=self.bucket, Key=f"{self.prefix}/access/a.log", Body=b"somebody read it")
        return PreserveEvidence(asset=self.asset, incident=f"INC-{self.builds}", because="a test")

    def state(self) -> Any:
        """The dataset, the log, and what is kept of the incident, with every version of it."""
        listed = s3().list_object_versions(Bucket=self.evidence, Prefix=f"{self._kept}/").get("Versions", [])
        return super().state(), [(one["Key"], one["VersionId"]) for one in listed]

    def undone(self, before: Any, applied: Any) -> Any:  # noqa: ARG002  # nothing is taken back
        """What is kept is kept."""
        return applied

    def meddle(self) -> None:
        """Somebody puts another incident's manifest there."""
        forged = {"incident": "INC-99", "subject": self.asset, "at": "then", "kept": [], "left_out": []}
        s3().put_object(Bucket=self.evidence, Key=f"{self._kept}/manifest.json", Body=json.dumps(forged).encode())

    def whole(self, plan: Plan) -> bool:
        """Whether all of it was kept."""
        body = s3().get_object(Bucket=self.evidence, Key=f"{self._kept}/manifest.json")["Body"].read()
        return json.loads(body)["left_out"] == [] and plan.after["manifest"] is not None

    @property
    def _kept(self) -> str:
        return f"kept/INC-{self.builds}/{self.asset.replace(':', '-')}"


class EvidenceOfABucketWorld(PreserveEvidenceWorld):
    """How a bucket is open to others."""

    asset = "bucket:feeds"

    def declare(self, book: dict[str, Any]) -> None:
        """Without a log to read."""
        super().declare(book)
        self.feeds = f"feeds-{secrets.token_hex(6)}"
        book["buckets"], book["datasets"] = {"feeds": {"bucket": self.feeds}}, {}
        book["evidence"]["access_records"] = []

    def build(self) -> Remediation:
        """With a bucket."""
        s3().create_bucket(Bucket=self.feeds)
        return super().build()


class EvidenceOfAUserWorld(PreserveEvidenceWorld):
    """When an IAM user's keys were used."""

    needs = ("s3_server", "aws")
    asset = "iam_user:trainer"

    def declare(self, book: dict[str, Any]) -> None:
        """Without a log to read."""
        super().declare(book)
        book["iam_users"], book["datasets"] = {"trainer": {"user": "trainer"}}, {}
        book["evidence"]["access_records"] = []

    def build(self) -> Remediation:
        """With one key."""
        if self.builds == 0:
            aws("iam").create_user(UserName="trainer")
            aws("iam").create_access_key(UserName="trainer")
        return super().build()


class EvidenceOfASecretWorld(PreserveEvidenceWorld):
    """What Secrets Manager says of a secret."""

    needs = ("s3_server", "aws")
    asset = "secrets_manager:signing"

    def declare(self, book: dict[str, Any]) -> None:
        """Without a log to read."""
        super().declare(book)
        book["secrets"], book["datasets"] = {"signing": {"id": "signing"}}, {}
        book["evidence"]["access_records"] = []

    def build(self) -> Remediation:
        """With a secret."""
        if self.builds == 0:
            aws("secretsmanager").create_secret(Name="signing", SecretString="a value of this test alone")
        return super().build()


DATA: tuple[type[World], ...] = (
    ImputeMissingWorld,
    PreserveEvidenceWorld,
    QuarantineRowsWorld,
    RollbackDatasetWorld,
    RollbackPlainKeysWorld,
)

#: The same action on other assets, which read other things of AWS.
OTHER_EVIDENCE: tuple[type[World], ...] = (EvidenceOfABucketWorld, EvidenceOfASecretWorld, EvidenceOfAUserWorld)
