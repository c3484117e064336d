"""The generated IAM policy suffices for what the actions do, and nothing in it is unused: moto enforces it.

moto checks the resource for S3 only; elsewhere it asks for ``*``. So there the actions are proven by moto with ``*`` in
place of the resource, and the resources by comparing them with the ARNs of the real things.
"""

from __future__ import annotations

import json
import os
import re
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
from remediations import (
    ALL,
    FreeDisk,
    IsolateService,
    PromoteModel,
    QuarantineModel,
    Remediation,
    RevertModel,
)
from remediations.base import RemediationError
from remediations.clients import aws as client
from remediations.permissions import Statement
from remediations.policy import document, looking, policy, reachable
from tests.remediations import aws_kit, worlds_security
from tests.remediations import worlds_infrastructure as worlds
from tests.remediations.contract import World
from tests.remediations.worlds import WORLDS
from tests.remediations.worlds_data import OTHER_EVIDENCE, RollbackPlainKeysWorld
from tests.remediations.worlds_deployments import MadeBesideWorld, RerunPreprocessingWorld
from tests.remediations.worlds_infrastructure import ScaleKubernetesWorld
from tests.remediations.worlds_stores import DvcWorld, IcebergWorld, LakeFSWorld

ROOT = Path(__file__).parents[2]

EVERY: tuple[type[World], ...] = (*WORLDS, *OTHER_EVIDENCE, MadeBesideWorld)

#: The worlds whose AWS is moto's; that of a SageMaker endpoint has the operation that moto lacks in front of it.
IN_AWS = tuple(
    world
    for world in EVERY
    if world.action not in {FreeDisk, IsolateService, PromoteModel, QuarantineModel, RevertModel}
    if world
    not in {ScaleKubernetesWorld, worlds_security.DenyBucketAccessWorld}  # where there is a policy none is taken away
    # they reach S3 through a catalog's and DVC's own settings, and lakeFS is none of AWS
    if world not in {IcebergWorld, DvcWorld, LakeFSWorld}
    if world is not RerunPreprocessingWorld  # half of it is the team's own worker, with rights of its own
)

#: What the policies have that moto does not prove, and why. docs/actions.md names each.
UNPROVEN = {
    "iam:PassRole": "moto hands over any role",
    "s3:GetBucketObjectLockConfiguration": "moto takes it for s3:ListBucket, which the policy has as well",
    "s3:GetObjectVersion": "moto copies an old version for those who may not read it",
    "s3:ListBucket": "moto says 404 of what is not there; AWS says 403 to those who may not list",
    "s3:PutObjectRetention": "moto asks for s3:PutObject alone",
    "sagemaker:AddTags": "moto asks for sagemaker:CreateTrainingJob alone",
    "sagemaker:StopTrainingJob": "in moto a job is over at once, so there is none to stop",
    "servicequotas:GetServiceQuota": "moto has no quota of Fargate",
}

#: What moto asks for in place of some actions: where IAM has another name, or where it takes one call for another.
AS_MOTO_SAYS = {
    "cloudwatch:GetMetricStatistics": ("monitoring:GetMetricStatistics",),
    "s3:GetBucketObjectLockConfiguration": ("s3:ListBucket",),
    "s3:GetBucketPublicAccessBlock": ("s3:GetPublicAccessBlock", "s3:ListBucket"),
    "s3:ListBucket": ("s3:HeadBucket", "s3:ListBucket"),
    "s3:PutBucketPublicAccessBlock": ("s3:PutPublicAccessBlock", "s3:CreateBucket", "s3:DeleteBucket"),
}


#: A playbook that declares one of everything.
EVERYTHING = """
datasets:
  rows:
    store: s3://lake/rows
    suite: transactions
    quarantine: {at_most: 0.2}
    impute: {at_most: 0.2, columns: {amount: {constant: 0}}}
    preprocessing: {deployment: clean/rows}
  keys: {store: "s3+versions://lake/keys"}
models:
  fraud:
    learns_from: [rows]
    input: {config: "s3://configs/fraud.json", tightened: {rate_per_second: 5}}
    training:
      sagemaker: {RoleArn: "arn:aws:iam::1:role/train", Tags: [{Key: team, Value: fraud}]}
services:
  ecs:
    runs_on: {kind: ecs, cluster: serving, service: scoring}
    bounds: &bounds {min: 1, max: 2, step: 1, cost_per_hour: 1}
  asg: {runs_on: {kind: asg, group: workers}, bounds: *bounds}
  sagemaker: {runs_on: {kind: sagemaker, endpoint: fraud, variant: blue}, bounds: *bounds}
pipelines: {cards: {source: "s3://etl/cards/source", primary: here, standby: there}}
disks: {scratch: {volume: {id: vol-0123456789abcdef0, step_gib: 1, max_gib: 2}}}
buckets: {feeds: {bucket: company-feeds}}
iam_users: {trainer: {user: trainer}}
secrets: {signing: {id: signing, field: key}}
evidence: {store: "s3://evidence/kept", retain_days: 1, access_records: ["s3://logs/trail/"]}
"""


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
def account(moto_s3: None, ledger: Ledger, forget_clients: Callable[[], None]) -> Iterator[Account]:
    """An empty AWS, S3 included, whose gate is open."""
    client("s3").create_bucket(Bucket="versioned")
    client("s3").put_bucket_versioning(Bucket="versioned", VersioningConfiguration={"Status": "Enabled"})
    with pytest.MonkeyPatch.context() as patch:
        found = Account(patch, forget_clients)
        yield found
        found.open()
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
    """The policy with ``*`` where moto asks for that, and with the names by which moto asks."""
    made = []
    for one in allowed["Statement"]:
        actions = [name for action in one["Action"] for name in AS_MOTO_SAYS.get(action, (action,))]
        resource = one["Resource"] if one["Resource"].startswith("arn:aws:s3:::") else "*"
        made.append({"Effect": "Allow", "Action": actions, "Resource": resource})
        if "s3:DeleteObject" in actions:  # of many keys at once moto asks as if they were the bucket
            made.append({"Effect": "Allow", "Action": ["s3:DeleteObject"], "Resource": resource.partition("/")[0]})
    return {**allowed, "Statement": made}


def without(allowed: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """For each action of each statement the policy without it; without it anywhere where moto sees ``*``."""
    for place, statement in enumerate(allowed["Statement"]):
        for action in statement["Action"]:
            left = [
                {**one, "Action": [name for name in one["Action"] if name != action]}
                if number == place or not action.startswith("s3:")
                else one
                for number, one in enumerate(allowed["Statement"])
            ]
            yield (
                f"{action} on {statement['Resource']}",
                {**allowed, "Statement": [one for one in left if one["Action"]]},
            )


def whole_life(world: World, action: Remediation) -> bool:
    """Everything that is ever done with an action; whether it could do all of it."""
    plan = action.plan()
    action.apply(plan)
    action.verify(plan)
    done = world.whole(plan)
    if action.reversible:
        action.undo(plan)
    return done


def refused(world: World, action: Remediation) -> bool:
    """Whether AWS kept the action from something."""
    try:
        return not whole_life(world, action)
    except (ClientError, RemediationError, OSError) as error:  # deltalake's is an OSError
        return bool(re.search("AccessDenied|UnauthorizedOperation|not authorized|403", str(error)))


@pytest.mark.parametrize("kind", IN_AWS, ids=lambda world: world.__name__)
def test_the_policy_suffices_and_nothing_in_it_is_unused(
    kind: type[World], account: Account, ledger: Ledger, request: pytest.FixtureRequest, subtests: pytest.Subtests
) -> None:
    """With it the action does all that it does; with one permission less it is refused."""
    servers = {"aws", "moto_s3", "s3_server", "versioned_bucket"}  # here they are all the account's
    world = kind(ledger, {name: request.getfixturevalue(name) for name in kind.needs if name not in servers})
    book = declare(world)
    allowed = document(kind.action.statements(book))
    action = world.build()
    account.shut(as_moto_sees_it(allowed))
    assert whole_life(world, action)
    for name, less in without(allowed):
        read_in_a_race = kind is RollbackPlainKeysWorld and re.fullmatch("s3:GetObject on .*/rows/.", name)
        if name.split()[0] in UNPROVEN or read_in_a_race:
            continue
        with subtests.test(name):
            account.open()
            account.forget()
            action = world.build()
            account.shut(as_moto_sees_it(less))
            assert refused(world, action), f"{name} is not needed"


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


def test_the_users_and_the_secrets_are_the_declared_ones(account: Account, ledger: Ledger) -> None:
    """Also where a user has a path, and with the letters that Secrets Manager puts after a name."""
    for kind in (worlds_security.DeactivateAccessKeyWorld, worlds_security.RotateSecretWorld):
        world: World = kind(ledger, {})
        needed = [one.resource for one in kind.action.statements(declare(world))]
        world.build()
        users = [one["Arn"] for one in client("iam").list_users()["Users"]]
        arns = [*users, *(one["ARN"] for one in client("secretsmanager").list_secrets()["SecretList"])]
        assert [arn for arn in arns if any(fnmatchcase(arn, resource) for resource in needed)] == [arns[-1]]
        assert not any(fnmatchcase(f"{arns[-1]}-other", resource) for resource in needed)


def test_what_may_never_run_needs_nothing() -> None:
    """An action whose rule is never is not reachable, so the policy does not have what it needs: what is left looks."""
    book = load(ROOT / "playbook.yaml", {"LASTGOOD_STORE": "s3://lake"})
    assert any("s3:PutObject" in one["Action"] for one in policy(book)["Statement"])
    less = book.model_copy(update={"actions": {kind.name(): ActionRule(mode=Mode.never) for kind in ALL}})
    assert reachable(less) == []
    assert policy(less) == document(looking(book))
    assert {action for one in policy(less)["Statement"] for action in one["Action"]} == {
        "s3:GetObject",
        "s3:ListBucket",
    }


def test_every_action_says_what_it_needs_of_aws(tmp_path: Path) -> None:
    """Also that it needs nothing: one that says neither can't be made. What the page says is what the policy has."""
    yaml = YAML(typ="safe")
    yaml.dump(yaml.load((ROOT / "playbook.yaml").read_text()) | yaml.load(EVERYTHING), tmp_path / "playbook.yaml")
    book = load(tmp_path / "playbook.yaml", {})
    for kind in ALL:
        assert not kind.__abstractmethods__, f"{kind.name()} does not say what it needs"
        told = {name for line in kind.permissions for name in re.findall(r"\b[a-z0-9]+:[A-Z]\w+", line)}
        needed = {name for one in kind.statements(book) for name in one.actions}
        assert told == needed, kind.name()


def test_what_moto_does_not_prove_is_named() -> None:
    """The page on actions names each permission that is in some policy and that no test here proves."""
    page = (ROOT / "docs" / "actions.md").read_text()
    assert [name for name in UNPROVEN if f"`{name}`" not in page] == []


def test_a_statement_that_a_wider_one_says_is_left_out() -> None:
    """Several actions need the same of one asset, and it is said once; a role may be handed to one service alone."""
    wide = Statement(actions=("s3:GetObject",), resource="arn:aws:s3:::lake/rows/*")
    same = Statement(actions=("s3:GetObject", "s3:PutObject"), resource="arn:aws:s3:::lake/rows/current")
    role = Statement(
        actions=("iam:PassRole",), resource="arn:aws:iam::1:role/train", passed_to="sagemaker.amazonaws.com"
    )
    made = {one["Resource"]: one for one in document([wide, same, role])["Statement"]}
    assert made[wide.resource]["Action"] == ["s3:GetObject"]
    assert made[same.resource]["Action"] == ["s3:PutObject"]
    assert made[role.resource]["Condition"] == {"StringEquals": {"iam:PassedToService": "sagemaker.amazonaws.com"}}
