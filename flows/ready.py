"""What a process can have at hand before it knows which incident it is for. It asks nothing of production yet."""

from __future__ import annotations

from pathlib import Path

from expectations import parquet
from incidents.ledger import ledger
from incidents.playbook import playbook
from incidents.settings import settings
from remediations import clients

_CACHED = (settings, playbook, ledger, clients.s3, clients.registry, clients.http)


def ready() -> int:
    """Read the playbook, open the ledger, make what the playbook's assets need; returns ``stamp()``."""
    stamped = stamp()
    declared = playbook()
    ledger().incidents(limit=1)
    if declared.datasets:
        parquet.get_ready()
    if any(dataset.store.startswith("s3") for dataset in declared.datasets.values()):
        clients.s3()
    if declared.models:
        clients.registry()
        clients.http()
    return stamped


def stamp() -> int:
    """When the playbook's file was changed; another value means that what was made ready is out of date."""
    try:
        return Path(settings().playbook).stat().st_mtime_ns
    except OSError:
        return 0


def forget() -> None:
    """Let everything be made anew, from the environment as it is now."""
    for cached in _CACHED:
        cached.cache_clear()
