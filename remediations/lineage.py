"""What MLflow knows: which version is in production, and who learned from what.

A training run says it with ``mlflow.log_input``: the dataset's name, and its version as the digest. MLflow's own
digest reads only the first 10,000 rows, so it is never a version.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from itertools import islice
from typing import Any, TypeVar

from remediations.base import CannotPlan
from remediations.clients import registry

T = TypeVar("T")

#: Names or ids in one question: MLflow asks for them in the address, which servers keep short.
IDS_AT_ONCE = 100
#: Experiments in one question, and rows in one answer.
EXPERIMENTS_AT_ONCE, ROWS_AT_ONCE = 10_000, 50_000


def learned_from(model: str, version: int) -> set[tuple[str, str]]:
    """The (dataset, version) pairs that one model version was trained on; empty when its run does not say."""
    client = registry()
    run_id = client.get_model_version(model, str(version)).run_id
    if not run_id:
        return set()
    return _inputs(client.get_run(run_id))


def trained_on(dataset: str, version: str) -> dict[str, list[str]]:
    """Every registered model with the versions of it, oldest first, that learned from one dataset version.

    What was deleted counts as well: a run or an experiment in MLflow's trash has taught what it has taught. A few
    round trips whatever the size, and nothing is kept from one look to the next, so nothing can be out of date.
    """
    client, found = registry(), dict[str, set[int]]()
    for run_ids in _chunks(_runs(dataset, version), IDS_AT_ONCE):
        one_of = f"run_id IN ({', '.join(map(repr, run_ids))})"
        for learned in _all(partial(client.search_model_versions, one_of)):
            found.setdefault(learned.name, set()).add(int(learned.version))
    return {model: [str(number) for number in sorted(numbers)] for model, numbers in sorted(found.items())}


def in_production(aliases: Mapping[str, str]) -> dict[str, int]:
    """Model -> the version that its alias points at, of many at once; without those that have no such alias."""
    client, found = registry(), dict[str, int]()
    for names in _chunks(sorted(aliases), IDS_AT_ONCE):
        one_of = f"name IN ({', '.join(map(repr, names))})"
        for model in _all(partial(client.search_registered_models, one_of)):
            if aliases[model.name] in model.aliases:
                found[model.name] = int(model.aliases[aliases[model.name]])
    return found


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


def _runs(dataset: str, version: str) -> Iterator[str]:
    """The ids of the runs that learned from a dataset version, in whatever experiment, deleted or not.

    MLflow finds a run whose one dataset has the name and whose other has the digest, so the pair is looked for again.
    """
    from mlflow.entities import ViewType

    client, whole = registry(), {"max_results": ROWS_AT_ONCE}
    wanted = f"dataset.name = '{dataset}' AND dataset.digest = '{version}'"
    experiments = _all(partial(client.search_experiments, view_type=ViewType.ALL, **whole))
    ids = (experiment.experiment_id for experiment in experiments)
    for some in _chunks(ids, EXPERIMENTS_AT_ONCE):
        asked = {"filter_string": wanted, "run_view_type": ViewType.ALL, **whole}
        for run in _all(partial(client.search_runs, some, **asked)):
            if (dataset, version) in _inputs(run):
                yield run.info.run_id


def _inputs(run: Any) -> set[tuple[str, str]]:
    return {(entry.dataset.name, entry.dataset.digest) for entry in run.inputs.dataset_inputs}


def _all(search: Callable[..., Any]) -> Iterator[Any]:
    """Every row of every page of one of MLflow's searches."""
    page = search()
    yield from page
    while page.token:
        page = search(page_token=page.token)
        yield from page


def _chunks(items: Iterable[T], size: int) -> Iterator[list[T]]:
    rest = iter(items)
    while some := list(islice(rest, size)):
        yield some
