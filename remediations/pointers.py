"""Where production's pointers are now: an alias in MLflow, a dataset's ``current``, a service's version."""

from __future__ import annotations

from incidents.moves import Sight
from incidents.playbook import playbook
from remediations.base import CannotPlan
from remediations.datasets import open_store
from remediations.datasets.base import NotPublished
from remediations.lineage import serving
from remediations.services import open_service


def look(asset: str) -> Sight:
    """Where the pointer of a declared asset is: ``model:fraud``, ``dataset:transactions``.

    Raises:
        KeyError: the playbook does not declare it.
    """
    kind, _, name = asset.partition(":")
    if kind == "model":
        alias = playbook().models[name].alias
        target = f"models:/{name}@{alias}"
        try:
            return Sight(target=target, version=str(serving(name, alias)))
        except CannotPlan:
            return Sight(target=target, version=None)
    if kind == "service":
        return _service(name)
    try:
        current = open_store(playbook().datasets[name].store, name).current()
    except NotPublished:
        return Sight(target=asset, version=None)
    return Sight(target=asset, version=current.version, by=current.moved_by)


def declared() -> list[str]:
    """Every declared asset that has a pointer."""
    book = playbook()
    return [
        *(f"dataset:{name}" for name in book.datasets),
        *(f"model:{name}" for name in book.models),
        *(f"service:{name}" for name, service in book.services.items() if service.has_versions),
    ]


def _service(name: str) -> Sight:
    target = f"service:{name}@version"
    try:
        return Sight(target=target, version=open_service(playbook().services[name]).version())
    except CannotPlan:
        return Sight(target=target, version=None)
