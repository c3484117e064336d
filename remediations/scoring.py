"""What a model answers to rows whose truth is known: asked over its live service, or of a registered version itself."""

from __future__ import annotations

import json
import shutil
import tempfile
import weakref
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from incidents.playbook import Sample, playbook
from remediations.clients import http
from remediations.datasets import open_store
from remediations.loading import Loader

if TYPE_CHECKING:
    import pyarrow as pa

#: Rows sent to a model service in one request.
BATCH = 5_000

#: What stands where a service does not say with which version it answers.
UNNAMED = "none that it names"

Row = dict[str, Any]


class Labelled(NamedTuple):
    """Rows without their label, their labels, and the version of the dataset that they are of."""

    rows: list[Row]
    truth: list[bool]
    version: str


def labelled(health: Sample, *, all_rows: bool = False) -> Labelled:
    """The current labelled rows that count for the metric; all of them where two models are compared."""
    import pyarrow as pa

    declared = playbook().datasets[health.dataset]
    store = open_store(declared.store, health.dataset)
    version = store.current().version
    positives = health.metric == "recall" and not all_rows  # what is lost among those says all
    with tempfile.TemporaryDirectory(prefix="lastgood-") as folder:
        parts = [_part(file, health.label if positives else None) for file in store.fetch(version, Path(folder))]
    frame = pa.concat_tables(parts, promote_options="permissive").to_pandas(use_threads=False)
    truth = frame.pop(health.label).astype(bool).tolist()
    return Labelled(json.loads(frame.to_json(orient="records", date_format="iso")), truth, version)


def _part(file: Path, positive: str | None) -> pa.Table:
    """The rows of one Parquet file; where a column is named only those where it is true, sorted out by Arrow."""
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    rows = pq.ParquetFile(file).read(use_threads=False)  # a few rows: threads take longer to start than to help
    return rows.filter(pc.cast(rows[positive], pa.bool_())) if positive else rows


def ask(service: str, rows: list[Row]) -> tuple[list[bool], set[str]]:
    """A service's answers to all rows, and every version that it said it answered with.

    Raises:
        httpx.HTTPError: it did not answer.
        ValueError: what it answered is not an answer to these rows.
    """
    answers: list[bool] = []
    versions: set[str] = set()
    for batch in _batches(rows):
        response = http().post(f"{service}/invocations", json={"dataframe_records": batch})
        response.raise_for_status()
        predictions = response.json()["predictions"]
        if len(predictions) != len(batch):
            raise ValueError(f"{len(predictions)} predictions for {len(batch)} rows")
        answers += [bool(answer) for answer in predictions]
        versions.add(response.headers.get("X-Model-Version", UNNAMED))
    return answers, versions


def predict(model: str, version: int, rows: list[Row]) -> list[bool]:
    """What a registered version itself answers, loaded here as MLflow loads it.

    Raises:
        remediations.loading.NotLoaded: it is quarantined, or not known to be safe to load.
        remediations.artifacts.Unreadable: there is no such version, or its files can't be read.
        mlflow.exceptions.MlflowException: it does not fit the rows.
    """
    import pandas as pd

    loaded = _loaded(model, version)
    frame = pd.DataFrame(rows)
    schema = loaded.metadata.get_input_schema()
    if schema is not None:  # JSON has one kind of number, and no kind of missing number
        frame = frame.reindex(columns=schema.input_names())
        kinds = zip(schema.input_names(), schema.pandas_types(), strict=True)
        frame = frame.astype({name: kind for name, kind in kinds if getattr(kind, "kind", "O") in "fiub"})
    return [bool(answer) for answer in loaded.predict(frame)]


@lru_cache(maxsize=2)
def _loaded(model: str, version: int) -> Any:
    """A version never changes, so one that is loaded stays right; two are compared at most."""
    import mlflow

    def build(files: Path) -> Any:
        kept = tempfile.TemporaryDirectory(prefix="lastgood-model-")  # a model may read from its files later on
        made = mlflow.pyfunc.load_model(shutil.copytree(files, kept.name, dirs_exist_ok=True))
        weakref.finalize(made, kept.cleanup)
        return made

    trusted = playbook().models[model].unsafe_pickles == "allow"
    return Loader(model, build, trusted=trusted).load(version)


def _batches(rows: list[Row]) -> Iterator[list[Row]]:
    for start in range(0, len(rows), BATCH):
        yield rows[start : start + BATCH]
