"""How the parts of an alert are read, whoever sent it: bounded, without control characters, and without secrets.

Where something is odd but the alert can be acted on all the same, it is read, and a note says how.
"""

from __future__ import annotations

import hashlib
import re
from datetime import UTC, datetime, timedelta
from typing import Any

from incidents.intake import Unreadable, WrongShape
from incidents.models import digest
from incidents.redaction import Redaction, Rule, possible

#: More alerts than this in one delivery are refused; 10,000 were seen in one from a real Alertmanager.
MOST_ALERTS = 20_000

#: Labels say which alert it is, so an alert that goes beyond these is set aside and never cut.
MOST_LABELS, LONGEST_NAME, LONGEST_VALUE = 100, 200, 2048

#: Annotations are for people, so they are cut. Characters, as everywhere here.
MOST_ANNOTATIONS, LONGEST_ANNOTATION, LONGEST_LINK = 50, 4096, 2048

#: What an alert without a name is called.
UNNAMED = "unnamed"

#: A beginning further ahead of our clock than this can't be right.
AHEAD = timedelta(minutes=5)

#: The rules that may match, found once for many texts and their names; None: not known yet.
Rules = tuple[Rule, ...] | None

#: What PostgreSQL can't hold, UTF-8 can't carry or a terminal obeys. Tab and newline stay.
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")


class Notes(list[str]):
    """What was odd about an alert, a sentence each; and whether its delivery can hold a secret at all."""

    def __init__(self, *, clean: bool = False) -> None:
        super().__init__()
        #: The rules to follow, as far as the delivery tells: none, or any.
        self.rules: Rules = () if clean else None

    def rules_for(self, raw: object) -> Rules:
        """The rules that may match somewhere in one part of the alert."""
        return possible(repr(raw)) if self.rules is None else self.rules


def text(value: str, rules: Rules = None) -> str:
    """The text with control characters replaced, and without secrets."""
    plain = _plain_text(value)
    return plain if rules == () else Redaction(rules).text(plain)


def _plain_text(value: str) -> str:
    return value if value.isprintable() else _CONTROL.sub("\ufffd", value.replace("\r\n", "\n"))


def _noted(value: str, kind: str, name: str, notes: Notes, rules: Rules) -> str:
    """As ``text``, with a note where a secret was taken out; a value whose name says that it is one goes whole."""
    plain = _plain_text(value)
    if rules == ():
        return plain
    redaction = Redaction(rules)
    clean: str = redaction.named(name, plain)
    if redaction.count:
        notes.append(redaction.note(f"{kind} {name}".strip()))
    return clean


def alert_list(raw: Any) -> list[Any]:
    """The alerts of a delivery, as they stand in it.

    Raises:
        WrongShape: it is no list, or too long a one.
    """
    if not isinstance(raw, list):
        raise WrongShape("alerts must be a list")
    if len(raw) > MOST_ALERTS:
        raise WrongShape(f"alerts has more than {MOST_ALERTS} entries; send them in several deliveries")
    return raw


def label_texts(raw: Any, notes: Notes) -> dict[str, str]:
    """The labels; numbers and booleans as text, and a null counts as a missing label.

    Raises:
        Unreadable: they are not an object of texts, or beyond the bounds.
    """
    if raw is None:
        return {}
    if not isinstance(raw, dict):
        raise Unreadable("labels is not an object")
    if len(raw) > MOST_LABELS:
        raise Unreadable(f"it has more than {MOST_LABELS} labels")
    read: dict[str, str] = {}
    rules = notes.rules_for(raw)
    for name, value in raw.items():
        if value is None:
            continue
        plain = _plain(value)
        if plain is None:
            raise Unreadable("the value of a label is not text")
        if len(name) > LONGEST_NAME or len(plain) > LONGEST_VALUE:
            raise Unreadable(f"a label is longer than {LONGEST_NAME} characters, or its value than {LONGEST_VALUE}")
        clean_name = text(name, rules)
        read[clean_name] = _noted(plain, "label", clean_name, notes, rules)
    return read


def name(raw: str, notes: Notes) -> str:
    """The alert's name, of at most ``LONGEST_NAME`` characters: it is part of a key.

    Raises:
        Unreadable: it is longer.
    """
    clean = text(raw, notes.rules) or UNNAMED
    if len(clean) > LONGEST_NAME:
        raise Unreadable(f"its name is longer than {LONGEST_NAME} characters")
    return clean


def annotation_texts(raw: Any, notes: Notes) -> dict[str, str]:
    """The annotations, cut to the bounds; what is no text is left out."""
    if raw is None:
        return {}
    if not isinstance(raw, dict):
        notes.append("annotations is not an object, and was left out")
        return {}
    read: dict[str, str] = {}
    rules = notes.rules_for(raw)
    for name, value in raw.items():
        plain = _plain(value)
        if plain is None or len(name) > LONGEST_NAME or len(read) == MOST_ANNOTATIONS:
            _add(notes, "an annotation that is no text, has too long a name or is one too many was left out")
            continue
        clean_name = text(name, rules)
        # before the cut, which could part a secret from what it is known by
        clean = _noted(plain, "annotation", clean_name, notes, rules)
        if len(clean) > LONGEST_ANNOTATION:
            _add(notes, f"an annotation was cut at {LONGEST_ANNOTATION} characters")
        read[clean_name] = clean[:LONGEST_ANNOTATION]
    return read


def fingerprint(raw: Any, identity: object, notes: Notes) -> str:
    """The sender's fingerprint; where there is none, the SHA-256 of ``identity``, which is what makes the alert."""
    plain = text(_plain(raw) or "", notes.rules) if not isinstance(raw, bool) else ""
    if not plain:
        notes.append("it has no fingerprint; the SHA-256 of its labels is used")
        return digest(identity)
    if not isinstance(raw, str):
        notes.append("its fingerprint is a number, and was read as text")
    return _within(plain, 128)


def beginning(raw: Any, received: datetime, notes: Notes) -> tuple[str, datetime]:
    """The episode, which is the beginning as the sender wrote it, and the beginning as a time that can be right."""
    episode = _within(text(_plain(raw) or "", notes.rules), 64)
    found = moment(raw)
    if found is None:
        notes.append("when it began is missing or no time; the time of receipt is used")
    elif found > received + AHEAD:
        notes.append("its beginning is ahead of our clock; the time of receipt is used")
        found = None
    return episode, found or received


def firing(status: Any, ends_at: Any, received: datetime, notes: Notes) -> bool:
    """Whether it goes on: as the status says; without one, unless its end is past."""
    word = status.strip().casefold() if isinstance(status, str) else ""
    if word in ("firing", "resolved"):
        return word == "firing"
    notes.append("its status is neither firing nor resolved; it counts as firing unless its end is past")
    end = moment(ends_at)
    return end is None or end > received


def link(raw: Any, notes: Notes) -> str:
    """The link if it is http or https; it is kept as text and never fetched."""
    if not raw:
        return ""
    if not isinstance(raw, str) or not re.fullmatch(r"https?://\S+", raw, re.I) or len(raw) > LONGEST_LINK:
        notes.append("its link is not an http or https address of a usable length, and was left out")
        return ""
    return _noted(raw, "link", "", notes, notes.rules)


def moment(raw: Any) -> datetime | None:
    """An RFC 3339 time in UTC; None for what is none, zero times included."""
    if not isinstance(raw, str):
        return None
    try:
        found = datetime.fromisoformat(raw.strip())
        found = found.astimezone(UTC) if found.tzinfo else found.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        return None
    return found if found.year > 1970 else None


def _plain(value: Any) -> str | None:
    """A scalar as text; None for anything else."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, str | int | float) else None


def _within(value: str, longest: int) -> str:
    """The text itself where it fits a column of that length, otherwise its SHA-256 in hex, which has 64."""
    return value if len(value) <= longest else hashlib.sha256(value.encode()).hexdigest()


def _add(notes: Notes, note: str) -> None:
    if note not in notes:
        notes.append(note)
