"""The denial on a real S3 that enforces policies: what it keeps out, what it does not, and the way back."""

from __future__ import annotations

import secrets
from collections.abc import Callable

import pytest
from botocore.exceptions import ClientError

from demo.servers import Server
from remediations import DenyBucketAccess, clients
from remediations.base import CannotPlan

Declare = Callable[[str], None]


@pytest.fixture
def bucket(s3_server: Server, declare: Declare) -> str:
    """A bucket that keeps versions, with one object, declared as ``feeds``."""
    name, client = f"feeds-{secrets.token_hex(4)}", clients.s3()
    client.create_bucket(Bucket=name)
    client.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
    client.put_object(Bucket=name, Key="rows.csv", Body=b"a,b")
    declare(f'buckets: {{feeds: {{bucket: {name}, exempt: ["arn:aws:iam::*:role/investigator"]}}}}')
    return name


def test_nobody_reads_it_by_any_way_and_afterwards_everybody_does(bucket: str) -> None:
    """Neither the object nor one of its versions; the policy itself stays in reach, so it can be taken back."""
    client = clients.s3()
    version = client.head_object(Bucket=bucket, Key="rows.csv")["VersionId"]
    action = DenyBucketAccess(bucket="feeds", because="INC-7")
    plan = action.plan()
    action.apply(plan)
    for which in ({}, {"VersionId": version}):
        with pytest.raises(ClientError, match="AccessDenied"):
            client.get_object(Bucket=bucket, Key="rows.csv", **which)  # type: ignore[arg-type]  # which of them
    with pytest.raises(ClientError, match="AccessDenied"):
        client.put_object(Bucket=bucket, Key="rows.csv", Body=b"x")
    action.undo(plan)
    assert client.get_object(Bucket=bucket, Key="rows.csv")["Body"].read() == b"a,b"


def test_only_what_is_under_the_prefix(bucket: str) -> None:
    """A denial of one folder leaves the others in reach."""
    client = clients.s3()
    client.put_object(Bucket=bucket, Key="models/3/model.pkl", Body=b"x")
    action = DenyBucketAccess(bucket="feeds", prefix="models/3/", because="INC-7")
    action.apply(action.plan())
    assert client.get_object(Bucket=bucket, Key="rows.csv")["Body"].read() == b"a,b"
    with pytest.raises(ClientError, match="AccessDenied"):
        client.get_object(Bucket=bucket, Key="models/3/model.pkl")


def test_who_exempts_nobody_is_not_locked_out(bucket: str, declare: Declare) -> None:
    """A denial of everybody would keep out those who recover as well."""
    declare(f"buckets: {{feeds: {{bucket: {bucket}}}}}")
    with pytest.raises(CannotPlan, match="exempts nobody"):
        DenyBucketAccess(bucket="feeds").plan()
