"""The worlds of the actions of containment, for ``test_contract``: the real setting that each one changes."""

from __future__ import annotations

import json
import secrets
import tempfile
from pathlib import Path
from typing import Any, ClassVar

from demo import servers
from remediations import (
    BlockPublicAccess,
    DeactivateAccessKey,
    DenyBucketAccess,
    IsolateService,
    QuarantineDataset,
    QuarantineModel,
    Remediation,
    RotateSecret,
    TightenInput,
)
from remediations.clients import aws, registry, s3
from remediations.datasets import open_store
from remediations.refusals import TAG
from tests.remediations.contract import World
from tests.remediations.model_kit import registered

INVESTIGATOR = "arn:aws:iam::*:role/investigator"


class BucketWorld(World):
    """A bucket of this test alone, in an S3 that knows every setting of a bucket, which is moto's."""

    needs = ("moto_s3",)

    def declare(self, book: dict[str, Any]) -> None:
        """Under the name ``feeds``."""
        self.bucket = f"feeds-{secrets.token_hex(6)}"
        book["buckets"] = {"feeds": {"bucket": self.bucket, "exempt": [INVESTIGATOR]}}


class BlockPublicAccessWorld(BucketWorld):
    """A bucket whose owner blocks some of it."""

    action = BlockPublicAccess
    blocked: ClassVar[bool] = True

    def build(self) -> Remediation:
        """Two of four are blocked; or nothing ever was."""
        s3().create_bucket(Bucket=self.bucket)
        s3().delete_public_access_block(Bucket=self.bucket)
        if self.blocked:
            self._put(BlockPublicAcls=True, IgnorePublicAcls=True, BlockPublicPolicy=False, RestrictPublicBuckets=False)
        return BlockPublicAccess(bucket="feeds", because="INC-7")

    def state(self) -> Any:
        """The configuration; None where there is none."""
        try:
            return s3().get_public_access_block(Bucket=self.bucket)["PublicAccessBlockConfiguration"]
        except s3().exceptions.ClientError:
            return None

    def meddle(self) -> None:
        """Somebody opens it."""
        self._put(BlockPublicAcls=False, IgnorePublicAcls=False, BlockPublicPolicy=False, RestrictPublicBuckets=True)

    def _put(self, **blocks: bool) -> None:
        s3().put_public_access_block(Bucket=self.bucket, PublicAccessBlockConfiguration=blocks)  # type: ignore[arg-type]  # the four


class NeverBlockedWorld(BlockPublicAccessWorld):
    """A bucket on which nothing was ever blocked."""

    blocked = False


class DenyBucketAccessWorld(BucketWorld):
    """A bucket with somebody's policy, with spaces where people put them."""

    action = DenyBucketAccess
    with_policy: ClassVar[bool] = True

    def build(self) -> Remediation:
        """The owner's policy; or none."""
        s3().create_bucket(Bucket=self.bucket)
        s3().delete_bucket_policy(Bucket=self.bucket)
        if self.with_policy:
            self._put("theirs")
        return DenyBucketAccess(bucket="feeds", because="INC-7")

    def state(self) -> Any:
        """The policy's text; None where there is none."""
        try:
            return s3().get_bucket_policy(Bucket=self.bucket)["Policy"]
        except s3().exceptions.ClientError:
            return None

    def meddle(self) -> None:
        """Another policy."""
        self._put("another")

    def _put(self, sid: str) -> None:
        statement = {
            "Sid": sid,
            "Effect": "Allow",
            "Principal": "*",
            "Action": "s3:GetObject",
            "Resource": f"arn:aws:s3:::{self.bucket}/*",
        }
        text = json.dumps({"Version": "2012-10-17", "Statement": statement}, indent=3)
        s3().put_bucket_policy(Bucket=self.bucket, Policy=text)


class NoBucketPolicyWorld(DenyBucketAccessWorld):
    """A bucket without a policy."""

    with_policy = False


class DeactivateAccessKeyWorld(World):
    """A user with two active keys, who needs two calls."""

    action = DeactivateAccessKey
    needs = ("aws",)

    def declare(self, book: dict[str, Any]) -> None:
        """The user ``trainer``."""
        book["iam_users"] = {"trainer": {"user": "trainer"}}

    def build(self) -> Remediation:
        """The keys, anew."""
        iam = aws("iam")
        if not any(user["UserName"] == "trainer" for user in iam.list_users()["Users"]):
            iam.create_user(UserName="trainer", Path="/ml/")
        for key in self.state():
            iam.delete_access_key(UserName="trainer", AccessKeyId=key)
        self.keys = [iam.create_access_key(UserName="trainer")["AccessKey"]["AccessKeyId"] for _ in range(2)]
        return DeactivateAccessKey(iam_user="trainer", because="INC-7")

    def state(self) -> Any:
        """Which are active."""
        found = aws("iam").list_access_keys(UserName="trainer")["AccessKeyMetadata"]
        return {one["AccessKeyId"]: one["Status"] for one in found}

    def meddle(self) -> None:
        """Somebody deletes one."""
        aws("iam").delete_access_key(UserName="trainer", AccessKeyId=self.keys[0])


class RotateSecretWorld(World):
    """A secret with two fields, of which one is renewed."""

    action = RotateSecret
    needs = ("aws",)

    def declare(self, book: dict[str, Any]) -> None:
        """The secret ``signing``."""
        book["secrets"] = {"signing": {"id": "signing", "field": "key"}}

    def build(self) -> Remediation:
        """The secret, anew."""
        client = aws("secretsmanager")
        if any(found["Name"] == "signing" for found in client.list_secrets()["SecretList"]):
            client.delete_secret(SecretId="signing", ForceDeleteWithoutRecovery=True)
        client.create_secret(Name="signing", SecretString=json.dumps({"key": "the old value", "user": "fraud"}))
        return RotateSecret(secret="signing", because="INC-7")

    def state(self) -> Any:
        """What readers get, and of which version."""
        found = aws("secretsmanager").get_secret_value(SecretId="signing", VersionStage="AWSCURRENT")
        return found["SecretString"], found["VersionId"]

    def meddle(self) -> None:
        """Somebody sets another."""
        client, (_, current) = aws("secretsmanager"), self.state()
        theirs = client.put_secret_value(
            SecretId="signing", SecretString='{"key": "theirs"}', VersionStages=["THEIRS"]
        )  # and then the stage: moto leaves it on both where a value is put with it
        client.update_secret_version_stage(
            SecretId="signing",
            VersionStage="AWSCURRENT",
            MoveToVersionId=theirs["VersionId"],
            RemoveFromVersionId=current,
        )


class TightenInputWorld(World):
    """The document that a service reads its limits from."""

    action = TightenInput
    needs = ("s3_server",)

    def declare(self, book: dict[str, Any]) -> None:
        """A model with its document in a place of this test alone."""
        self.place: dict[str, Any] = {"Bucket": servers.BUCKET, "Key": f"contract-{secrets.token_hex(6)}/limits.json"}
        config = f"s3://{self.place['Bucket']}/{self.place['Key']}"
        tightened = {"rate_per_second": 5, "filter": "strict"}
        book["models"] = {"contract": {"input": {"config": config, "tightened": tightened}}}

    def build(self) -> Remediation:
        """As people wrote it."""
        self._put('{"rate_per_second": 100,\n    "filter": "off", "team": "fraud"}')
        return TightenInput(model="contract", because="INC-7")

    def state(self) -> Any:
        """The bytes."""
        return s3().get_object(**self.place)["Body"].read()

    def meddle(self) -> None:
        """Somebody writes another."""
        self._put('{"rate_per_second": 50}')

    def _put(self, text: str) -> None:
        s3().put_object(**self.place, Body=text.encode())


class QuarantineDatasetWorld(World):
    """A dataset of one version."""

    action = QuarantineDataset
    needs = ("s3_server",)

    def declare(self, book: dict[str, Any]) -> None:
        """A dataset in a place of this test alone."""
        self.prefix = f"contract-{secrets.token_hex(6)}"
        self.uri = f"s3://{servers.BUCKET}/{self.prefix}"
        book["datasets"] = {"contract": {"store": self.uri}}

    def build(self) -> Remediation:
        """Published, without a mark."""
        store = open_store(self.uri, "contract")
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / "rows").write_text("a,b\n1,2\n")
            self.version = store.publish([Path(folder) / "rows"]).version
        s3().delete_object(Bucket=servers.BUCKET, Key=self._mark)
        return QuarantineDataset(dataset="contract", version=self.version, because="INC-7")

    def state(self) -> Any:
        """Every object under the prefix, byte for byte."""
        listed = s3().list_objects_v2(Bucket=servers.BUCKET, Prefix=self.prefix)["Contents"]
        keys = [item["Key"] for item in listed]
        return {key: s3().get_object(Bucket=servers.BUCKET, Key=key)["Body"].read() for key in keys}

    def meddle(self) -> None:
        """Somebody writes another reason."""
        s3().put_object(Bucket=servers.BUCKET, Key=self._mark, Body=b"because I say so")

    @property
    def _mark(self) -> str:
        return f"{self.prefix}/quarantine/{self.version}"


class VersionsWorld(World):
    """A registered model of three versions that are one file each, of which the second is in production."""

    needs = ("mlflow_server", "tmp_path")

    def declare(self, book: dict[str, Any]) -> None:
        """Its first version is what answers when it is isolated."""
        book["models"] = {"contract": {"fallback": 1}}

    def registered(self) -> None:
        """Registered anew."""
        registered(self.fixtures["tmp_path"] / "files", "one", "two", "three", model="contract")
        registry().set_registered_model_alias("contract", "champion", "2")

    def state(self) -> Any:
        """The alias, and every version's tags."""
        aliases = dict(registry().get_registered_model("contract").aliases)
        tags = [dict(registry().get_model_version("contract", version).tags) for version in ("1", "2", "3")]
        return aliases, tags


class QuarantineModelWorld(VersionsWorld):
    """A version that is shut away."""

    action = QuarantineModel

    def build(self) -> Remediation:
        """The one in production."""
        self.registered()
        return QuarantineModel(model="contract", version=2, because="INC-7")

    def meddle(self) -> None:
        """Somebody writes another reason."""
        registry().set_model_version_tag("contract", "2", TAG, "because I say so")


class IsolateServiceWorld(VersionsWorld):
    """Traffic to a safe version."""

    action = IsolateService

    def build(self) -> Remediation:
        """To the first."""
        self.registered()
        return IsolateService(model="contract", because="INC-7")

    def meddle(self) -> None:
        """Somebody lets the third answer."""
        registry().set_registered_model_alias("contract", "champion", "3")


SECURITY: tuple[type[World], ...] = (
    BlockPublicAccessWorld,
    NeverBlockedWorld,
    DenyBucketAccessWorld,
    NoBucketPolicyWorld,
    DeactivateAccessKeyWorld,
    RotateSecretWorld,
    TightenInputWorld,
    QuarantineDatasetWorld,
    QuarantineModelWorld,
    IsolateServiceWorld,
)
