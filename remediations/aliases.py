"""A registered model's alias, moved by one request that is never sent a second time.

MLflow's own client sends a write again whose answer was lost or was a 503, for minutes by default. Meanwhile a person
may have moved the alias, and the second request would move it over theirs. MLflow has no compare-and-set, and keeps no
history by which a first request that landed could be told from one that did not: so the alias is looked at instead.
"""

from __future__ import annotations

from incidents.leases import still_ours
from remediations.base import Conflict
from remediations.clients import registry
from remediations.lineage import serving

_ENDPOINT = "/api/2.0/mlflow/registered-models/alias"


def move(model: str, alias: str, *, expect: int, to: int) -> None:
    """Point the alias at version ``to``, only where it still is at ``expect``; at ``to`` already is success.

    Raises:
        Conflict: it is at neither, or somebody moved it right after; it stays so.
        incidents.leases.Lost: the lease that this is done under has run out.
        mlflow.exceptions.MlflowException: MLflow refused, or does not answer and the alias is not at ``to``.
    """
    from mlflow.exceptions import MlflowException

    found = serving(model, alias)
    if found == to:
        return
    if found != expect:
        raise Conflict(
            f"models:/{model}@{alias} is version {found}, and not {expect} as the plan found it: left as it is"
        )
    still_ours()
    try:
        _send_once(model, alias, to)
    except MlflowException:
        if serving(model, alias) != to:  # it may have landed all the same, and been taken back by a person
            raise
    seen = serving(model, alias)
    if seen != to:
        raise Conflict(f"models:/{model}@{alias} was set to {to}, and somebody set it to {seen} right after")


def _send_once(model: str, alias: str, version: int) -> None:
    from mlflow.utils.rest_utils import http_request, verify_rest_response

    reached = getattr(registry()._get_registry_client().store, "get_host_creds", None)
    if reached is None:  # the registry is a database that this process opens itself: nothing is sent
        registry().set_registered_model_alias(model, alias, str(version))
        return
    body = {"name": model, "alias": alias, "version": str(version)}
    answer = http_request(reached(), _ENDPOINT, "POST", max_retries=0, raise_on_status=False, json=body)
    verify_rest_response(answer, _ENDPOINT)
