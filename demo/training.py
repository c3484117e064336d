"""Trains the demo's fraud model, and leaves on record which version of which dataset it learned from."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from importlib.metadata import version as installed
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import incidents  # noqa: F401  # sets the telemetry switches before MLflow reads them

if TYPE_CHECKING:
    import pandas as pd

#: What the model looks at. Every other column of a transaction is left alone.
CATEGORIES = ("merchant_category", "country", "currency", "channel", "entry_mode")
NUMBERS = ("amount", "card_present", "device_age_days", "distance_from_home_km", "transactions_last_24h")
FEATURES = (*CATEGORIES, *NUMBERS)
LABEL = "is_fraud"
#: A transaction whose score reaches this is called fraud.
THRESHOLD = 0.5
#: The newest fifth of the rows is kept back: a model is judged on what came after it learned.
HOLDOUT = 0.2

#: What a stored model may be made of, besides the types that skops itself trusts. The list that MLflow keeps
#: inside the model is not asked when loading: whoever can write a model can write that list too.
TRUSTED_TYPES = ["sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor"]

_STORED_AS = "model.skops"
_SETTINGS = {"max_iter": 100, "learning_rate": 0.1, "max_leaf_nodes": 31, "random_state": 0}


def features(frame: pd.DataFrame) -> pd.DataFrame:
    """Take the columns the model looks at, in its order: text or null, and float64 where NaN is null.

    Raises:
        KeyError: a column is missing.
        ValueError: a number is not one.
    """
    return frame[list(FEATURES)].astype(dict.fromkeys(CATEGORIES, "object") | dict.fromkeys(NUMBERS, "float64"))


def scores(pipeline: Any, frame: pd.DataFrame) -> list[float]:
    """How likely each row is fraud, from 0 to 1, in the frame's order."""
    with _one_core():
        return [float(score) for score in pipeline.predict_proba(features(frame))[:, 1]]


def train(
    files: Sequence[Path],
    *,
    dataset: str,
    version: str,
    source: str,
    model: str = "fraud",
    alias: str | None = "champion",
) -> int:
    """Train on Parquet ``files``, register the result as the next version of ``model``, and return that version.

    The run names ``dataset`` as its training input with ``version`` as the digest (at most 36 characters) and
    ``source`` as the address it was read from; the model version carries both as tags, ``dataset`` and
    ``dataset_version``. With ``alias``, that alias is moved to the new version at the end.

    Raises:
        ValueError: no files, or fewer than two kinds of label to learn from.
        mlflow.exceptions.MlflowException: MLflow did not answer or refused; a run that had begun is marked failed.
    """
    import mlflow
    import pandas as pd
    from mlflow.entities import Dataset, DatasetInput, InputTag
    from mlflow.models import infer_signature
    from sklearn.metrics import precision_score, recall_score

    from remediations.clients import registry

    if not files:
        raise ValueError("there are no files to learn from")
    frame = pd.concat([pd.read_parquet(file) for file in files]).sort_values("event_time", kind="stable")
    held_back = int(len(frame) * HOLDOUT)
    past, future = frame[: len(frame) - held_back], frame[len(frame) - held_back :]
    if past[LABEL].nunique() < 2:
        raise ValueError("the rows hold only fraud or no fraud at all: there is nothing to learn")

    # The run belongs to this thread, and the experiment is passed by its id: nothing global is set.
    client = registry()
    lineage = {"dataset": dataset, "dataset_version": version}
    with mlflow.start_run(experiment_id=_experiment(client, model), run_name=f"{dataset}@{version}") as run:
        learned_from = Dataset(dataset, version, _kind(source), json.dumps({"uri": source}))
        training = InputTag("mlflow.data.context", "training")
        client.log_inputs(run.info.run_id, [DatasetInput(learned_from, [training])])
        mlflow.log_params({**lineage, **_SETTINGS, "rows": len(past), "frauds": int(past[LABEL].sum())})

        with _one_core():
            pipeline = _pipeline().fit(features(past), past[LABEL])
        called = [score >= THRESHOLD for score in scores(pipeline, future)]
        mlflow.log_metrics(
            {
                "holdout_recall": recall_score(future[LABEL], called, zero_division=0.0),
                "holdout_precision": precision_score(future[LABEL], called, zero_division=0.0),
            }
        )
        stored = mlflow.sklearn.log_model(
            pipeline,
            name=model,
            signature=infer_signature(features(past.head(1_000)), called[:1]),
            # Named here, because MLflow takes many seconds to find them out by itself.
            pip_requirements=[f"{name}=={installed(name)}" for name in ("scikit-learn", "skops", "pandas")],
            skops_trusted_types=TRUSTED_TYPES,
        )
        _ensure_registered(client, model)
        registered = client.create_model_version(
            model,
            stored.model_uri,
            run_id=run.info.run_id,
            model_id=stored.model_id,
            tags=lineage,  # there from the first moment: no version is ever without its lineage
            await_creation_for=0,
        )
    number = int(registered.version)  # an int from the SQL store and a text over HTTP
    if alias is not None:
        client.set_registered_model_alias(model, alias, str(number))
    return number


def load(model_uri: str) -> Any:
    """Fetch a model that ``train`` stored, for instance ``models:/fraud/3``, and build it again.

    Raises:
        mlflow.exceptions.MlflowException: there is no such model, or MLflow did not answer.
        skops.io.exceptions.UntrustedTypesFoundException: it holds a type that is not in ``TRUSTED_TYPES``.
    """
    import mlflow

    with tempfile.TemporaryDirectory(prefix="lastgood-model-") as folder:
        return build(Path(mlflow.artifacts.download_artifacts(model_uri, dst_path=folder)))


def build(stored: Path) -> Any:
    """Build a model from the folder of its files.

    Raises:
        skops.io.exceptions.UntrustedTypesFoundException: as ``load``.
    """
    import skops.io

    return skops.io.load(stored / _STORED_AS, trusted=TRUSTED_TYPES)


def _pipeline() -> Any:
    """Unknown and null categories both become NaN, which the trees treat as missing, like a null number."""
    import numpy as np
    from sklearn.compose import ColumnTransformer
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.pipeline import Pipeline
    from sklearn.preprocessing import OrdinalEncoder

    encode = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=np.nan, encoded_missing_value=np.nan)
    # The trees could take the categories as such, but are then stored with types that should not be trusted.
    columns = ColumnTransformer([("categories", encode, list(CATEGORIES)), ("numbers", "passthrough", list(NUMBERS))])
    return Pipeline(
        [("columns", columns), ("trees", HistGradientBoostingClassifier(early_stopping=False, **_SETTINGS))]
    )


def _one_core() -> Any:
    """Keep OpenMP to one thread: two that wait for each other on a busy machine take ten times as long."""
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]  # it comes without types

    return threadpool_limits(1, user_api="openmp")


def _kind(source: str) -> str:
    """MLflow's word for where an address points: ``s3``, ``https``; a path is ``local``."""
    scheme = urlsplit(source).scheme
    return "local" if scheme in {"", "file"} else scheme


def _experiment(client: Any, name: str) -> str:
    """The id of the experiment called ``name``, made when it is not there."""
    found = client.get_experiment_by_name(name)
    return str(found.experiment_id if found else client.create_experiment(name))


def _ensure_registered(client: Any, model: str) -> None:
    """See that the registry has ``model``, whoever made it."""
    from mlflow.exceptions import MlflowException

    try:
        client.create_registered_model(model)
    except MlflowException as refused:
        if refused.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
