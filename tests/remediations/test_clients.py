"""The clients of production reach what the environment says."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from remediations import clients


def test_aws_and_s3_are_reached_where_each_is(aws: Callable[[str], Any], s3_prefix: str) -> None:
    """A cluster made through one client is seen in AWS, and S3 stays the server of its own address."""
    aws("ecs").create_cluster(clusterName="serving")
    assert [arn.rpartition("/")[2] for arn in aws("ecs").list_clusters()["clusterArns"]] == ["serving"]
    bucket, _, prefix = s3_prefix.removeprefix("s3://").partition("/")
    clients.s3().put_object(Bucket=bucket, Key=f"{prefix}/a", Body=b"a")
    assert clients.s3().list_objects_v2(Bucket=bucket, Prefix=prefix)["KeyCount"] == 1
