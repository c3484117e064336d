"""Asking, in a transaction of the ledger, for an incident's section to be entered."""

from __future__ import annotations

from typing import Any

from incidents.incident import Incident
from incidents.models import Category, Severity
from incidents.writer import Writer


def start(writer: Writer, incident: Incident, key: str) -> None:
    """Ask, in the same transaction, for the incident's section to be entered again; the same key asks once."""
    launch = section(incident.name, incident.category, incident.severity, incident.asset)
    writer.send("launch", key, launch, incident=incident.name)


def section(incident: str, category: Category, severity: Severity, asset: str | None) -> dict[str, Any]:
    """The run of an incident's section, as a job of the outbox names it."""
    return {
        "deployment": f"{category}/{category}",
        "parameters": {"incident": incident},
        "name": f"{incident} {asset or 'no asset'}",
        "queue": f"severity-{int(severity)}",
    }
