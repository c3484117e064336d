"""A flow that imports what lastgood's flows import, and writes down when its first line ran."""

from __future__ import annotations

import time
from pathlib import Path

import boto3
import great_expectations.expectations as gxe
import mlflow
from prefect import flow

#: Named in the flow's body, so that a side that sends the flow without its module still imports them.
USED = (boto3.client, gxe.ExpectColumnValuesToNotBeNull, mlflow.MlflowClient)


@flow(persist_result=False)
async def first_line(file: str) -> None:
    """Write the time into a file, with everything imported."""
    assert USED
    Path(file).write_text(str(time.time()), encoding="utf-8")  # noqa: ASYNC240  # one line, for the bench to see
