"""Which models learned from a bad dataset version: asked of a real MLflow, held against a look at every run."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from benchmarks.registry_rows import Run, generate, insert, taught
from demo.servers import Server
from remediations import lineage

#: 1,000 datasets, 5,000 models and 20,000 runs with TAINT_RUNS=20000; by default a fiftieth of it.
RUNS = int(os.environ.get("TAINT_RUNS", "400"))

Insert = Callable[[list[Run]], None]


@pytest.fixture(scope="module")
def put(mlflow_server: Server, servers_folder: Path) -> Insert:
    """Put generated runs into the server's own database: over HTTP 20,000 of them take many minutes."""
    return lambda runs: insert(servers_folder / "mlflow" / "mlflow.db", runs)


def test_a_large_registry_is_traced_as_by_looking_at_every_run(put: Insert) -> None:
    """Whatever the dataset version, exactly the versions that learned from it are found, and where they serve."""
    prefix = f"large-{secrets.token_hex(4)}"
    datasets = max(RUNS // 20, 2)
    runs = generate(datasets, max(RUNS // 4, 1), RUNS, prefix=prefix)
    put(runs)
    newest = {run.model: run.version for run in runs if run.version is not None}
    for number in range(0, datasets, max(datasets // 10, 1)):
        dataset, version = f"{prefix}-data-{number}", f"v{number % 4}"
        found = lineage.trained_on(dataset, version)
        assert found == taught(runs, dataset, version)
        assert lineage.in_production(dict.fromkeys(found, "champion")) == {model: newest[model] for model in found}


_PAIRS = st.tuples(st.sampled_from(["a", "b"]), st.sampled_from(["v1", "v2"]))
_RUNS = st.lists(
    st.tuples(st.sampled_from(["m", "n", "o"]), st.booleans(), st.frozensets(_PAIRS, max_size=3), st.booleans()),
    max_size=8,
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(drawn=_RUNS, asked=_PAIRS)
def test_any_small_graph_is_traced_as_by_looking_at_every_run(
    put: Insert, drawn: list[tuple[str, bool, frozenset[tuple[str, str]], bool]], asked: tuple[str, str]
) -> None:
    """Runs without a version, without data, with several datasets, in the trash; and never one dataset's name with
    another's version.
    """
    prefix = f"small-{secrets.token_hex(4)}"
    runs: list[Run] = []
    for model, registered, learned, deleted in drawn:
        name = f"{prefix}-{model}"
        before = sum(run.model == name and run.version is not None for run in runs)
        named = frozenset((f"{prefix}-{dataset}", version) for dataset, version in learned)
        runs.append(Run(secrets.token_hex(16), name, before + 1 if registered else None, named, deleted))
    put(runs)
    dataset, version = f"{prefix}-{asked[0]}", asked[1]
    found = lineage.trained_on(dataset, version)
    assert found == taught(runs, dataset, version)
    for model, versions in found.items():
        assert all((dataset, version) in lineage.learned_from(model, int(number)) for number in versions)


def test_pages_and_chunks_lose_nothing(put: Insert, monkeypatch: pytest.MonkeyPatch) -> None:
    """However small a page or a chunk is, the answer is the same: the second page counts like the first."""
    prefix = f"paged-{secrets.token_hex(4)}"
    runs = generate(1, 12, 40, prefix=prefix, seed=3)
    put(runs)
    for name, size in {"IDS_AT_ONCE": 3, "EXPERIMENTS_AT_ONCE": 7, "ROWS_AT_ONCE": 5}.items():
        monkeypatch.setattr(lineage, name, size)
    dataset = f"{prefix}-data-0"
    found = lineage.trained_on(dataset, "v1")
    assert found == taught(runs, dataset, "v1")
    assert len(lineage.in_production(dict.fromkeys(found, "champion"))) == len(found) > 3


def test_a_model_that_is_not_there_or_has_no_alias_serves_nothing(put: Insert) -> None:
    """It is left out, and the others are told."""
    prefix = f"alias-{secrets.token_hex(4)}"
    put(generate(1, 2, 2, prefix=prefix))
    asked = {f"{prefix}-model-0": "champion", f"{prefix}-model-1": "challenger", f"{prefix}-gone": "champion"}
    assert lineage.in_production(asked) == {f"{prefix}-model-0": 1}
