"""A generated registry in MLflow's own SQLite store: datasets, runs that learned from them, and registered models."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

#: Of each dataset there are so many versions.
VERSIONS = 4

Learned = tuple[str, str]


class Run(NamedTuple):
    """One training run, and what came of it."""

    run_id: str
    model: str
    #: The number of the model version that it made; None where it was not registered.
    version: int | None
    learned: frozenset[Learned]
    #: Whether it is in MLflow's trash.
    deleted: bool = False


def generate(datasets: int, models: int, runs: int, *, prefix: str = "t", seed: int = 0) -> list[Run]:
    """Runs of so many models over so many datasets; each learned from one to three versions, most are registered."""
    chance = random.Random(f"{prefix} {seed}")  # noqa: S311  # a seeded generator is what a generated registry needs
    made: list[Run] = []
    numbers: dict[str, int] = {}
    for number in range(runs):
        model = f"{prefix}-model-{number % models}"
        learned = frozenset(
            (f"{prefix}-data-{chance.randrange(datasets)}", f"v{chance.randrange(VERSIONS)}")
            for _ in range(chance.randint(1, 3))
        )
        registered = number < models or chance.random() < 0.7
        if registered:
            numbers[model] = numbers.get(model, 0) + 1
        version = numbers[model] if registered else None
        made.append(Run(f"{chance.getrandbits(128):032x}", model, version, learned, chance.random() < 0.05))
    return made


def taught(runs: Iterable[Run], dataset: str, version: str) -> dict[str, list[str]]:
    """The oracle: every model version that learned from a dataset version, found by looking at every run."""
    found: dict[str, list[str]] = {}
    for run in runs:
        if run.version is not None and (dataset, version) in run.learned:
            found.setdefault(run.model, []).append(str(run.version))
    return {model: sorted(numbers, key=int) for model, numbers in sorted(found.items())}


def insert(database: Path, runs: list[Run], *, alias: str = "champion") -> None:
    """Put them into MLflow's tables, each model with an experiment of its own and its alias at its newest version."""
    with closing(sqlite3.connect(database, timeout=60)) as connection, connection:
        first = connection.execute("SELECT coalesce(max(experiment_id), 0) + 1 FROM experiments").fetchone()[0]
        experiments = {model: first + place for place, model in enumerate(sorted({run.model for run in runs}))}
        newest = {run.model: run.version for run in runs if run.version is not None}
        learned = {(experiments[run.model], *pair) for run in runs for pair in run.learned}
        uuids = {pair: f"{place:08x}-{first:08x}" for place, pair in enumerate(sorted(learned))}
        inputs = [(run, uuids[experiments[run.model], *pair]) for run in runs for pair in run.learned]
        tables: dict[str, list[tuple[object, ...]]] = {
            "experiments (experiment_id, name, artifact_location, lifecycle_stage, creation_time, last_update_time)": [
                (number, name, f"mlflow-artifacts:/{number}", "active", 0, 0) for name, number in experiments.items()
            ],
            "runs (run_uuid, name, source_type, user_id, status, start_time, end_time, lifecycle_stage, artifact_uri, "
            "experiment_id)": [
                (
                    *(run.run_id, "r", "LOCAL", "u", "FINISHED", 0, 1, "deleted" if run.deleted else "active"),
                    *(f"mlflow-artifacts:/{run.run_id}", experiments[run.model]),
                )
                for run in runs
            ],
            "datasets (dataset_uuid, experiment_id, name, digest, dataset_source_type, dataset_source)": [
                (uuid, *pair, "local", "{}") for pair, uuid in uuids.items()
            ],
            "inputs (input_uuid, source_type, source_id, destination_type, destination_id)": [
                (f"{place:08x}-{first}", "DATASET", uuid, "RUN", run.run_id) for place, (run, uuid) in enumerate(inputs)
            ],
            "registered_models (name, creation_time, last_updated_time)": [(model, 0, 0) for model in newest],
            "model_versions (name, version, creation_time, last_updated_time, current_stage, source, run_id, status)": [
                (run.model, run.version, 0, 0, "None", f"runs:/{run.run_id}/model", run.run_id, "READY")
                for run in runs
                if run.version is not None
            ],
            "registered_model_aliases (alias, version, name)": [(alias, at, model) for model, at in newest.items()],
        }
        for table, rows in tables.items():
            marks = ", ".join("?" * (table.count(",") + 1))
            connection.executemany(f"INSERT INTO {table} VALUES ({marks})", rows)  # noqa: S608  # our own text
