"""The generated IAM policy suffices for what the actions do, and nothing in it is unused: moto enforces it.

moto checks the resource for S3 only; elsewhere it asks for ``*``. So there the actions are proven by moto with ``*`` in
place of the resource, and the resources by comparing them with the ARNs of the real things.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import httpx
import pytest
from botocore.exceptions import ClientError
from ruamel.yaml import YAML

from flows.triage import seen
from incidents import ledger as ledgers
from incidents import playbook as playbooks
from incidents import settings as all_settings
from incidents.ledger import Ledger
from incidents.models import Mode
from incidents.playbook import ActionRule, Playbook, load, playbook
from remediations import Remediation
from remediations.clients import aws as client
from remediations.permissions import Statement
from remediations.policy import document, looking, policy, reachable
from tests.remediations import aws_kit
from tests.remediations import worlds_infrastructure as worlds
from tests.remediations.contract import World
from tests.remediations.worlds import RollbackDatasetWorld
from tests.remediations.worlds_stores import DeltaWorld

ROOT = Path(__file__).parents[2]

#: The worlds whose AWS is moto's. Its SageMaker lacks UpdateEndpoint: test_sagemaker compares that with its calls.
IN_AWS = (
    worlds.FailOverSourceWorld,
    worlds.GrowVolumeWorld,
    worlds.RestartServiceWorld,
    worlds.RollbackServiceWorld,
    worlds.ScaleAsgWorld,
    worlds.ScaleEcsWorld,
    worlds.ScaleSageMakerWorld,
    RollbackDatasetWorld,
    DeltaWorld,
)


#: Without it AWS answers 403 and not 404 where a key is missing; moto answers 404 all the same.
NOT_IN_MOTO = ("s3:ListBucket on arn:aws:s3:::lastgood",)


class Account:
    """moto's AWS with one user, who may do what a policy says once the gate is shut."""

    def __init__(self, patch: pytest.MonkeyPatch, forget: Callable[[], None]) -> None:
        self.patch, self.forget = patch, forget
        self.url = os.environ["AWS_ENDPOINT_URL"]
        self.key: dict[str, str] = {}

    def open(self) -> None:
        """Anybody may do anything, as moto's default is."""
        httpx.post(f"{self.url}/moto-api/reset-auth", content=b"inf").raise_for_status()

    def shut(self, allowed: dict[str, Any]) -> None:
        """From here on only the user with this policy is let in, and we are that user."""
        self.open()
        iam = client("iam")
        if not any(user["UserName"] == "lastgood" for user in iam.list_users()["Users"]):
            iam.create_user(UserName="lastgood")
            self.key = iam.create_access_key(UserName="lastgood")["AccessKey"]
        iam.put_user_policy(UserName="lastgood", PolicyName="lastgood", PolicyDocument=json.dumps(allowed))
        self.patch.setenv("AWS_ACCESS_KEY_ID", self.key["AccessKeyId"])
        self.patch.setenv("AWS_SECRET_ACCESS_KEY", self.key["SecretAccessKey"])
        self.forget()
        httpx.post(f"{self.url}/moto-api/reset-auth", content=b"0").raise_for_status()


@pytest.fixture
def ledger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Ledger]:
    """An empty record, and a playbook that ``declare`` writes."""
    monkeypatch.setenv("LASTGOOD_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("LASTGOOD_PLAYBOOK", str(tmp_path / "playbook.yaml"))
    cached = (ledgers.ledger, playbooks.playbook, all_settings.settings)
    for one in cached:
        one.cache_clear()
    yield ledgers.ledger()
    ledgers.ledger().engine.dispose()
    for one in cached:
        one.cache_clear()


@pytest.fixture
def account(
    aws: object, ledger: Ledger, monkeypatch: pytest.MonkeyPatch, forget_clients: Callable[[], None]
) -> Iterator[Account]:
    """An empty AWS, S3 included, whose gate is open."""
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", os.environ["AWS_ENDPOINT_URL"])
    forget_clients()
    client("s3").create_bucket(Bucket="lastgood")
    found = Account(monkeypatch, forget_clients)
    yield found
    found.open()
    monkeypatch.undo()
    forget_clients()


def declare(world: World) -> Playbook:
    """The shipped playbook, with the world's asset and no other."""
    yaml = YAML(typ="safe")
    book = {**yaml.load((ROOT / "playbook.yaml").read_text()), "datasets": {}, "models": {}}
    world.declare(book)
    yaml.dump(book, all_settings.settings().playbook)
    playbooks.playbook.cache_clear()
    return playbook()


def as_moto_sees_it(allowed: dict[str, Any]) -> dict[str, Any]:
    """The policy with ``*`` where moto asks for that, and with the name by which moto asks for CloudWatch.

    IAM says ``cloudwatch:``. moto takes the name that requests are signed with, which for CloudWatch is another one.
    """
    made = [
        one if one["Resource"].startswith("arn:aws:s3:::") else {**one, "Resource": "*"} for one in allowed["Statement"]
    ]
    named = [
        {**one, "Action": [action.replace("cloudwatch:", "monitoring:") for action in one["Action"]]} for one in made
    ]
    return {**allowed, "Statement": named}


def without(allowed: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """For each action of each statement the policy without it."""
    made = []
    for place, statement in enumerate(allowed["Statement"]):
        for action in statement["Action"]:
            left = {**statement, "Action": [one for one in statement["Action"] if one != action]}
            rest = [
                *allowed["Statement"][:place],
                *([left] if left["Action"] else []),
                *allowed["Statement"][place + 1 :],
            ]
            made.append((f"{action} on {statement['Resource']}", {**allowed, "Statement": rest}))
    return made


def whole_life(action: Remediation) -> None:
    """Everything that is ever done with an action."""
    plan = action.plan()
    action.apply(plan)
    action.verify(plan)
    if action.reversible:
        action.undo(plan)


@pytest.mark.parametrize("kind", IN_AWS, ids=lambda world: world.__name__)
def test_the_policy_suffices_and_nothing_in_it_is_unused(
    kind: type[World], account: Account, ledger: Ledger, subtests: pytest.Subtests
) -> None:
    """With it the action does all that it does; with one permission less it is refused."""
    world = kind(ledger, {})
    book = declare(world)
    allowed = as_moto_sees_it(document(kind.action.statements(book)))
    action = world.build()
    account.shut(allowed)
    whole_life(action)
    for name, less in without(allowed):
        if name in NOT_IN_MOTO:
            continue
        with subtests.test(name):
            account.open()
            account.forget()
            action = world.build()
            account.shut(less)
            with pytest.raises((ClientError, OSError), match=r"AccessDenied|UnauthorizedOperation|not authorized"):
                whole_life(action)


def test_looking_first_needs_what_the_policy_has(account: Account, ledger: Ledger) -> None:
    """With it triage sees the service and its metric; without it, it says what it may not see, and goes on.

    moto has no quota of Fargate, so that the right to read it suffices is not proven here.
    """
    book = declare(worlds.ScaleEcsWorld(ledger, {}))
    aws_kit.ecs_service()
    account.shut(as_moto_sees_it(document(looking(book))))
    first = seen("scoring")
    assert {"copies", "version", "recent", "metric"} == set(first.evidence), first.missing
    account.shut(document([Statement(actions=("ecs:DescribeServices",))]))
    found = seen("scoring")
    assert {"copies", "version", "recent"} == set(found.evidence)
    assert "AccessDenied" in found.missing["metric"]
    account.shut(document([Statement(actions=("ec2:DescribeVolumes",))]))
    assert seen("scoring").evidence == {}


def test_the_resources_are_the_declared_things_and_no_others(account: Account, ledger: Ledger) -> None:
    """The ARN that AWS gives the service, the group, the endpoint or the volume matches; that of another does not."""
    aws_kit.ecs_service()
    aws_kit.scaling_group()
    aws_kit.endpoint()
    group = client("autoscaling").describe_auto_scaling_groups()["AutoScalingGroups"][0]["AutoScalingGroupARN"]
    arns: dict[Any, str] = {
        worlds.ScaleEcsWorld: client("ecs").list_services(cluster="serving")["serviceArns"][0],
        worlds.ScaleAsgWorld: group,
        worlds.ScaleSageMakerWorld: client("sagemaker").describe_endpoint(EndpointName="fraud")["EndpointArn"],
    }
    for kind, arn in arns.items():
        world: World = kind(ledger, {})
        needed = kind.action.statements(declare(world))
        changing = [one.resource for one in needed if one.resource != "*"]
        assert changing
        assert all(fnmatchcase(arn, resource) for resource in changing), (arn, changing)
        assert not any(fnmatchcase(f"{arn}-other", resource) for resource in changing)
        assert not any(fnmatchcase(other, resource) for resource in changing for other in arns.values() if other != arn)


def test_what_may_never_run_needs_nothing() -> None:
    """An action whose rule is never is not reachable, so the policy does not have what it needs."""
    book = load(ROOT / "playbook.yaml", {"LASTGOOD_STORE": "s3://lake"})
    assert any("s3:PutObject" in one["Action"] for one in policy(book)["Statement"])
    never = {**book.actions, "rollback_dataset": ActionRule(mode=Mode.never)}
    less = book.model_copy(update={"actions": never})
    assert "rollback_dataset" not in [action.name() for action in reachable(less)]
    assert policy(less)["Statement"] == []
