"""The files of a registered model's version, as MLflow keeps them, and the digest that its bytes are known by."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import TypeVar

from incidents.models import Frozen, digest
from remediations.base import RemediationError
from remediations.datasets.layout import sha256_of

T = TypeVar("T")

#: Files that say how a model was made and what it needs. Logged again, the same model has others.
_ABOUT = {
    *("MLmodel", "conda.yaml", "python_env.yaml", "requirements.txt", "registered_model_meta"),
    *("input_example.json", "serving_input_example.json", "model_config.yaml"),
}


class Unreadable(RemediationError):
    """The files of a model version could not be read, so nothing is known about them."""


class File(Frozen):
    """One file of a version, by its path inside of it."""

    path: str
    bytes: int


def uri(model: str, version: int | str) -> str:
    """``models:/fraud/3``."""
    return f"models:/{model}/{version}"


def files(model: str, version: int | str) -> list[File]:
    """Every file of a version with its size, in order; reads none of them.

    Raises:
        Unreadable: MLflow or its artifact store does not answer, or has no such version.
    """
    from mlflow.artifacts import list_artifacts

    def walk(folder: str) -> Iterator[File]:
        for found in list_artifacts(artifact_uri=f"{uri(model, version)}/{folder}".rstrip("/")):
            # Whether a path is told from the version's root or from the folder asked for differs between stores.
            path = found.path if not folder or found.path.startswith(f"{folder}/") else f"{folder}/{found.path}"
            if found.is_dir:
                yield from walk(path)
            else:
                yield File(path=path, bytes=found.file_size or 0)

    return sorted(_reading(model, version, lambda: list(walk(""))), key=lambda file: file.path)


@contextmanager
def fetched(model: str, version: int | str) -> Iterator[Path]:
    """A temporary folder with every file of a version; nothing of it is loaded.

    Raises:
        Unreadable: as ``files``.
    """
    from mlflow.artifacts import download_artifacts

    with TemporaryDirectory(prefix="lastgood-model-") as folder:
        found = _reading(model, version, lambda: download_artifacts(uri(model, version), dst_path=folder))
        yield Path(found)


def fetch_file(model: str, version: int | str, path: str, into: Path) -> Path:
    """Download one file of a version.

    Raises:
        Unreadable: as ``files``.
    """
    from mlflow.artifacts import download_artifacts

    wanted = f"{uri(model, version)}/{path}"
    return Path(_reading(model, version, lambda: download_artifacts(wanted, dst_path=str(into))))


def digest_of(folder: Path) -> str:
    """SHA-256 over the names and contents of the files that are the model itself, whoever registered it."""
    paths = sorted(file for file in folder.rglob("*") if file.is_file())
    weights = [file for file in paths if file.name not in _ABOUT] or paths
    return digest([[str(PurePosixPath(file.relative_to(folder))), sha256_of(file)] for file in weights])


def _reading(model: str, version: int | str, read: Callable[[], T]) -> T:
    from mlflow.exceptions import MlflowException

    try:
        return read()
    except (MlflowException, OSError) as error:
        raise Unreadable(f"the files of {model} {version} could not be read: {error}"[:500]) from error
