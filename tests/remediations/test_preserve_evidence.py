"""Evidence on a real S3 with object lock: it is whole, bounded, and read back. The contract holds the rest."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from botocore.exceptions import ClientError

from demo.servers import Server
from incidents.events import Opened
from incidents.ledger import ledger
from incidents.models import Category, Health, Severity
from remediations import PreserveEvidence, clients
from remediations.base import CannotPlan, verified
from remediations.datasets import open_store
from remediations.evidence import Manifest
from tests.remediations.contract import Line
from tests.remediations.model_kit import registered

Declare = Callable[[str], None]


@pytest.fixture(scope="module")
def locked(s3_server: Server) -> str:
    """A bucket with object lock."""
    name = f"evidence-{secrets.token_hex(4)}"
    clients.s3().create_bucket(Bucket=name, ObjectLockEnabledForBucket=True)
    return name


@pytest.fixture
def place(locked: str, s3_prefix: str, declare: Declare, mlflow_server: Server, tmp_path: Path) -> str:
    """A dataset and a model, two access logs, an incident, and where its evidence goes."""
    _declare(declare, locked, s3_prefix)
    with ledger().write() as writer:
        body = Opened(category=Category.security, severity=Severity.high, asset="model:scored", title="a breach")
        assert writer.open(body, actor="test") == "INC-1"
    registered(tmp_path, "the weights")
    (tmp_path / "rows.csv").write_text("a,b\n1,2\n")
    store = open_store(f"{s3_prefix}/transactions", "transactions")
    store.move(store.pointer_to(store.publish([tmp_path / "rows.csv"]).version, by="test"), expect=None)
    for name in ("a.log", "b.log"):
        _put(f"{s3_prefix}/access/{name}", f"somebody read it, says {name}".encode())
    return locked


def test_it_keeps_the_record_the_state_the_content_and_the_access_logs(place: str) -> None:
    """Every exhibit is in the manifest under the SHA-256 of what was read, and cannot be taken back."""
    action = PreserveEvidence(asset="model:scored", incident="INC-1")
    plan = action.plan()
    assert not plan.nothing_to_do
    assert "Contents" not in clients.s3().list_objects_v2(Bucket=place, Prefix=f"{_root(plan)}/")
    action.apply(plan)
    assert action.verify(plan).health is Health.healthy
    manifest = _manifest(place, plan)
    names = [kept.name.rpartition("/")[2] for kept in manifest.kept]
    assert sorted(names) == ["a.log", "b.log", "events.jsonl", "playbook.yaml", "registry.json", "weights.txt"]
    assert manifest.left_out == ()
    content = {kept.name.rpartition("/")[2]: _object(place, plan, kept.sha256) for kept in manifest.kept}
    assert content["weights.txt"] == b"the weights"
    assert json.loads(content["registry.json"])["aliases"] == {"champion": "1"}
    assert b"a breach" in content["events.jsonl"]
    client = clients.s3()
    for version in client.list_object_versions(Bucket=place, Prefix=f"{_root(plan)}/")["Versions"]:
        with pytest.raises(ClientError):
            client.delete_object(Bucket=place, Key=version["Key"], VersionId=version["VersionId"])


def test_a_dataset_is_kept_with_its_manifest_and_files(place: str) -> None:
    """The pointer, the manifest and the bytes of the version that is current."""
    action = PreserveEvidence(asset="dataset:transactions", incident="INC-1")
    plan = action.plan()
    action.apply(plan)
    kept = {one.name.rpartition("/")[2]: one.sha256 for one in _manifest(place, plan).kept}
    assert {"current.json", "manifest.json", "rows.csv"} <= set(kept)
    assert kept["rows.csv"] == sha256(b"a,b\n1,2\n").hexdigest()


def test_what_does_not_fit_or_cannot_be_read_is_named(place: str, s3_prefix: str, declare: Declare) -> None:
    """Bounded in bytes, the newest access logs first; what was left out stands in the manifest."""
    _declare(declare, place, s3_prefix, at_most=1_000_000)
    _put(f"{s3_prefix}/access/huge.log", b"x" * 1_000_001)
    action = PreserveEvidence(asset="model:scored", incident="INC-1")
    plan = action.plan()
    action.apply(plan)
    [left_out] = _manifest(place, plan).left_out
    assert "huge.log" in left_out
    assert any("huge.log" in why for why in plan.because)


def test_altered_and_missing_evidence_is_unhealthy_and_a_server_away_is_no_verdict(
    place: str, s3_prefix: str, declare: Declare, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Reading back is what verifies: each object's bytes, not its name."""
    _declare(declare, place, s3_prefix, days=0)
    action = PreserveEvidence(asset="model:scored", incident="INC-1")
    plan = action.plan()
    action.apply(plan)
    with Line(monkeypatch).cut():
        assert verified(action, plan).health is Health.inconclusive
    one = _manifest(place, plan).kept[-1]
    key = f"{_root(plan)}/objects/{one.sha256}"
    clients.s3().put_object(Bucket=place, Key=key, Body=b"forged")
    seen = action.verify(plan)
    assert (seen.health, seen.why) == (Health.unhealthy, f"{one.name} was altered")
    clients.s3().delete_object(Bucket=place, Key=key)
    assert action.verify(plan).why == f"{one.name} is missing"


def test_a_bucket_that_cannot_retain_is_refused_beforehand(place: str, s3_prefix: str, declare: Declare) -> None:
    """Evidence that anybody can delete is not what the playbook asks for."""
    _declare(declare, urlsplit(s3_prefix).netloc, s3_prefix)
    with pytest.raises(CannotPlan, match="evidence can't be kept"):
        PreserveEvidence(asset="model:scored", incident="INC-1").plan()


def _declare(declare: Declare, bucket: str, prefix: str, days: int = 2, at_most: int = 10_000_000) -> None:
    declare(
        f"""
evidence:
  store: "s3://{bucket}/{prefix.rpartition("/")[2]}"
  retain_days: {days}
  at_most_bytes: {at_most}
  access_records: ["{prefix}/access/"]
models: {{scored: {{}}}}
datasets:
  transactions: {{store: "{prefix}/transactions"}}
  labelled_transactions: {{store: "{prefix}/labelled_transactions"}}
"""
    )


def _root(plan: Any) -> str:
    return str(urlsplit(str(plan.after["manifest"])).path.strip("/").rpartition("/")[0])


def _manifest(bucket: str, plan: Any) -> Manifest:
    body = clients.s3().get_object(Bucket=bucket, Key=f"{_root(plan)}/manifest.json")["Body"].read()
    return Manifest.model_validate_json(body)


def _object(bucket: str, plan: Any, digest: str) -> bytes:
    return clients.s3().get_object(Bucket=bucket, Key=f"{_root(plan)}/objects/{digest}")["Body"].read()


def _put(address: str, body: bytes) -> None:
    parts = urlsplit(address)
    clients.s3().put_object(Bucket=parts.netloc, Key=parts.path.lstrip("/"), Body=body)
