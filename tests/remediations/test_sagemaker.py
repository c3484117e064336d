"""What moto's SageMaker lacks, UpdateEndpoint above all: against botocore's own model of the API, call by call.

The stub checks each request and each answer against that model. It is no SageMaker: how long an update takes, and what
a real endpoint shows meanwhile, is as the API reference says and was not seen here.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import boto3
import pytest
from botocore.stub import Stubber

from incidents.assets import SageMaker, Service
from remediations.base import Conflict
from remediations.services import open_service, sagemaker

ENDPOINT = {"EndpointName": "fraud"}
FRAUD = Service(runs_on=SageMaker(kind="sagemaker", endpoint="fraud", variant="blue"))


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Iterator[Stubber]:
    """The calls that are expected of SageMaker, in order; at the end none may be left."""
    client = boto3.client("sagemaker", region_name="us-east-1", aws_access_key_id="a", aws_secret_access_key="b")
    monkeypatch.setattr(sagemaker, "aws", lambda _: client)
    with Stubber(client) as stub:
        yield stub
        stub.assert_no_pending_responses()


def described(config: str, status: str = "InService", pending: str | None = None) -> dict[str, Any]:
    """What DescribeEndpoint answers, as its reference says: the new config is pending until it serves."""
    moment = datetime(2026, 11, 25, tzinfo=UTC)
    answer: dict[str, Any] = {
        "EndpointName": "fraud",
        "EndpointArn": "arn:aws:sagemaker:us-east-1:123456789012:endpoint/fraud",
        "EndpointConfigName": config,
        "EndpointStatus": status,
        "CreationTime": moment,
        "LastModifiedTime": moment,
    }
    return answer | ({"PendingDeploymentSummary": {"EndpointConfigName": pending}} if pending else {})


def test_a_config_is_set_and_the_endpoint_keeps_its_instances(calls: Stubber) -> None:
    """One UpdateEndpoint, which keeps counts and weights as they are now and not as the old config had them."""
    calls.add_response("describe_endpoint", described("fraud-2"), ENDPOINT)
    wanted = {"EndpointName": "fraud", "EndpointConfigName": "fraud-1", "RetainAllVariantProperties": True}
    arn = {"EndpointArn": "arn:aws:sagemaker:us-east-1:123456789012:endpoint/fraud"}
    calls.add_response("update_endpoint", arn, wanted)
    open_service(FRAUD).set_version("fraud-1")


def test_on_its_way_the_wanted_config_counts_and_nothing_is_settled(calls: Stubber) -> None:
    """So a second apply finds the first one's work, and the old version's answers say nothing."""
    answer = described("fraud-2", "Updating", pending="fraud-1")
    calls.add_response("describe_endpoint", answer, ENDPOINT)
    assert open_service(FRAUD).version() == "fraud-1"
    calls.add_response("describe_endpoint", answer, ENDPOINT)
    assert not open_service(FRAUD).settled()


def test_an_endpoint_that_changes_just_now_is_left_alone(calls: Stubber) -> None:
    """SageMaker takes no second update meanwhile, and whoever began the first is not overwritten."""
    calls.add_response("describe_endpoint", described("fraud-2", "Updating", pending="fraud-3"), ENDPOINT)
    with pytest.raises(Conflict, match="left as it is"):
        open_service(FRAUD).set_version("fraud-1")


def test_a_config_that_is_gone_is_no_target(calls: Stubber) -> None:
    """SageMaker calls it a ValidationException; any other refusal says nothing about the config."""
    named = {"EndpointConfigName": "fraud-0"}
    gone = "Could not find endpoint configuration"
    calls.add_client_error("describe_endpoint_config", "ValidationException", gone, 400, expected_params=named)
    assert not open_service(FRAUD).exists("fraud-0")
    calls.add_client_error("describe_endpoint_config", "AccessDeniedException", "no", 400, expected_params=named)
    with pytest.raises(Exception, match="AccessDenied"):
        open_service(FRAUD).exists("fraud-0")


def test_the_policy_has_what_the_calls_need(calls: Stubber) -> None:
    """Each call made above is allowed, and nothing is allowed that is no call made above."""
    running = open_service(FRAUD)
    allowed = {one for statement in (*running.to_look(), *running.to_change_version()) for one in statement.actions}
    made = {"DescribeEndpoint", "UpdateEndpoint", "DescribeEndpointConfig"}
    assert allowed == {f"sagemaker:{call}" for call in made}
