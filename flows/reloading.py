"""A service that does not follow its pointer is told to load what it names: once an incident, and on the record."""

from __future__ import annotations

import os

import httpx

from flows.case import Case
from incidents import events as e
from incidents.upkeep import Reload
from remediations.clients import http


def hook(case: Case, subject: str) -> Reload | None:
    """How the service of ``model:fraud`` is told; None where the playbook does not say, or it was told before."""
    kind, _, name = subject.partition(":")
    declared = case.playbook.models.get(name) if kind == "model" else None
    told = (event.body for event in case.incident.events if isinstance(event.body, e.Reloading))
    if declared is None or any(one.model == name for one in told):
        return None
    return declared.reload


def tell(case: Case, hook: Reload, subject: str, version: str) -> None:
    """Intent, then effect. Whether it helped is seen by looking again, whatever the service answers."""
    name = subject.partition(":")[2]
    address = httpx.URL(hook.url)
    shown = str(address.copy_with(username=None, password=None, query=None, fragment=None))
    case.record(e.Reloading(model=name, version=version, url=shown), subject=subject)
    token = os.environ.get(hook.token_env, "") if hook.token_env else ""
    try:
        if hook.token_env and not token:
            raise ValueError(f"{hook.token_env} is not set")
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        http().request(hook.method, address, headers=headers).raise_for_status()
    except (httpx.HTTPError, ValueError) as error:
        said = f"{type(error).__name__}: {error}".replace(hook.url, shown)
        case.record(e.Failed(step=f"reload {subject}", error=said[:2000]), subject=subject)
