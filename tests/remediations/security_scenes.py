"""A scene for each action of containment: the real setting that it changes, and what somebody else may do to it."""

from __future__ import annotations

import json
import secrets
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import urllib3.connectionpool

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
    clients,
)
from remediations.datasets import open_store
from remediations.refusals import TAG

#: A model of these tests alone: `fraud` is the shared system's, on the same server.
MODEL = "scored"

#: What the playbook of these tests declares.
DECLARED = """
buckets:
  feeds: {bucket: BUCKET, exempt: ["arn:aws:iam::*:role/investigator"]}
iam_users:
  trainer: {user: trainer}
secrets:
  signing: {id: signing, field: key}
datasets:
  transactions: {store: "s3://BUCKET/KEY"}
  labelled_transactions: {store: "s3://BUCKET/none"}
models:
  scored:
    fallback: 1
    input: {config: "s3://BUCKET/KEY", tightened: {rate_per_second: 5, filter: strict}}
"""


class Scene(ABC):
    """One setting of production."""

    #: Whether it needs an S3 that knows every setting of a bucket, which is moto's.
    whole_s3 = False
    #: A folder of this test alone, which is not there yet.
    folder: Path

    def __init__(self) -> None:
        self.key = f"test-{secrets.token_hex(6)}/limits.json"
        self.bucket = servers.BUCKET

    @abstractmethod
    def set_up(self) -> None:
        """Make the setting."""

    @abstractmethod
    def action(self) -> Remediation:
        """What is done about it."""

    @abstractmethod
    def state(self) -> Any:
        """The setting as it is, byte for byte."""

    @abstractmethod
    def meddle(self) -> None:
        """What somebody else does to it."""


class PublicAccess(Scene):
    """A bucket whose owner blocks some of it."""

    whole_s3 = True

    def set_up(self) -> None:
        """Two of four."""
        clients.s3().create_bucket(Bucket=self.bucket)
        self._put(BlockPublicAcls=True, IgnorePublicAcls=True, BlockPublicPolicy=False, RestrictPublicBuckets=False)

    def action(self) -> Remediation:
        """Block all."""
        return BlockPublicAccess(bucket="feeds", because="INC-7")

    def state(self) -> Any:
        """The configuration."""
        return clients.s3().get_public_access_block(Bucket=self.bucket)["PublicAccessBlockConfiguration"]

    def meddle(self) -> None:
        """Somebody opens it."""
        self._put(BlockPublicAcls=False, IgnorePublicAcls=False, BlockPublicPolicy=False, RestrictPublicBuckets=True)

    def _put(self, **blocks: bool) -> None:
        clients.s3().put_public_access_block(Bucket=self.bucket, PublicAccessBlockConfiguration=blocks)  # type: ignore[arg-type]  # the four


class NeverBlocked(PublicAccess):
    """A bucket on which nothing was ever blocked."""

    def set_up(self) -> None:
        """Nothing."""
        clients.s3().create_bucket(Bucket=self.bucket)

    def state(self) -> Any:
        """The configuration; None where there is none."""
        try:
            return super().state()
        except clients.s3().exceptions.ClientError:
            return None


class Policy(Scene):
    """A bucket with somebody's policy, with spaces where people put them."""

    whole_s3 = True

    def set_up(self) -> None:
        """A policy of the owner."""
        clients.s3().create_bucket(Bucket=self.bucket)
        self._put("theirs")

    def action(self) -> Remediation:
        """Deny it."""
        return DenyBucketAccess(bucket="feeds", because="INC-7")

    def state(self) -> Any:
        """The policy's text; None where there is none."""
        try:
            return clients.s3().get_bucket_policy(Bucket=self.bucket)["Policy"]
        except clients.s3().exceptions.ClientError:
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
        clients.s3().put_bucket_policy(Bucket=self.bucket, Policy=text)


class NoPolicy(Policy):
    """A bucket without a policy."""

    def set_up(self) -> None:
        """Nothing."""
        clients.s3().create_bucket(Bucket=self.bucket)


class AccessKeys(Scene):
    """A user with two active keys, who needs two calls."""

    def set_up(self) -> None:
        """The keys."""
        iam = clients.aws("iam")
        iam.create_user(UserName="trainer")
        self.keys = [iam.create_access_key(UserName="trainer")["AccessKey"]["AccessKeyId"] for _ in range(2)]

    def action(self) -> Remediation:
        """Both."""
        return DeactivateAccessKey(iam_user="trainer", because="INC-7")

    def state(self) -> Any:
        """Which are active."""
        found = clients.aws("iam").list_access_keys(UserName="trainer")["AccessKeyMetadata"]
        return {one["AccessKeyId"]: one["Status"] for one in found}

    def meddle(self) -> None:
        """Somebody deletes one."""
        clients.aws("iam").delete_access_key(UserName="trainer", AccessKeyId=self.keys[0])


class Secret(Scene):
    """A secret with two fields, of which one is renewed."""

    def set_up(self) -> None:
        """The secret."""
        value = json.dumps({"key": "the old value", "user": "fraud"})
        clients.aws("secretsmanager").create_secret(Name="signing", SecretString=value)

    def action(self) -> Remediation:
        """Renew it."""
        return RotateSecret(secret="signing", because="INC-7")

    def state(self) -> Any:
        """What readers get, and of which version."""
        found = clients.aws("secretsmanager").get_secret_value(SecretId="signing", VersionStage="AWSCURRENT")
        return found["SecretString"], found["VersionId"]

    def meddle(self) -> None:
        """Somebody sets another."""
        client, (_, current) = clients.aws("secretsmanager"), self.state()
        theirs = client.put_secret_value(
            SecretId="signing", SecretString='{"key": "theirs"}', VersionStages=["THEIRS"]
        )  # and then the stage: moto leaves it on both where a value is put with it
        client.update_secret_version_stage(
            SecretId="signing",
            VersionStage="AWSCURRENT",
            MoveToVersionId=theirs["VersionId"],
            RemoveFromVersionId=current,
        )


class InputConfig(Scene):
    """The document that a service reads its limits from."""

    def set_up(self) -> None:
        """As people wrote it."""
        self._put('{"rate_per_second": 100,\n    "filter": "off", "team": "fraud"}')

    def action(self) -> Remediation:
        """Tighten it."""
        return TightenInput(model=MODEL, because="INC-7")

    def state(self) -> Any:
        """The bytes."""
        return clients.s3().get_object(Bucket=self.bucket, Key=self.key)["Body"].read()

    def meddle(self) -> None:
        """Somebody writes another."""
        self._put('{"rate_per_second": 50}')

    def _put(self, text: str) -> None:
        clients.s3().put_object(Bucket=self.bucket, Key=self.key, Body=text.encode())


class Poisoned(Scene):
    """A dataset of one version."""

    def set_up(self) -> None:
        """Publish it."""
        self.store = open_store(f"s3://{self.bucket}/{self.key}", "transactions")
        self.folder.mkdir()
        (self.folder / "rows.csv").write_text("a,b\n1,2\n")
        self.version = self.store.publish([self.folder / "rows.csv"]).version
        self.store.move(self.store.pointer_to(self.version, by="test"), expect=None)

    def action(self) -> Remediation:
        """Shut it away."""
        return QuarantineDataset(dataset="transactions", version=self.version, because="INC-7")

    def state(self) -> Any:
        """Every object of the store."""
        client, found = clients.s3(), {}
        for one in client.list_objects_v2(Bucket=self.bucket, Prefix=f"{self.key}/")["Contents"]:
            found[one["Key"]] = client.get_object(Bucket=self.bucket, Key=one["Key"])["Body"].read()
        return found

    def meddle(self) -> None:
        """Somebody writes another reason."""
        key = f"{self.key}/quarantine/{self.version}"
        clients.s3().put_object(Bucket=self.bucket, Key=key, Body=b"because I say so")


class Versions(Scene):
    """A registered model of two versions, of which the second is in production."""

    def set_up(self) -> None:
        """Register them anew."""
        registered(self.folder, "one", "two")

    def state(self) -> Any:
        """The alias, and every version's tags."""
        client = clients.registry()
        aliases = dict(client.get_registered_model(MODEL).aliases)
        return aliases, [dict(client.get_model_version(MODEL, version).tags) for version in ("1", "2")]


class Quarantined(Versions):
    """A version that is shut away."""

    def action(self) -> Remediation:
        """Shut it away."""
        return QuarantineModel(model=MODEL, version=2, because="INC-7")

    def meddle(self) -> None:
        """Somebody writes another reason."""
        clients.registry().set_model_version_tag(MODEL, "2", TAG, "because I say so")


class Isolated(Versions):
    """Traffic to a safe version."""

    def action(self) -> Remediation:
        """Isolate it."""
        return IsolateService(model=MODEL, because="INC-7")

    def meddle(self) -> None:
        """Somebody registers a third, and lets it answer."""
        number = register(self.folder, "three")
        clients.registry().set_registered_model_alias(MODEL, "champion", number)


#: The actions that have a scene here; ``preserve_evidence`` changes nothing that is there, and has tests of its own.
CONTAINMENT = (
    "block_public_access",
    "deactivate_access_key",
    "deny_bucket_access",
    "isolate_service",
    "quarantine_dataset",
    "quarantine_model",
    "rotate_secret",
    "tighten_input",
)

SCENES: tuple[type[Scene], ...] = (
    PublicAccess,
    NeverBlocked,
    Policy,
    NoPolicy,
    AccessKeys,
    Secret,
    InputConfig,
    Poisoned,
    Quarantined,
    Isolated,
)


def registered(folder: Path, *contents: str | bytes, name: str = "weights.txt") -> None:
    """Register the model anew, with a version for each content; the last is in production."""
    client = clients.registry()
    if any(found.name == MODEL for found in client.search_registered_models()):
        client.delete_registered_model(MODEL)
    client.create_registered_model(MODEL)
    numbers = [register(folder, content, name) for content in contents]
    client.set_registered_model_alias(MODEL, "champion", numbers[-1])


def register(folder: Path, content: str | bytes, name: str = "weights.txt", model: str = MODEL) -> str:
    """Register a version that is one file; returns its number."""
    client = clients.registry()
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / name
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    run = client.create_run("0").info.run_id
    client.log_artifact(run, str(file), "model")
    made = client.create_model_version(model, f"runs:/{run}/model", run_id=run, await_creation_for=0)
    return str(made.version)


class Killed(BaseException):
    """The process is no more."""


@contextmanager
def killed(after: int) -> Iterator[Callable[[], int]]:
    """So many requests are sent, to whatever server, and their answers heard; then the process is dead."""
    real = urllib3.connectionpool.HTTPConnectionPool.urlopen
    sent = 0

    def urlopen(pool: Any, *given: Any, **named: Any) -> Any:
        nonlocal sent
        if sent >= after:
            raise Killed
        sent += 1
        return real(pool, *given, **named)

    urllib3.connectionpool.HTTPConnectionPool.urlopen = urlopen  # type: ignore[method-assign, assignment]
    try:
        yield lambda: sent
    finally:
        urllib3.connectionpool.HTTPConnectionPool.urlopen = real  # type: ignore[method-assign]


@contextmanager
def away() -> Iterator[None]:
    """No server answers."""
    real = urllib3.connectionpool.HTTPConnectionPool.urlopen

    def urlopen(*given: Any, **named: Any) -> Any:
        raise OSError("no route to host")

    urllib3.connectionpool.HTTPConnectionPool.urlopen = urlopen  # type: ignore[method-assign]
    try:
        yield
    finally:
        urllib3.connectionpool.HTTPConnectionPool.urlopen = real  # type: ignore[method-assign]
