"""What is special about a leaked key and a leaked secret, on moto's IAM and Secrets Manager."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from remediations import DeactivateAccessKey, RotateSecret
from remediations.base import CannotPlan

Declare = Callable[[str], None]
Aws = Callable[[str], Any]


@pytest.fixture
def declared(aws: Aws, declare: Declare) -> Aws:
    """A user and a secret."""
    declare("iam_users: {trainer: {user: trainer}}\nsecrets: {signing: {id: signing, field: key, length: 32}}")
    aws("iam").create_user(UserName="trainer")
    aws("secretsmanager").create_secret(Name="signing", SecretString='{"key": "leaked value", "user": "fraud"}')
    return aws


def test_one_key_of_two(declared: Aws) -> None:
    """The key that leaked is known by how it ends; the other goes on working, and no whole id is in the plan."""
    leaked, other = (declared("iam").create_access_key(UserName="trainer")["AccessKey"] for _ in range(2))
    action = DeactivateAccessKey(iam_user="trainer", ends_with=leaked["AccessKeyId"][-4:], because="INC-7")
    plan = action.plan()
    action.apply(plan)
    keys = declared("iam").list_access_keys(UserName="trainer")["AccessKeyMetadata"]
    found = {one["AccessKeyId"]: one["Status"] for one in keys}
    assert found == {leaked["AccessKeyId"]: "Inactive", other["AccessKeyId"]: "Active"}
    assert leaked["AccessKeyId"] not in plan.model_dump_json()


def test_a_key_that_is_not_there(declared: Aws) -> None:
    """What can't be found can't be deactivated, and that is said."""
    with pytest.raises(CannotPlan, match="no access key"):
        DeactivateAccessKey(iam_user="trainer", ends_with="ABCD").plan()


def test_only_the_field_is_renewed_and_no_value_is_told(declared: Aws) -> None:
    """The rest of the secret stays; neither the old value nor the new one is in the plan or in the verdict."""
    action = RotateSecret(secret="signing", because="INC-7")
    plan = action.plan()
    action.apply(plan)
    found = declared("secretsmanager").get_secret_value(SecretId="signing", VersionStage="AWSCURRENT")
    value = json.loads(found["SecretString"])
    assert (value["user"], len(value["key"])) == ("fraud", 32)
    told = plan.model_dump_json() + action.verify(plan).model_dump_json()
    assert "leaked value" not in told
    assert value["key"] not in told


def test_a_secret_with_a_rotation_of_its_own_is_left_to_it(declared: Aws) -> None:
    """A database has to learn of a new password too, and its own rotation knows how."""
    client = declared("secretsmanager")
    client.rotate_secret(SecretId="signing", RotationRules={"AutomaticallyAfterDays": 7})
    with pytest.raises(CannotPlan, match="rotation of its own"):
        RotateSecret(secret="signing").plan()
