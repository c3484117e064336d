"""Asking, in a transaction of the ledger, for an incident's section to be entered again."""

from __future__ import annotations

from incidents.incident import Incident
from incidents.writer import Writer


def start(writer: Writer, incident: Incident, key: str) -> None:
    """Ask, in the same transaction, for the incident's section to be entered again; the same key asks once."""
    launch = {
        "deployment": f"{incident.category}/{incident.category}",
        "parameters": {"incident": incident.name},
        "name": f"{incident.name} {incident.asset or 'no asset'}",
        "queue": f"severity-{int(incident.severity)}",
    }
    writer.send("launch", key, launch, incident=incident.name)
