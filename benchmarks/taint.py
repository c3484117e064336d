"""How long it takes to find what a bad dataset version has tainted, in a large registry."""

from __future__ import annotations

import os
import tempfile
import time
from itertools import count
from pathlib import Path
from typing import Any

from benchmarks import harness

ABOUT = """
A generated registry of 1,000 datasets (4 versions each), 5,000 models and 20,000 runs in MLflow's own server (one
worker, SQLite). One call is `trained_on` of one dataset version, another one each time, and `in_production` of the
models found: which of them serve. The other side reads every run with its inputs and every model version in full pages,
and follows the lineage in memory; both must find the same. The first look of a process is a warm-up.
"""

_CASE, _EVERY, _SECOND = "trace 1 of 4,000 dataset versions", "reading every run", "1 s"

TARGETS = {(_CASE, _EVERY): 10.0, (_CASE, _SECOND): 1.0}
REASONS: dict[tuple[str, str], str] = {}

_DATASETS, _MODELS, _RUNS = 1_000, 5_000, 20_000


def run() -> None:
    """Fill a registry, then measure."""
    from benchmarks import registry_rows
    from demo import servers

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        servers.isolate(folder / "home")
        with servers.mlflow(folder) as server:
            os.environ.update(server.env)
            runs = registry_rows.generate(_DATASETS, _MODELS, _RUNS)
            registry_rows.insert(folder / "mlflow" / "mlflow.db", runs)
            _measure(runs)


def _measure(runs: list[Any]) -> None:
    from benchmarks import registry_rows
    from remediations.lineage import in_production, trained_on

    rounds = {"ours": count(), "theirs": count()}

    def timed(side: str) -> float:
        number = next(rounds[side])
        dataset, version = f"t-data-{number * 7}", f"v{number % registry_rows.VERSIONS}"
        began = time.perf_counter()
        found = trained_on(dataset, version) if side == "ours" else _every_run(dataset, version)
        in_production(dict.fromkeys(found, "champion"))
        took = time.perf_counter() - began
        assert found == registry_rows.taught(runs, dataset, version)
        return took

    harness.compare("taint", _CASE, "s", lambda: timed("ours"), {_EVERY: lambda: timed("theirs")}, n=3, warmup=0)
    figures = [timed("ours") for _ in range(15)]
    harness.record("taint", _CASE, "s", {"ours": figures, _SECOND: [1.0] * len(figures)})


def _every_run(dataset: str, version: str) -> dict[str, list[str]]:
    """Every run with its inputs, every model version, and the rest in memory."""
    from remediations.clients import registry

    client = registry()
    experiments = [one.experiment_id for one in client.search_experiments(max_results=50_000)]
    learned, token = set(), None
    while True:
        page = client.search_runs(experiments, run_view_type=3, max_results=50_000, page_token=token)
        for run in page:
            if (dataset, version) in {(one.dataset.name, one.dataset.digest) for one in run.inputs.dataset_inputs}:
                learned.add(run.info.run_id)
        token = page.token
        if not token:
            break
    found: dict[str, list[int]] = {}
    for one in client.search_model_versions(max_results=200_000):
        if one.run_id in learned:
            found.setdefault(one.name, []).append(int(one.version))
    return {model: [str(number) for number in sorted(found[model])] for model in sorted(found)}
