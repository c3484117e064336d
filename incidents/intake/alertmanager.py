"""Alertmanager's webhook, version 4, as Alertmanager 0.25 sends it.

Only ``alerts[].status`` counts. The group's own ``status`` says ``resolved`` while alerts fire that ``max_alerts``
cut off, and an alert that is missing from a group is not over.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pydantic import JsonValue

from incidents.intake import Parsed, Unreadable, WrongShape, reading, severity
from incidents.models import Alert


def parse(document: JsonValue, received: datetime, *, clean: bool = False) -> Parsed:
    """Read one delivery; an alert that can't be read is set aside, and the others are not affected.

    ``clean``: nothing in it can be a secret, so none is looked for.

    Raises:
        WrongShape: it is not an object with a list of alerts.
    """
    if not isinstance(document, dict):
        raise WrongShape("the document must be an object, as Alertmanager's webhook sends it")
    notes = _notes(document)
    alerts, set_aside = [], []
    for index, raw in enumerate(reading.alert_list(document.get("alerts"))):
        try:
            alerts.append((index, _alert(raw, received, notes, clean)))
        except Unreadable as why:
            set_aside.append((index, str(why)))
    return Parsed(tuple(alerts), tuple(set_aside), notes)


def _notes(document: dict[str, JsonValue]) -> tuple[str, ...]:
    notes = []
    cut_off = document.get("truncatedAlerts")
    if isinstance(cut_off, int) and not isinstance(cut_off, bool) and 0 < cut_off < 10**9:
        notes.append(f"Alertmanager left {cut_off} more alerts of the group out (max_alerts)")
    if document.get("version") not in ("4", None):
        notes.append("the webhook's version is not 4; it was read as version 4")
    return tuple(notes)


def _alert(raw: Any, received: datetime, group_notes: tuple[str, ...], clean: bool) -> Alert:
    if not isinstance(raw, dict):
        raise Unreadable("it is not an object")
    notes = reading.Notes(clean=clean)
    labels = reading.label_texts(raw.get("labels"), notes)
    episode, starts_at = reading.beginning(raw.get("startsAt"), received, notes)
    return Alert(
        source="alertmanager",
        fingerprint=reading.fingerprint(raw.get("fingerprint"), labels, notes),
        episode=episode,
        starts_at=starts_at,
        firing=reading.firing(raw.get("status"), raw.get("endsAt"), received, notes),
        name=reading.name(labels.get("alertname", ""), notes),
        labels=labels,
        annotations=reading.annotation_texts(raw.get("annotations"), notes),
        severity=severity(labels),
        link=reading.link(raw.get("generatorURL"), notes),
        notes=(*notes, *group_notes),
    )
