"""Small things in AWS that the tests work on: made over the wire, in moto's server."""

from __future__ import annotations

import os
from typing import Any

import httpx

from remediations.clients import aws

ROLE = "arn:aws:iam::123456789012:role/serving"


def empty() -> None:
    """An AWS in which there is nothing."""
    httpx.post(f"{os.environ['AWS_ENDPOINT_URL']}/moto-api/reset").raise_for_status()


def task_definition(image: str) -> str:
    """A new revision of the task definition ``scoring``; returns its ARN."""
    container = {"name": "scoring", "image": image, "memory": 128}
    made = aws("ecs").register_task_definition(family="scoring", containerDefinitions=[container])
    return str(made["taskDefinition"]["taskDefinitionArn"])


def ecs_service(count: int = 2, revisions: int = 3) -> list[str]:
    """The service ``scoring`` in the cluster ``serving``, at its second revision; returns all of them."""
    ecs = aws("ecs")
    ecs.create_cluster(clusterName="serving")
    made = [task_definition(f"scoring:{number}") for number in range(1, revisions + 1)]
    ecs.create_service(cluster="serving", serviceName="scoring", taskDefinition=made[1], desiredCount=count)
    ecs.update_service(cluster="serving", service="scoring", desiredCount=count)  # moto runs the tasks from here on
    return made


def ecs_described() -> dict[str, Any]:
    """The service, as AWS has it."""
    found = aws("ecs").describe_services(cluster="serving", services=["scoring"])["services"][0]
    kept = ("desiredCount", "taskDefinition", "status", "launchType", "networkConfiguration", "loadBalancers")
    return {**{name: found.get(name) for name in kept}, "deployments": [one["id"] for one in found["deployments"]]}


def scaling_group() -> None:
    """The Auto Scaling group ``workers``, with 2 of at most 5."""
    zone = aws("ec2").describe_availability_zones()["AvailabilityZones"][0]["ZoneName"]
    groups = aws("autoscaling")
    groups.create_launch_configuration(
        LaunchConfigurationName="workers", ImageId="ami-12c6146b", InstanceType="t3.micro"
    )
    groups.create_auto_scaling_group(
        AutoScalingGroupName="workers",
        LaunchConfigurationName="workers",
        MinSize=0,
        MaxSize=5,
        DesiredCapacity=2,
        AvailabilityZones=[zone],
    )


def endpoint(configs: int = 1) -> None:
    """The SageMaker endpoint ``fraud`` with two variants of 2 instances, which share the traffic 3 to 1.

    It is at the first of the configs, ``fraud-1``.
    """
    sagemaker = aws("sagemaker")
    sagemaker.create_model(
        ModelName="fraud", ExecutionRoleArn=ROLE, PrimaryContainer={"Image": "image", "ModelDataUrl": "s3://b/m"}
    )
    variants = [
        {
            "VariantName": name,
            "ModelName": "fraud",
            "InitialInstanceCount": 2,
            "InstanceType": "ml.t2.medium",
            "InitialVariantWeight": weight,
        }
        for name, weight in [("blue", 3.0), ("green", 1.0)]
    ]
    for number in range(1, configs + 1):
        sagemaker.create_endpoint_config(EndpointConfigName=f"fraud-{number}", ProductionVariants=variants)
    sagemaker.create_endpoint(EndpointName="fraud", EndpointConfigName="fraud-1")


def volume() -> str:
    """A volume of 100 GiB; returns its id."""
    zone = aws("ec2").describe_availability_zones()["AvailabilityZones"][0]["ZoneName"]
    return str(aws("ec2").create_volume(AvailabilityZone=zone, Size=100)["VolumeId"])
