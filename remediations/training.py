"""The team's own training entry points: a Prefect deployment, an MLflow project, a SageMaker training job.

A job has a name, and the same name is the same job: asked for twice it runs once, where the entry point can tell.
"""

from __future__ import annotations

import time
from typing import Any

from incidents.upkeep import Training
from remediations import deployments
from remediations.clients import aws
from remediations.permissions import Statement

#: The longest wait between two looks at a job, in seconds.
SELDOM = 10.0

_GOING_ON = {"InProgress", "Stopping"}


def statements(training: Training, jobs: str) -> tuple[Statement, ...]:
    """What it takes of AWS to run the jobs of these names. What a project does in AWS, only its author knows."""
    if training.sagemaker is None:
        return ()
    calls = ["CreateTrainingJob", "DescribeTrainingJob", "StopTrainingJob"]
    calls += ["AddTags"] if training.sagemaker.get("Tags") else []
    run = Statement(
        actions=tuple(f"sagemaker:{call}" for call in calls), resource=f"arn:aws:sagemaker:*:*:training-job/{jobs}"
    )
    role = str(training.sagemaker.get("RoleArn", ""))
    hand_over = Statement(actions=("iam:PassRole",), resource=role, passed_to="sagemaker.amazonaws.com")
    return (run, hand_over) if role else (run,)


def run(training: Training, job: str, parameters: dict[str, str]) -> None:
    """Start the job unless it was, and wait until it has ended, or until its time is up."""
    if training.deployment:
        deployments.run(training.deployment, job, parameters, training.within_seconds)
    elif training.project:
        _project(training.project, job, parameters)
    else:
        _sagemaker(training.sagemaker or {}, job, parameters, training.within_seconds)


def under_way(training: Training, job: str) -> bool:
    """Whether a job that was started has not ended, where the entry point can tell."""
    if training.deployment:
        return deployments.under_way(job)
    return training.sagemaker is not None and _status(job) in _GOING_ON


def stop(training: Training, job: str) -> None:
    """End the job where it goes on and can be ended."""
    if training.deployment:
        deployments.stop(job)
    if training.sagemaker is not None and _status(job) == "InProgress":
        aws("sagemaker").stop_training_job(TrainingJobName=job)


def _project(uri: str, job: str, parameters: dict[str, str]) -> None:
    import mlflow
    from mlflow.exceptions import ExecutionException

    try:
        mlflow.projects.run(uri, parameters=parameters, env_manager="local", run_name=job)
    except ExecutionException:
        return  # it has ended, and what it made, or did not, is looked for


def _sagemaker(declared: dict[str, Any], job: str, parameters: dict[str, str], seconds: float) -> None:
    if _status(job) is None:
        given = {**declared, "HyperParameters": {**declared.get("HyperParameters", {}), **parameters}}
        aws("sagemaker").create_training_job(TrainingJobName=job, **given)
    end, wait = time.monotonic() + seconds, 0.2
    while _status(job) in _GOING_ON and time.monotonic() < end:
        time.sleep(wait)
        wait = min(wait * 2, SELDOM)


def _status(job: str) -> str | None:
    """What SageMaker says of the job; None where it knows none of that name."""
    from botocore.exceptions import ClientError

    try:
        return str(aws("sagemaker").describe_training_job(TrainingJobName=job)["TrainingJobStatus"])
    except ClientError as error:
        if "could not find" in str(error).lower() or "not found" in str(error).lower():
            return None
        raise
