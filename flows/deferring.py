"""A model whose data is an incident too leaves it to that one: data first, then the models that learned from it."""

from __future__ import annotations

import asyncio

from flows.case import Case, Waiting, step
from incidents import events as e
from incidents import family
from incidents.incident import find
from incidents.models import Category
from remediations import pointers
from remediations.base import CannotPlan
from remediations.lineage import learned_from, serving


async def defer(case: Case, model: str) -> None:
    """Wait for an incident about the data that the model in production learned from, where there is one under way.

    Only once, and not after something was begun: told to go on, the section goes on.

    Raises:
        Waiting: there is one; its end starts this section again.
    """
    incident = case.incident
    if incident.attempts or incident.last(e.Released):
        return
    datasets = [f"dataset:{name}" for name in case.playbook.datasets]
    candidates = await asyncio.to_thread(family.under_way, case.ledger, Category.data, datasets)
    if not candidates:
        return
    parent = await step(f"look for the cause in {', '.join(candidates.values())}", _cause, case, model, candidates)
    if parent is None:
        return
    if await asyncio.to_thread(family.defer, case.ledger, case.name, parent, case.actor):
        raise Waiting(f"{parent} is about the data that {model} learned from, and comes first")


def _cause(case: Case, model: str, candidates: dict[str, str]) -> str | None:
    """The incident about a dataset version that the model in production learned from."""
    try:
        current = serving(model, case.playbook.models[model].alias)
    except CannotPlan:
        return None
    for dataset, version in sorted(learned_from(model, current)):
        parent = candidates.get(f"dataset:{dataset}")
        if parent and _is_about(case, parent, dataset, version):
            return parent
    return None


def _is_about(case: Case, parent: str, dataset: str, version: str) -> bool:
    """Whether the incident is about this version: the one that it traced, or as long as it traced none, the current."""
    traced = find(case.ledger, parent).last(e.Traced)
    if traced is not None and isinstance(traced.body, e.Traced):
        return traced.body.version == version
    return pointers.look(f"dataset:{dataset}").version == version
