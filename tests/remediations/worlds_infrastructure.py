"""The worlds of the actions on services, pipelines and disks, for ``test_contract``."""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from demo import servers
from incidents.events import Judged
from incidents.models import Health, Verdict
from remediations import (
    FailOverSource,
    FreeDisk,
    GrowVolume,
    Remediation,
    RestartService,
    RollbackService,
    ScaleService,
)
from remediations.clients import aws, s3
from tests.remediations import aws_kit, kubernetes
from tests.remediations.contract import Line, World

BOUNDS = {"min": 1, "max": 6, "step": 2, "cost_per_hour": 0.25}
ECS = {"kind": "ecs", "cluster": "serving", "service": "scoring"}


class FailOverSourceWorld(World):
    """A pipeline whose source object, with the newline that people leave at its end, names the primary."""

    action = FailOverSource
    needs = ("s3_server",)

    def declare(self, book: dict[str, Any]) -> None:
        """A pipeline with its object in a place of this test alone."""
        self.place: dict[str, Any] = {"Bucket": servers.BUCKET, "Key": f"contract-{secrets.token_hex(6)}/source"}
        source = f"s3://{self.place['Bucket']}/{self.place['Key']}"
        book["pipelines"] = {
            "cards": {"source": source, "primary": "https://feeds/cards", "standby": "s3://mirror/cards"}
        }

    def build(self) -> Remediation:
        """It reads from the primary."""
        s3().put_object(**self.place, Body=b"https://feeds/cards\n")
        return FailOverSource(pipeline="cards", because="a test")

    def state(self) -> Any:
        """The object, byte for byte."""
        return s3().get_object(**self.place)["Body"].read()

    def meddle(self) -> None:
        """Somebody points it elsewhere."""
        s3().put_object(**self.place, Body=b"s3://elsewhere/cards\n")


class FreeDiskWorld(World):
    """A folder with old and new files, another kind of file, and a link to a file outside."""

    action = FreeDisk
    needs = ("tmp_path",)

    def declare(self, book: dict[str, Any]) -> None:
        """A disk with a retention rule."""
        self.folder: Path = self.fixtures["tmp_path"] / "disk"
        rule = {"folder": str(self.folder), "pattern": "*.log", "keep_days": 7, "keep_at_least": 1}
        book["disks"] = {"scratch": {"retention": rule}}

    def build(self) -> Remediation:
        """Three logs are too old, two are not, and the rest is none of its business."""
        outside = self.folder.parent / "outside"
        for folder in (self.folder / "run", outside):
            folder.mkdir(parents=True, exist_ok=True)
        old, young = time.time_ns() - 20 * 86_400 * 10**9, time.time_ns() - 86_400 * 10**9
        files = {"a.log": old, "run/b.log": old, "c.log": old, "d.log": young, "e.log": young, "f.txt": old}
        for name, moment in {**files, "../outside/g.log": old}.items():
            file = self.folder / name
            file.write_text(name)
            os.utime(file, ns=(moment, moment))
        for name, target in {"link.log": outside / "g.log", "linked": outside}.items():
            if not (self.folder / name).is_symlink():
                (self.folder / name).symlink_to(target)
        return FreeDisk(disk="scratch", because="a test")

    def state(self) -> Any:
        """Every file in the folder and outside of it."""
        found = [file for file in self.folder.parent.rglob("*.*") if file.is_file() and "home" not in file.parts]
        return {str(file): file.read_bytes() for file in found}

    def meddle(self) -> None:
        """Somebody writes to a file that was to go."""
        (self.folder / "c.log").write_text("somebody needs this")

    @contextmanager
    def hidden(self, line: Line) -> Iterator[None]:  # noqa: ARG002  # no line leads to a disk
        """The disk is not mounted."""
        away = self.folder.rename(self.folder.with_name("away"))
        yield
        away.rename(self.folder)


class GrowVolumeWorld(World):
    """A volume of 100 GiB."""

    action = GrowVolume
    settles = False
    needs = ("aws",)

    def declare(self, book: dict[str, Any]) -> None:
        """The volume that there is in each build is the one that the book names."""
        self.book = book
        aws_kit.empty()
        self.id = aws_kit.volume()
        volume = {"id": self.id, "step_gib": 50, "max_gib": 500, "cost_per_gib_month": 0.08}
        book["disks"] = {"scratch": {"volume": volume}}

    def build(self) -> Remediation:
        """moto lets a volume shrink, which AWS does not."""
        aws("ec2").modify_volume(VolumeId=self.id, Size=100)
        return GrowVolume(disk="scratch", because="a test")

    def state(self) -> Any:
        """The volume, as AWS has it."""
        return aws("ec2").describe_volumes(VolumeIds=[self.id])["Volumes"][0]["Size"]

    def meddle(self) -> None:
        """Somebody else changes it."""
        aws("ec2").modify_volume(VolumeId=self.id, Size=120)


class EcsWorld(World):
    """A service on ECS."""

    needs = ("aws",)

    def declare(self, book: dict[str, Any]) -> None:
        """The service ``scoring``."""
        book["services"] = {"scoring": {"runs_on": ECS, "bounds": BOUNDS}}

    def state(self) -> Any:
        """The service, as AWS has it."""
        return aws_kit.ecs_described()

    def set(self, **wanted: Any) -> None:
        """Update the service, as anybody does."""
        aws("ecs").update_service(cluster="serving", service="scoring", **wanted)


class RestartServiceWorld(EcsWorld):
    """A service whose tasks hang."""

    action = RestartService
    settles = False

    def build(self) -> Remediation:
        """The service, anew."""
        aws_kit.empty()
        self.versions = aws_kit.ecs_service()
        return RestartService(service="scoring", because="a test")

    def meddle(self) -> None:
        """Somebody releases another version."""
        self.set(taskDefinition=self.versions[2])


class RollbackServiceWorld(EcsWorld):
    """A service at its second version, of which the first was verified good."""

    action = RollbackService

    def build(self) -> Remediation:
        """The service, anew, and what was verified good."""
        aws_kit.empty()
        self.versions = aws_kit.ecs_service()
        seen = Judged(version=self.versions[0], verdict=Verdict(health=Health.healthy, why="seen"))
        self.ledger.append(seen, actor="test", subject="service:scoring")
        return RollbackService(service="scoring", because="a test")

    def meddle(self) -> None:
        """Somebody releases a third version."""
        self.set(taskDefinition=self.versions[2])


class RollbackSageMakerWorld(World):
    """An endpoint at its second config, of which the first was verified good; a variant was scaled since.

    moto lacks UpdateEndpoint, so that one operation is done in front of it.
    """

    action = RollbackService
    needs = ("sagemaker",)

    def declare(self, book: dict[str, Any]) -> None:
        """The endpoint ``fraud``."""
        book["services"] = {"fraud": {"runs_on": {"kind": "sagemaker", "endpoint": "fraud", "variant": "blue"}}}

    def build(self) -> Remediation:
        """The endpoint, anew, and what was verified good."""
        aws_kit.empty()
        aws_kit.endpoint(configs=3)
        self.set("fraud-2")
        wanted = [{"VariantName": "blue", "DesiredWeight": 2.0, "DesiredInstanceCount": 3}]
        aws("sagemaker").update_endpoint_weights_and_capacities(
            EndpointName="fraud", DesiredWeightsAndCapacities=wanted
        )
        seen = Judged(version="fraud-1", verdict=Verdict(health=Health.healthy, why="seen"))
        self.ledger.append(seen, actor="test", subject="service:fraud")
        return RollbackService(service="fraud", because="a test")

    def state(self) -> Any:
        """The config, and both variants: counts and weights."""
        found = aws("sagemaker").describe_endpoint(EndpointName="fraud")
        return {name: found[name] for name in ("EndpointArn", "EndpointConfigName", "ProductionVariants")}

    def meddle(self) -> None:
        """Somebody releases a third config."""
        self.set("fraud-3")

    def set(self, config: str) -> None:
        """Update the endpoint, as anybody does."""
        aws("sagemaker").update_endpoint(
            EndpointName="fraud", EndpointConfigName=config, RetainAllVariantProperties=True
        )


class ScaleEcsWorld(EcsWorld):
    """Two tasks on ECS, where four are needed."""

    action = ScaleService
    settles = False

    def build(self) -> Remediation:
        """The service, with two."""
        aws_kit.empty()
        aws_kit.ecs_service()
        return ScaleService(service="scoring", because="a test")

    def meddle(self) -> None:
        """Somebody scales it."""
        self.set(desiredCount=5)


class ScaleAsgWorld(World):
    """Two machines in an Auto Scaling group."""

    action = ScaleService
    settles = False
    needs = ("aws",)

    def declare(self, book: dict[str, Any]) -> None:
        """The group ``workers``."""
        book["services"] = {"workers": {"runs_on": {"kind": "asg", "group": "workers"}, "bounds": BOUNDS}}

    def build(self) -> Remediation:
        """The group, with two."""
        aws_kit.empty()
        aws_kit.scaling_group()
        return ScaleService(service="workers", because="a test")

    def state(self) -> Any:
        """The group's own settings; which machines there are changes with every change, and comes back with none."""
        found = aws("autoscaling").describe_auto_scaling_groups()["AutoScalingGroups"][0]
        return {name: found[name] for name in ("DesiredCapacity", "MinSize", "MaxSize", "LaunchConfigurationName")}

    def meddle(self) -> None:
        """Somebody scales it."""
        aws("autoscaling").set_desired_capacity(AutoScalingGroupName="workers", DesiredCapacity=1)


class ScaleSageMakerWorld(World):
    """Two instances of a SageMaker variant."""

    action = ScaleService
    settles = False
    needs = ("aws",)

    def declare(self, book: dict[str, Any]) -> None:
        """The variant ``blue`` of the endpoint ``fraud``."""
        runs_on = {"kind": "sagemaker", "endpoint": "fraud", "variant": "blue"}
        book["services"] = {"fraud": {"runs_on": runs_on, "bounds": BOUNDS}}

    def build(self) -> Remediation:
        """The endpoint, with two."""
        aws_kit.empty()
        aws_kit.endpoint()
        return ScaleService(service="fraud", because="a test")

    def state(self) -> Any:
        """Both variants: counts and weights."""
        return aws("sagemaker").describe_endpoint(EndpointName="fraud")["ProductionVariants"]

    def meddle(self) -> None:
        """Somebody scales it."""
        wanted = [{"VariantName": "blue", "DesiredWeight": 3.0, "DesiredInstanceCount": 5}]
        aws("sagemaker").update_endpoint_weights_and_capacities(
            EndpointName="fraud", DesiredWeightsAndCapacities=wanted
        )


class ScaleKubernetesWorld(World):
    """Two replicas in Kubernetes, by its documented API: no cluster is here."""

    action = ScaleService
    settles = False
    needs = ("kubernetes_api", "tmp_path")

    def declare(self, book: dict[str, Any]) -> None:
        """The Deployment ``scoring``."""
        self.api: kubernetes.Api = self.fixtures["kubernetes_api"]
        token = self.fixtures["tmp_path"] / "token"
        token.write_text(f"{kubernetes.TOKEN}\n")
        runs_on = {"kind": "kubernetes", "api": self.api.url, "namespace": "ml", "deployment": "scoring"}
        book["services"] = {"scoring": {"runs_on": {**runs_on, "token_file": str(token)}, "bounds": BOUNDS}}

    def build(self) -> Remediation:
        """With two."""
        self.api.set(2)
        return ScaleService(service="scoring", because="a test")

    def state(self) -> Any:
        """How many there are."""
        return self.api.replicas

    def meddle(self) -> None:
        """Somebody scales it."""
        self.api.set(5)


INFRASTRUCTURE: tuple[type[World], ...] = (
    FailOverSourceWorld,
    FreeDiskWorld,
    GrowVolumeWorld,
    RestartServiceWorld,
    RollbackSageMakerWorld,
    RollbackServiceWorld,
    ScaleAsgWorld,
    ScaleEcsWorld,
    ScaleKubernetesWorld,
    ScaleSageMakerWorld,
)
