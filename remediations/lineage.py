"""What MLflow knows: which version is in production, and who learned from what.

A training run says it with ``mlflow.log_input``: the dataset's name, and its version as the digest. MLflow's own
digest reads only the first 10,000 rows, so it is never a version.
"""

from __future__ import annotations

from remediations.base import CannotPlan
from remediations.clients import registry


def learned_from(model: str, version: int) -> set[tuple[str, str]]:
    """The (dataset, version) pairs that one model version was trained on; empty when its run does not say."""
    client = registry()
    run_id = client.get_model_version(model, str(version)).run_id
    if not run_id:
        return set()
    inputs = client.get_run(run_id).inputs.dataset_inputs
    return {(entry.dataset.name, entry.dataset.digest) for entry in inputs}


def trained_on(dataset: str, version: str) -> dict[str, list[str]]:
    """Every registered model with the versions of it, oldest first, that learned from one dataset version."""
    client = registry()
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    wanted = f"dataset.name = '{dataset}' AND dataset.digest = '{version}'"
    found: dict[str, list[str]] = {}
    token = None
    while True:
        runs = client.search_runs(experiments, filter_string=wanted, page_token=token)
        for run in runs:
            for learned in client.search_model_versions(f"run_id = '{run.info.run_id}'"):
                found.setdefault(learned.name, []).append(str(learned.version))
        token = runs.token
        if not token:
            return {model: sorted(versions, key=int) for model, versions in sorted(found.items())}


def versions(model: str) -> list[int]:
    """Every registered version of a model, oldest first."""
    client = registry()
    found: list[int] = []
    token = None
    while True:
        page = client.search_model_versions(f"name = '{model}'", page_token=token)
        found += [int(one.version) for one in page]
        token = page.token
        if not token:
            return sorted(found)


def serving(model: str, alias: str) -> int:
    """The version an alias points at, as an int: MLflow says int or str depending on its store.

    Raises:
        CannotPlan: the model or the alias is not there.
    """
    from mlflow.exceptions import MlflowException

    try:
        # search_model_versions comes back with empty aliases (mlflow#16734); the registered model has them.
        aliases = registry().get_registered_model(model).aliases
    except MlflowException as error:
        if error.error_code == "RESOURCE_DOES_NOT_EXIST":
            raise CannotPlan(f"MLflow has no registered model {model!r}") from None
        raise
    if alias not in aliases:
        raise CannotPlan(f"{model} has no alias {alias!r} in MLflow, so nothing says what is in production")
    return int(aliases[alias])
