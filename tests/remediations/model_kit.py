"""Registered models that the tests work on: small, in a real registry."""

from __future__ import annotations

from pathlib import Path

from mlflow.entities import Dataset, DatasetInput

from remediations import clients

#: A model of the tests of security alone: `fraud` is the shared system's, on the same server.
MODEL = "scored"


def registered(folder: Path, *contents: str | bytes, name: str = "weights.txt", model: str = MODEL) -> None:
    """Register the model anew, with a version for each content; the last is in production."""
    empty(model)
    numbers = [register(folder, content, name, model) for content in contents]
    clients.registry().set_registered_model_alias(model, "champion", numbers[-1])


def register(folder: Path, content: str | bytes, name: str = "weights.txt", model: str = MODEL) -> str:
    """Register a version that is one file; returns its number."""
    client = clients.registry()
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / name
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    run = client.create_run("0").info.run_id
    client.log_artifact(run, str(file), "model")
    made = client.create_model_version(model, f"runs:/{run}/model", run_id=run, await_creation_for=0)
    return str(made.version)


def learned(model: str, dataset: str, version: str, **tags: str) -> str:
    """Register a version whose run says that it learned from that data; returns its number."""
    client = clients.registry()
    run = client.create_run("0").info.run_id
    client.log_inputs(run, [DatasetInput(Dataset(dataset, version, "local", "{}"), [])])
    made = client.create_model_version(model, f"runs:/{run}/model", run_id=run, tags=tags, await_creation_for=0)
    return str(made.version)


def empty(model: str) -> None:
    """A registered model without a version."""
    client = clients.registry()
    if client.search_registered_models(f"name = '{model}'"):  # a list would end after a hundred
        client.delete_registered_model(model)
    client.create_registered_model(model)
