"""A Deployment in Kubernetes, by the scale subresource of the apps/v1 API, which has a real compare-and-set.

Source: kubernetes.io, API reference, Deployment v1 apps, "replace scale of the specified Deployment".
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx

from incidents.assets import Kubernetes
from remediations.base import CannotPlan, Conflict
from remediations.clients import http
from remediations.services.base import Running


class KubernetesDeployment(Running):
    """One Deployment. Its role needs ``get`` and ``update`` on ``deployments/scale`` in its namespace, and no more."""

    def __init__(self, place: Kubernetes) -> None:
        self.place = place
        api = place.api.rstrip("/")
        self.url = f"{api}/apis/apps/v1/namespaces/{place.namespace}/deployments/{place.deployment}/scale"

    def count(self) -> int:
        """The replicas that are wanted."""
        return _replicas(self._scale())

    def settled(self) -> bool:
        """Whether so many run as are wanted."""
        scale = self._scale()
        return int(scale.get("status", {}).get("replicas", 0)) == _replicas(scale)

    def set_count(self, count: int, expected: int) -> None:
        """Replace the scale as it was read; whoever wrote in between makes the API server refuse it."""
        scale = self._scale()
        if _replicas(scale) != expected:
            raise Conflict(f"{self.place.deployment} has {_replicas(scale)} replicas, and not {expected}")
        wanted = {**scale, "spec": {"replicas": count}}
        wanted.pop("status", None)
        answer = http().put(self.url, json=wanted, headers=self._headers())
        if answer.status_code == httpx.codes.CONFLICT:
            raise Conflict(f"somebody else scaled {self.place.deployment} at this very moment: left as it is")
        answer.raise_for_status()

    def _scale(self) -> dict[str, Any]:
        answer = http().get(self.url, headers=self._headers())
        if answer.status_code == httpx.codes.NOT_FOUND:
            raise CannotPlan(f"there is no Deployment {self.place.deployment} in namespace {self.place.namespace}")
        return dict(answer.raise_for_status().json())

    def _headers(self) -> dict[str, str]:
        """The token is read each time: Kubernetes replaces it every hour."""
        token = Path(self.place.token_file).read_text(encoding="utf-8").strip()
        return {"Authorization": f"Bearer {token}", "Accept": "application/json"}


def _replicas(scale: dict[str, Any]) -> int:
    return int(scale.get("spec", {}).get("replicas", 0))  # Kubernetes leaves out a zero
