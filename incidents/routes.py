"""How alerts come in and people are told: who may send, which alert is what, and over which channels."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Annotated, Literal

from pydantic import AfterValidator

from incidents.models import Alert, Category, Frozen, Severity


def _is_pattern(text: str) -> str:
    try:
        re.compile(text)
    except re.error as error:
        raise ValueError(f"not a regular expression: {error}") from None
    return text


class Sender(Frozen):
    """Who may post alerts to ``/alerts/NAME``."""

    #: The adapter that reads its bodies.
    format: Literal["alertmanager", "generic"]
    #: The environment variable that holds its bearer token; the playbook itself holds no secret.
    token_env: str


class Channel(Frozen):
    """Where people are told: one Apprise URL, taken from the environment because it carries a secret."""

    url_env: str


class Route(Frozen):
    """Which alerts are what. The first route whose patterns all match decides."""

    #: Label -> regular expression that must match the whole value; an empty mapping matches everything.
    when: dict[str, Annotated[str, AfterValidator(_is_pattern)]]
    #: None: the alert is noise and opens no incident.
    category: Category | None
    #: What it is about, made of labels: ``dataset:{dataset}``. An asset that is not declared below counts as none.
    asset: str = ""
    #: Overrules the severity that the sender gave.
    severity: Severity | None = None

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Whether every pattern matches its label; a label that is missing counts as empty."""
        for label, fits in self._patterns:  # noqa: SIM110  # `all` takes twice as long
            if not fits(labels.get(label, "")):
                return False
        return True

    @cached_property
    def _patterns(self) -> list[tuple[str, Callable[[str], object]]]:
        return [(label, re.compile(pattern).fullmatch) for label, pattern in self.when.items()]

    def names(self, alert: Alert) -> str:
        """The asset that the alert's labels name; empty when a label is missing."""
        try:
            return self.asset.format_map(alert.labels)
        except (KeyError, ValueError, IndexError, AttributeError):
            return ""
