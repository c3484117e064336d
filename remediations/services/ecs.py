"""A service of Amazon ECS: its desired count, its task definition, its deployments."""

from __future__ import annotations

from typing import Any

from botocore.exceptions import ClientError

from incidents.assets import Ecs
from remediations.base import CannotPlan
from remediations.clients import aws
from remediations.permissions import Statement
from remediations.services.base import Metric, Running

#: Lines of its history that are worth showing.
LINES = 5


class EcsService(Running):
    """One service in one cluster."""

    quotas = (("fargate", "L-3032A538"),)  # On-Demand vCPUs that run at once

    def __init__(self, place: Ecs) -> None:
        self.place = place
        dimensions = {"ClusterName": place.cluster, "ServiceName": place.service}
        self.metric = Metric(namespace="AWS/ECS", name="CPUUtilization", dimensions=dimensions)

    def count(self) -> int:
        """The desired count."""
        return int(self._described()["desiredCount"])

    def set_count(self, count: int, expected: int) -> None:  # noqa: ARG002  # ECS has no compare-and-set
        """Set the desired count."""
        self._update(desiredCount=count)

    def version(self) -> str:
        """The ARN of the task definition, with its revision."""
        return str(self._described()["taskDefinition"])

    def settled(self) -> bool:
        """Whether there is one deployment, and all of its tasks run."""
        found = self._described()
        return len(found["deployments"]) <= 1 and found["runningCount"] >= found["desiredCount"]

    def exists(self, version: str) -> bool:
        """Whether the revision can be started: one that is deregistered can't."""
        try:
            found = aws("ecs").describe_task_definition(taskDefinition=version)
        except ClientError as error:
            if error.response["Error"]["Code"] == "ClientException":
                return False
            raise
        return bool(found["taskDefinition"]["status"] == "ACTIVE")

    def set_version(self, version: str) -> None:
        """Set the task definition, which starts a deployment."""
        self._update(taskDefinition=version)

    def deployment(self) -> str:
        """The id of the primary deployment."""
        return next(str(one["id"]) for one in self._described()["deployments"] if one["status"] == "PRIMARY")

    def restart(self) -> None:
        """Force a new deployment."""
        self._update(forceNewDeployment=True)

    def recent(self) -> list[str]:
        """Its deployments and its last events."""
        found = self._described()
        deployments = [f"{one['createdAt']:%Y-%m-%d %H:%M} {one['taskDefinition']}" for one in found["deployments"]]
        events = [f"{one['createdAt']:%Y-%m-%d %H:%M} {one['message']}" for one in found["events"][:LINES]]
        return [*deployments, *events]

    def to_look(self) -> tuple[Statement, ...]:
        """Describe the service."""
        return (Statement(actions=("ecs:DescribeServices",), resource=self._arn()),)

    def to_scale(self) -> tuple[Statement, ...]:
        """Update the service."""
        return (Statement(actions=("ecs:UpdateService",), resource=self._arn()),)

    def to_change_version(self) -> tuple[Statement, ...]:
        """Update the service. A version whose tasks have roles needs iam:PassRole on those as well."""
        return self.to_scale()

    def _described(self) -> dict[str, Any]:
        answer = aws("ecs").describe_services(cluster=self.place.cluster, services=[self.place.service])
        found = [one for one in answer["services"] if one["status"] == "ACTIVE"]
        if not found:
            raise CannotPlan(f"ECS has no active service {self.place.service} in cluster {self.place.cluster}")
        return dict(found[0])

    def _update(self, **wanted: Any) -> None:
        aws("ecs").update_service(cluster=self.place.cluster, service=self.place.service, **wanted)

    def _arn(self) -> str:
        return f"arn:aws:ecs:*:*:service/{self.place.cluster}/{self.place.service}"
