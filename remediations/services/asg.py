"""An Auto Scaling group of EC2: its desired capacity, within its own limits."""

from __future__ import annotations

from typing import Any

from incidents.assets import Asg
from remediations.base import CannotPlan
from remediations.clients import aws
from remediations.permissions import Statement
from remediations.services.base import Metric, Running


class AutoScalingGroup(Running):
    """One group."""

    quotas = (("ec2", "L-1216C47A"),)  # On-Demand standard vCPUs that run at once

    def __init__(self, place: Asg) -> None:
        self.place = place
        dimensions = {"AutoScalingGroupName": place.group}
        self.metric = Metric(namespace="AWS/EC2", name="CPUUtilization", dimensions=dimensions)

    def count(self) -> int:
        """The desired capacity."""
        return int(self._described()["DesiredCapacity"])

    def set_count(self, count: int, expected: int) -> None:  # noqa: ARG002  # the API has no compare-and-set
        """Set the desired capacity, also while the group cools down from another change."""
        aws("autoscaling").set_desired_capacity(
            AutoScalingGroupName=self.place.group, DesiredCapacity=count, HonorCooldown=False
        )

    def most(self) -> int | None:
        """The group's own maximum, which it refuses to go above."""
        return int(self._described()["MaxSize"])

    def to_look(self) -> tuple[Statement, ...]:
        """Describe groups; AWS knows no narrower resource for it."""
        return (Statement(actions=("autoscaling:DescribeAutoScalingGroups",)),)

    def to_scale(self) -> tuple[Statement, ...]:
        """Set the capacity of this group."""
        arn = f"arn:aws:autoscaling:*:*:autoScalingGroup:*:autoScalingGroupName/{self.place.group}"
        return (Statement(actions=("autoscaling:SetDesiredCapacity",), resource=arn),)

    def _described(self) -> dict[str, Any]:
        groups = aws("autoscaling").describe_auto_scaling_groups(AutoScalingGroupNames=[self.place.group])
        if not groups["AutoScalingGroups"]:
            raise CannotPlan(f"there is no Auto Scaling group {self.place.group}")
        return dict(groups["AutoScalingGroups"][0])
