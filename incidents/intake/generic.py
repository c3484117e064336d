"""Our own format, for a sender that speaks no other: one alert, or ``{"alerts": [...]}`` of them.

Only ``name`` is needed. ``fingerprint`` says which alert it is (else its name and labels do), ``startsAt`` which
firing of it (RFC 3339; else one counts as new when it comes after the end of the last), ``status`` is ``firing`` or
``resolved``, ``severity`` any word that ``incidents.intake.SEVERITIES`` knows.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, StringConstraints, ValidationError

from incidents.intake import Parsed, Unreadable, WrongShape, reading, severity
from incidents.models import Alert

_Short = Annotated[str, StringConstraints(max_length=200)]
_Texts = dict[str, str]


class GenericAlert(BaseModel):
    """One alert in our own format."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    name: Annotated[str, StringConstraints(min_length=1, max_length=reading.LONGEST_NAME)]
    status: Literal["firing", "resolved"] = "firing"
    fingerprint: _Short = ""
    severity: _Short = ""
    starts_at: _Short = Field("", alias="startsAt")
    labels: _Texts = Field(default_factory=dict)
    annotations: _Texts = Field(default_factory=dict)
    link: str = ""


_FIELDS = tuple(field.alias or name for name, field in GenericAlert.model_fields.items())


def parse(document: JsonValue, received: datetime, *, clean: bool = False) -> Parsed:
    """Read one delivery; in a list, an alert that can't be read is set aside, and the others are not affected.

    ``clean``: nothing in it can be a secret, so none is looked for.

    Raises:
        WrongShape: it is neither one alert nor an object with a list of them; it names the fields to change.
    """
    if not isinstance(document, dict):
        raise WrongShape("the document must be an object: one alert, or alerts with a list of them")
    if "alerts" not in document:
        try:
            return Parsed(((0, _alert(document, received, clean)),))
        except Unreadable as why:
            raise WrongShape(*str(why).split("; ")) from None
    alerts, set_aside = [], []
    for index, raw in enumerate(reading.alert_list(document["alerts"])):
        try:
            alerts.append((index, _alert(raw, received, clean)))
        except Unreadable as why:
            set_aside.append((index, str(why)))
    return Parsed(tuple(alerts), tuple(set_aside))


def _alert(raw: Any, received: datetime, clean: bool) -> Alert:
    if not isinstance(raw, dict):
        raise Unreadable("it is not an object")
    try:
        given = GenericAlert.model_validate(raw)
    except ValidationError as error:
        problems = dict.fromkeys(_problem(item) for item in error.errors(include_input=False, include_url=False))
        raise Unreadable("; ".join(problems)) from None
    notes = reading.Notes(clean=clean)
    labels = reading.label_texts(given.labels, notes)
    name = reading.name(given.name, notes)
    episode, starts_at = ("", received)
    if given.starts_at:
        episode, starts_at = reading.beginning(given.starts_at, received, notes)
    # an alert without a fingerprint is nothing odd here, and not worth a note
    of_fingerprint = notes if given.fingerprint else reading.Notes(clean=clean)
    return Alert(
        source="generic",
        fingerprint=reading.fingerprint(given.fingerprint, [name, labels], of_fingerprint),
        episode=episode,
        starts_at=starts_at,
        firing=given.status == "firing",
        name=name,
        labels=labels,
        annotations=reading.annotation_texts(given.annotations, notes),
        severity=severity(labels, given.severity),
        link=reading.link(given.link, notes),
        notes=tuple(notes),
    )


def _problem(item: Any) -> str:
    """One line about one error. It names our fields only: a key of the document is the document's own text."""
    field = item["loc"][0] if item["loc"] else ""
    if item["type"] == "extra_forbidden" or field not in _FIELDS:
        return f"there is a field that is not known; the fields are {', '.join(_FIELDS)}"
    return f"{field}: {item['msg'][:1].lower()}{item['msg'][1:]}"
