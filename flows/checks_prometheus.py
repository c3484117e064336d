"""The check that asks Prometheus: the alert's own query, followed until it is as it should be."""

from __future__ import annotations

import math
import os
from typing import Any

import httpx

from flows.checks import Look
from incidents.models import Frozen, Health, Verdict
from incidents.playbook import playbook
from incidents.upkeep import PromQuery
from remediations.clients import http
from remediations.lineage import serving


class NoAnswer(Exception):
    """Prometheus said nothing that a verdict could be made of; the message says why."""


class QueryCheck(Frozen):
    """Is the one number that a query gives as it should be?"""

    #: The asset that it looks at: ``model:fraud``, ``service:checkout``.
    subject: str
    asked: PromQuery
    #: Metrics follow what happens with a delay, so looking again is worth it.
    patient: bool = True

    @property
    def consecutive(self) -> int:
        """As the playbook says."""
        return self.asked.consecutive

    def look(self) -> Look:
        """Ask for the number and for how many samples it is made of. No data is not health."""
        try:
            value, labels = _ask(self.asked, self.asked.query)
            samples = _ask(self.asked, self.asked.samples)[0] if self.asked.samples else None
        except (NoAnswer, httpx.HTTPError, ValueError) as error:
            return self._look(Health.inconclusive, f"Prometheus gave no usable answer ({_said(error)})")
        seen: dict[str, Any] = {"query": self.asked.query, "value": value, "samples": samples}
        if samples is not None and samples < self.asked.minimum:
            why = f"only {samples:g} samples, {self.asked.minimum:g} are needed"
            return self._look(Health.inconclusive, why, seen)
        version = labels.get(self.asked.version_label) if self.asked.version_label else None
        wanted = self._wanted()
        if self.asked.version_label and wanted and version != wanted:
            why = f"pointer moved, not served: it is at version {wanted}, the number is about {version or 'none'}"
            return self._look(Health.inconclusive, why, seen).model_copy(update={"not_served": wanted})
        well = self.asked.holds(value)
        why = f"{self.asked.query} is {value:g}, {'as' if well else 'and not'} {self.asked.healthy}"
        look = self._look(Health.healthy if well else Health.unhealthy, why, seen)
        return look.model_copy(update={"version": version})

    def _wanted(self) -> str | None:
        """The version that a model's pointer names; None for what has none."""
        kind, _, name = self.subject.partition(":")
        return str(serving(name, playbook().models[name].alias)) if kind == "model" else None

    def _look(self, health: Health, why: str, seen: dict[str, Any] | None = None) -> Look:
        return Look(subject=self.subject, verdict=Verdict(health=health, why=why, evidence=seen or {}))


def _ask(asked: PromQuery, query: str) -> tuple[float, dict[str, str]]:
    """The one number that a query gives now, and its labels.

    Raises:
        NoAnswer: it gives none, several, or NaN; or the query is refused.
        httpx.HTTPError: Prometheus does not answer.
        ValueError: what answers is not Prometheus.
    """
    token = os.environ.get(asked.token_env, "") if asked.token_env else ""
    if asked.token_env and not token:
        raise NoAnswer(f"{asked.token_env} is not set")
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    response = http().post(f"{asked.url.rstrip('/')}/api/v1/query", data={"query": query}, headers=headers)
    if response.status_code not in (200, 400, 422):
        response.raise_for_status()
    told = response.json()
    if not isinstance(told, dict) or told.get("status") != "success":
        raise NoAnswer(f"it refuses {query}: {told.get('error', '') if isinstance(told, dict) else told}"[:500])
    kind, result = told["data"]["resultType"], told["data"]["result"]
    if kind == "scalar":
        value, labels = float(result[1]), {}
    elif kind == "vector" and len(result) == 1:
        value, labels = float(result[0]["value"][1]), dict(result[0]["metric"])
    else:
        raise NoAnswer(f"{query} gives {len(result) if kind == 'vector' else f'a {kind}'} instead of one number")
    if math.isnan(value) or math.isinf(value):
        raise NoAnswer(f"{query} gives {value}")
    return value, labels


def _said(error: Exception) -> str:
    return str(error) if isinstance(error, NoAnswer) else f"{type(error).__name__}: {error}"
