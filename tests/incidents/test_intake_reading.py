"""How the parts of an alert are read: bounded, storable, and without secrets."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from incidents.intake import Unreadable, reading, severity
from incidents.models import Severity

RECEIVED = datetime(2026, 11, 23, 13, 0, tzinfo=UTC)

#: Everything a JSON string can hold, lone surrogates included.
ANY_TEXT = st.text(st.characters(exclude_categories=()))


@given(ANY_TEXT)
def test_cleaned_text_can_be_stored_and_stays_as_it_is(value: str) -> None:
    """It is UTF-8, holds no control character but tab and newline, and cleaning it again changes nothing."""
    clean = reading.text(value)
    clean.encode()
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]", clean)
    assert reading.text(clean) == clean


@given(st.text(st.characters(categories=["L", "N"], include_characters=" .-_/\n\t"), max_size=50))
def test_plain_text_is_kept_as_it_is(value: str) -> None:
    """Cleaning takes nothing from text that holds nothing bad."""
    assert reading.text(value) == value


@pytest.mark.parametrize(
    ("given_text", "kept"),
    [
        ("https://user:hunter2@host/", "https://***@host/"),
        ("https://user:p@hunter2@host/a", "https://***@host/a"),
        ("postgresql+psycopg://me:hunter2@db:5432/x", "postgresql+psycopg://***@db:5432/x"),
        ("https://host/?auth_token=hunter2", "https://host/?auth_token=***"),
        ("https://host/?a=1&API_KEY=hunter2&b=2", "https://host/?a=1&API_KEY=***&b=2"),
        ("https://host/?a=1;password=hunter2;more", "https://host/?a=1;password=***"),
        ("https://host/#access_token=hunter2&x=1", "https://host/#access_token=***&x=1"),
        ("https://host/?to=http://in?secret=hunter2", "https://host/?to=http://in?secret=***"),
        ("see https://u:hunter2@h/?sig=hunter2 now", "see https://***@h/?sig=*** now"),
        ("mail anna@example.com about a=b", "mail anna@example.com about a=b"),
        ("http://vm:4611/graph?g0.expr=x%3E1&g0.tab=1", "http://vm:4611/graph?g0.expr=x%3E1&g0.tab=1"),
    ],
)
def test_logins_and_secrets_of_urls_are_taken_out(given_text: str, kept: str) -> None:
    """The ledger keeps everything for ever, so it must not get them."""
    assert reading.text(given_text) == kept


@pytest.mark.parametrize("unit", ["?", "?key", "key", "://", "@", "://a@", "&token", "?a=", "=", "\0"])
def test_cleaning_takes_time_in_proportion_to_the_length(unit: str) -> None:
    """A megabyte made to send a pattern back and forth is cleaned all the same; a quadratic one would never end."""
    assert reading.text(unit * (1_000_000 // len(unit)))


def test_labels_beyond_the_bounds_are_refused() -> None:
    """Labels say which alert it is: too many, too long or no texts can't be cut without making it another alert."""
    bad: list[Any] = [
        [],
        "a=b",
        {"a": {}},
        {"a": ["b"]},
        {f"l{i}": "x" for i in range(reading.MOST_LABELS + 1)},
        {"n" * (reading.LONGEST_NAME + 1): "x"},
        {"n": "x" * (reading.LONGEST_VALUE + 1)},
    ]
    for raw in bad:
        with pytest.raises(Unreadable):
            reading.label_texts(raw, reading.Notes())


def test_labels_that_are_scalars_become_text() -> None:
    """Numbers and booleans are what a careless sender writes; a null is a label that is not there."""
    assert reading.label_texts(None, reading.Notes()) == {}
    assert reading.label_texts({"a": 1, "b": True, "c": 0.5, "d": None, "e": ""}, reading.Notes()) == {
        "a": "1",
        "b": "true",
        "c": "0.5",
        "e": "",
    }


def test_annotations_are_cut_and_the_alert_is_not_lost() -> None:
    """Annotations are for people, so a monstrous one costs no more than itself."""
    notes = reading.Notes()
    nested: Any = "x"
    for _ in range(200):
        nested = {"x": nested}
    raw = {"summary": "s" * 200_000, "deep": nested, "n" * 300: "x", "kept": "yes"}
    read = reading.annotation_texts(raw, notes)
    assert read == {"summary": "s" * reading.LONGEST_ANNOTATION, "kept": "yes"}
    assert len(notes) == 2
    assert len(reading.annotation_texts({str(i): "x" for i in range(1000)}, notes)) == reading.MOST_ANNOTATIONS


@pytest.mark.parametrize(
    ("raw", "episode", "odd"),
    [
        ("2026-11-23T12:57:27.443Z", "2026-11-23T12:57:27.443Z", False),
        ("2026-11-23T12:57:27.999458431Z", "2026-11-23T12:57:27.999458431Z", False),
        ("2026-11-23T13:04:00Z", "2026-11-23T13:04:00Z", False),
        ("0001-01-01T00:00:00Z", "0001-01-01T00:00:00Z", True),
        ("0001-01-01T00:00:00+05:00", "0001-01-01T00:00:00+05:00", True),
        ("9999-12-31T23:59:59-05:00", "9999-12-31T23:59:59-05:00", True),
        ("2027-11-23T12:57:27Z", "2027-11-23T12:57:27Z", True),
        (1795438647443, "1795438647443", True),
        ("last Tuesday", "last Tuesday", True),
        (None, "", True),
        ({}, "", True),
    ],
)
def test_a_beginning_that_cant_be_right_is_the_time_of_receipt(raw: Any, episode: str, odd: bool) -> None:
    """The sender's own text is kept as the episode; the time we go by is one that can be right, and a note says so."""
    notes = reading.Notes()
    found_episode, starts_at = reading.beginning(raw, RECEIVED, notes)
    assert found_episode == episode
    assert bool(notes) is odd
    assert (starts_at == RECEIVED) is odd
    assert abs(starts_at - RECEIVED) < timedelta(hours=1)


@given(st.none() | st.booleans() | st.floats() | st.integers() | ANY_TEXT | st.lists(st.integers(), max_size=2))
def test_keys_always_fit_their_columns(raw: Any) -> None:
    """Whatever stands there, fingerprint and episode are text within the columns they are looked up by."""
    notes = reading.Notes()
    fingerprint = reading.fingerprint(raw, {"a": "b"}, notes)
    episode, starts_at = reading.beginning(raw, RECEIVED, notes)
    assert 0 < len(fingerprint) <= 128
    assert len(episode) <= 64
    assert starts_at.tzinfo is not None
    json.dumps([fingerprint, episode]).encode()


def test_long_keys_stay_apart() -> None:
    """Two fingerprints that differ only at their end are two fingerprints, however long they are."""
    first, second = (reading.fingerprint("f" * 500 + end, {}, reading.Notes()) for end in "ab")
    assert first != second


@pytest.mark.parametrize(
    ("status", "ends_at", "firing"),
    [
        ("firing", "2026-11-01T00:00:00Z", True),
        ("resolved", "0001-01-01T00:00:00Z", False),
        (" Resolved ", None, False),
        (None, "0001-01-01T00:00:00Z", True),
        (None, None, True),
        (None, "2026-11-23T12:59:00Z", False),
        (None, "2026-11-23T13:01:00Z", True),
        ("suppressed", "nonsense", True),
        (7, [], True),
    ],
)
def test_the_status_decides_and_without_one_the_end(status: Any, ends_at: Any, firing: bool) -> None:
    """An alert counts as firing unless it is clear that it does not: an alert too many is better than one lost."""
    assert reading.firing(status, ends_at, RECEIVED, reading.Notes()) is firing


@pytest.mark.parametrize(
    ("raw", "kept"),
    [
        ("http://127.0.0.1:4200/api", "http://127.0.0.1:4200/api"),
        ("HTTPS://host/x", "HTTPS://host/x"),
        ("http://[::ffff:169.254.169.254]/", "http://[::ffff:169.254.169.254]/"),
        ("https://u:hunter2@host/", "https://***@host/"),
        ("javascript:alert(1)", ""),
        ("file:///etc/passwd", ""),
        (" http://host", ""),
        ("http://host/\n<script>", ""),
        ("http://" + "a" * 3000, ""),
        ("", ""),
        (None, ""),
        (7, ""),
    ],
)
def test_only_a_web_address_is_kept_as_a_link(raw: Any, kept: str) -> None:
    """Whoever shows the link later can't be made to show a script."""
    assert reading.link(raw, reading.Notes()) == kept


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        ({"severity": " CRITICAL "}, Severity.critical),
        ({"severity": "page"}, Severity.critical),
        ({"severity": "1"}, Severity.critical),
        ({"severity": "Error"}, Severity.high),
        ({"severity": "warning"}, Severity.medium),
        ({"severity": "info"}, Severity.low),
        ({"priority": "P1"}, Severity.critical),
        ({"priority": "P9"}, Severity.medium),
        ({"severity": "low", "priority": "P1"}, Severity.low),
        ({"severity": "", "priority": "P2"}, Severity.high),
        ({"severity": "none"}, Severity.medium),
        ({}, Severity.medium),
    ],
)
def test_the_senders_word_for_severity(labels: dict[str, str], expected: Severity) -> None:
    """The sender's own word wins; one that is missing or unknown is medium."""
    assert severity(labels) is expected
