"""The intake: what senders post, read into one shape, stored, and acknowledged only then.

What every adapter shares stands here: what it gives back, how it refuses, and the words for severity.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from incidents.models import Alert, Severity

_WORDS = {
    Severity.critical: "critical crit page p1 sev1 1 fatal emergency emerg",
    Severity.high: "error err high p2 sev2 2 major",
    Severity.medium: "warning warn medium moderate p3 sev3 3",
    Severity.low: "info low minor p4 p5 sev4 sev5 4 5 notice debug",
}

#: A sender's own word, case-folded -> our severity. A word that is not here is medium.
SEVERITIES: Mapping[str, Severity] = {word: severity for severity, words in _WORDS.items() for word in words.split()}


class WrongShape(Exception):
    """The document is JSON, but not of the sender's format.

    ``problems`` has one line a thing to change. It names fields of the format and repeats nothing of the document.
    """

    def __init__(self, *problems: str) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


class Unreadable(Exception):
    """One alert of a delivery can't be read, and is set aside; the message says why, the others are not affected."""


@dataclass(frozen=True)
class Parsed:
    """What an adapter read from one delivery."""

    #: Place in the delivery, from 0 -> the alert.
    alerts: tuple[tuple[int, Alert], ...]
    #: Place in the delivery -> why that alert could not be read.
    set_aside: tuple[tuple[int, str], ...] = ()
    #: What was odd about the delivery as a whole; each of its alerts carries it as well.
    notes: tuple[str, ...] = ()


def severity(labels: Mapping[str, str], word: str = "") -> Severity:
    """The sender's word as one of ours: ``word``, else the label ``severity``, else ``priority``, else medium."""
    said = word or labels.get("severity") or labels.get("priority") or ""
    return SEVERITIES.get(said.strip().casefold(), Severity.medium)
