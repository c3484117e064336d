"""One variant of a SageMaker endpoint: how many instances it has, and the config that the endpoint is at."""

from __future__ import annotations

from typing import Any

from botocore.exceptions import ClientError

from incidents.assets import SageMaker
from remediations.base import CannotPlan, Conflict
from remediations.clients import aws
from remediations.permissions import Statement
from remediations.services.base import Metric, Running


class SageMakerVariant(Running):
    """One variant. Its instances are counted for the variant, its config is the whole endpoint's."""

    def __init__(self, place: SageMaker) -> None:
        self.place = place
        dimensions = {"EndpointName": place.endpoint, "VariantName": place.variant}
        self.metric = Metric(namespace="/aws/sagemaker/Endpoints", name="CPUUtilization", dimensions=dimensions)

    def count(self) -> int:
        """The number of instances that are wanted."""
        variant = self._variant()
        if "DesiredInstanceCount" not in variant:
            raise CannotPlan(
                f"variant {self.place.variant} of {self.place.endpoint} has no instances: it is serverless"
            )
        return int(variant["DesiredInstanceCount"])

    def set_count(self, count: int, expected: int) -> None:  # noqa: ARG002  # the API has no compare-and-set
        """Set the number of instances, and leave the variant's share of the traffic as it is."""
        variant = self._variant()
        self._in_service()
        wanted: dict[str, Any] = {"VariantName": self.place.variant, "DesiredInstanceCount": count}
        if variant.get("DesiredWeight") is not None:
            wanted["DesiredWeight"] = variant["DesiredWeight"]
        aws("sagemaker").update_endpoint_weights_and_capacities(
            EndpointName=self.place.endpoint, DesiredWeightsAndCapacities=[wanted]
        )

    def version(self) -> str:
        """The name of the config that the endpoint is at, or on the way to."""
        found = self._described()
        pending = found.get("PendingDeploymentSummary", {}).get("EndpointConfigName")
        return str(pending or found["EndpointConfigName"])

    def settled(self) -> bool:
        """Whether no change of the endpoint is under way."""
        return bool(self._described()["EndpointStatus"] == "InService")

    def exists(self, version: str) -> bool:
        """Whether the config is still there."""
        try:
            aws("sagemaker").describe_endpoint_config(EndpointConfigName=version)
        except ClientError as error:
            if error.response["Error"]["Code"] == "ValidationException":
                return False
            raise
        return True

    def set_version(self, version: str) -> None:
        """Bring the endpoint to a config. It keeps the number of instances and the weights that it has now."""
        self._in_service()
        aws("sagemaker").update_endpoint(
            EndpointName=self.place.endpoint, EndpointConfigName=version, RetainAllVariantProperties=True
        )

    def recent(self) -> list[str]:
        """When it was changed last, and to which config."""
        found = self._described()
        return [f"{found['LastModifiedTime']:%Y-%m-%d %H:%M} {found['EndpointConfigName']} {found['EndpointStatus']}"]

    def to_look(self) -> tuple[Statement, ...]:
        """Describe the endpoint."""
        return (Statement(actions=("sagemaker:DescribeEndpoint",), resource=self._arn()),)

    def to_scale(self) -> tuple[Statement, ...]:
        """Update its capacities."""
        return (Statement(actions=("sagemaker:UpdateEndpointWeightsAndCapacities",), resource=self._arn()),)

    def to_change_version(self) -> tuple[Statement, ...]:
        """Update it, and read the configs that it can go to."""
        configs = "arn:aws:sagemaker:*:*:endpoint-config/*"
        return (
            Statement(actions=("sagemaker:UpdateEndpoint",), resource=self._arn()),
            Statement(actions=("sagemaker:DescribeEndpointConfig", "sagemaker:UpdateEndpoint"), resource=configs),
        )

    def _described(self) -> dict[str, Any]:
        try:
            return dict(aws("sagemaker").describe_endpoint(EndpointName=self.place.endpoint))
        except ClientError as error:
            if error.response["Error"]["Code"] == "ValidationException":
                raise CannotPlan(f"SageMaker has no endpoint {self.place.endpoint}") from None
            raise

    def _variant(self) -> dict[str, Any]:
        for variant in self._described().get("ProductionVariants", []):
            if variant["VariantName"] == self.place.variant:
                return dict(variant)
        raise CannotPlan(f"endpoint {self.place.endpoint} has no variant {self.place.variant}")

    def _in_service(self) -> None:
        status = self._described()["EndpointStatus"]
        if status != "InService":
            raise Conflict(f"endpoint {self.place.endpoint} is {status} and takes no change now: left as it is")

    def _arn(self) -> str:
        return f"arn:aws:sagemaker:*:*:endpoint/{self.place.endpoint.lower()}"
