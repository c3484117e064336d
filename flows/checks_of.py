"""Which check looks at which asset, as the playbook declares it."""

from __future__ import annotations

from flows.checks import Check, DatasetCheck, ModelCheck
from flows.checks_prometheus import QueryCheck
from flows.service_checks import ServiceCheck, probe
from incidents.playbook import playbook
from incidents.upkeep import PromQuery


def check_of(asset: str) -> Check | None:
    """The check that shows whether a declared asset is well; None where the playbook declares none."""
    kind, _, name = asset.partition(":")
    declared = playbook()
    if kind == "dataset" and name in declared.datasets and declared.datasets[name].suite:
        return DatasetCheck(dataset=name)
    if kind == "model" and name in declared.models and declared.models[name].health:
        return model_check(name)
    if kind in {"disk", "pipeline", "service"} and probe(asset):
        return ServiceCheck(asset=asset)
    return None


def model_check(model: str) -> Check:
    """The check of a declared model, whichever its health is; without a health it tells nothing."""
    health = playbook().models[model].health
    if isinstance(health, PromQuery):
        return QueryCheck(subject=f"model:{model}", asked=health)
    return ModelCheck(model=model)
