"""The demo's model: what it learns from good and from broken data, and what MLflow knows about it afterwards."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from demo import training
from demo.transactions import break_feed, generate, write_parquet
from remediations.clients import registry

MODEL = "fraud-training"
GOOD, BROKEN = "v0001-good", "v0002-broken"


@dataclass(frozen=True)
class Trained:
    """Two versions of one model, from two versions of one dataset, and the files they learned from."""

    good: int
    broken: int
    files: list[Path]


@pytest.fixture(scope="module")
def trained(mlflow_server: Any, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """The champion learned from good data; a version after it learned from broken data, without an alias."""
    folder = tmp_path_factory.mktemp("training")
    frame = generate(20_000)
    files = write_parquet(frame, folder / "good")
    broken = write_parquet(break_feed(frame), folder / "broken")
    return Trained(
        good=training.train(files, dataset="cards", version=GOOD, source="s3://data/cards/good.json", model=MODEL),
        broken=training.train(
            broken, dataset="cards", version=BROKEN, source=str(folder / "broken"), model=MODEL, alias=None
        ),
        files=files,
    )


def run_of(version: int) -> Any:
    """The run that made a version, read back from the server."""
    return registry().get_run(registry().get_model_version(MODEL, str(version)).run_id)


def recall(version: int, frame: pd.DataFrame) -> float:
    """The share of the fraud in a labelled frame that a registered version finds."""
    found = training.scores(training.load(f"models:/{MODEL}/{version}"), frame)
    fraud = frame["is_fraud"].to_numpy()
    return float((np.array(found)[fraud] >= training.THRESHOLD).mean())


def test_broken_data_makes_a_worse_model(trained: Trained) -> None:
    """On fresh good traffic a model from good data finds most fraud, and one from the broken feed little."""
    fresh = generate(20_000, seed=99)
    assert recall(trained.good, fresh) > 0.7
    assert recall(trained.broken, fresh) < 0.5


def test_broken_data_looks_fine_to_itself(trained: Trained) -> None:
    """The holdout of a broken dataset is broken alike, so the metrics of the run raise no suspicion."""
    assert run_of(trained.broken).data.metrics["holdout_recall"] > 0.65
    assert run_of(trained.broken).data.metrics["holdout_precision"] > 0.65


def test_the_run_says_what_it_learned_from(trained: Trained) -> None:
    """A run's inputs name the dataset, its version as the digest, and the address it was read from."""
    for version, digest, kind in ((trained.good, GOOD, "s3"), (trained.broken, BROKEN, "local")):
        (learned_from,) = run_of(version).inputs.dataset_inputs
        assert (learned_from.dataset.name, learned_from.dataset.digest) == ("cards", digest)
        assert learned_from.dataset.source_type == kind
        assert digest.split("-")[1] in learned_from.dataset.source
        assert {tag.key: tag.value for tag in learned_from.tags} == {"mlflow.data.context": "training"}


def test_a_dataset_version_leads_to_its_models(trained: Trained) -> None:
    """From the digest alone MLflow finds the run, and from the tag the model version, and no other."""
    run = run_of(trained.broken)
    found = registry().search_runs([run.info.experiment_id], f"dataset.digest = '{BROKEN}'")
    assert [one.info.run_id for one in found] == [run.info.run_id]
    versions = registry().search_model_versions(f"name = '{MODEL}' and tag.dataset_version = '{BROKEN}'")
    assert [int(one.version) for one in versions] == [trained.broken]
    assert versions[0].tags == {"dataset": "cards", "dataset_version": BROKEN}


def test_the_alias_moves_only_when_it_is_named(trained: Trained) -> None:
    """The first version became champion; the second was registered without an alias and left it alone."""
    assert trained.broken == trained.good + 1
    assert int(registry().get_model_version_by_alias(MODEL, "champion").version) == trained.good


def test_a_refusal_leaves_no_version(trained: Trained) -> None:
    """When MLflow refuses the digest, the run is marked failed and nothing is registered."""
    from mlflow.exceptions import MlflowException

    before = len(registry().search_model_versions(f"name = '{MODEL}'"))
    with pytest.raises(MlflowException):
        training.train(trained.files, dataset="cards", version="x" * 40, source="s3://data/cards", model=MODEL)
    assert len(registry().search_model_versions(f"name = '{MODEL}'")) == before
    (newest, *_) = registry().search_runs([run_of(trained.good).info.experiment_id], max_results=1)
    assert newest.info.status == "FAILED"


@pytest.mark.parametrize("rows", [0, 50])
def test_nothing_to_learn_is_an_error(mlflow_server: Any, tmp_path: Path, rows: int) -> None:
    """No files, or rows without a single fraud, are refused before anything is registered."""
    frame = generate(2_000)
    files = write_parquet(frame[~frame["is_fraud"]].head(rows), tmp_path, parts=1) if rows else []
    with pytest.raises(ValueError, match=r"nothing to learn|no files"):
        training.train(files, dataset="cards", version=GOOD, source="s3://data/cards", model="fraud-nothing")
    assert not registry().search_registered_models("name = 'fraud-nothing'")


def test_a_stored_type_that_is_not_ours_is_refused(mlflow_server: Any) -> None:
    """A model may bring its own list of trusted types; ``load`` goes by ours."""
    import mlflow
    from sklearn.ensemble import HistGradientBoostingClassifier
    from skops.io.exceptions import UntrustedTypesFoundException

    numbers = np.arange(200.0).reshape(-1, 2) % 7
    other = HistGradientBoostingClassifier(categorical_features=[0], max_iter=1)
    with mlflow.start_run():
        stored = mlflow.sklearn.log_model(
            other.fit(numbers, numbers[:, 1] > 3),
            name="other",
            pip_requirements=[],
            skops_trusted_types=[
                *training.TRUSTED_TYPES,
                "functools.partial",
                "sklearn.utils.validation.check_array",
            ],
        )
    with pytest.raises(UntrustedTypesFoundException, match=r"functools\.partial"):
        training.load(stored.model_uri)


numbers = st.none() | st.floats(allow_nan=True, allow_infinity=True)
rows = st.lists(
    st.fixed_dictionaries(
        dict.fromkeys(training.CATEGORIES, st.none() | st.sampled_from(["grocery", "DE", "EUR"]) | st.text())
        | dict.fromkeys(training.NUMBERS, numbers)
    ),
    min_size=1,
    max_size=5,
)


@pytest.fixture(scope="module")
def pipeline(trained: Trained) -> Any:
    """The champion, loaded back."""
    return training.load(f"models:/{MODEL}/{trained.good}")


@settings(max_examples=50, deadline=None)
@given(rows=rows)
def test_any_row_gets_a_score(pipeline: Any, rows: list[dict[str, Any]]) -> None:
    """Whatever is null, unknown or absurd in it, a row gets one score from 0 to 1."""
    found = training.scores(pipeline, pd.DataFrame(rows))
    assert len(found) == len(rows)
    assert all(0 <= score <= 1 for score in found)
