"""A flow that imports what lastgood's flows import, and writes down when its first line ran."""

from __future__ import annotations

import time
from pathlib import Path

import boto3  # noqa: F401  # what a real flow imports before its first line
import great_expectations.expectations  # noqa: F401  # likewise
import mlflow  # noqa: F401  # likewise
from prefect import flow


@flow(persist_result=False)
async def first_line(file: str) -> None:
    """Write the time into a file."""
    Path(file).write_text(str(time.time()), encoding="utf-8")  # noqa: ASYNC240  # one line, for the bench to see
