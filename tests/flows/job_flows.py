"""The team's own deployments, as the tests have them: a preprocessing and a training. A worker runs them."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

from prefect import flow


@flow
def preprocess(
    dataset: str, version: str, *, store: str, job: str, seed: int = 3, bad: bool = False, go: str = ""
) -> None:
    """Make a version anew and publish it where it is told to; not before the file ``go`` is there."""
    from demo.transactions import break_feed, generate, write_parquet
    from remediations.datasets import open_store

    _wait(go)
    rows = generate(12_000, seed=seed)
    with tempfile.TemporaryDirectory() as folder:
        files = write_parquet(break_feed(rows) if bad else rows, Path(folder), parts=1)
        open_store(store, dataset).publish(files)


@flow
def train(
    model: str, dataset: str, *, dataset_version: str, job: str, like: str, learned_as: str, go: str = ""
) -> None:
    """Register one that is like one and learned as another; not before the file ``go`` is there."""
    from remediations.clients import registry

    _wait(go)
    client = registry()
    made, learned = client.get_model_version(model, like), client.get_model_version(model, learned_as)
    client.create_model_version(
        model,
        made.source,
        run_id=learned.run_id,
        model_id=made.source.removeprefix("models:/"),
        tags={"lastgood_job": job},
        await_creation_for=0,
    )


def _wait(go: str) -> None:
    while go and not Path(go).exists():
        time.sleep(0.05)
