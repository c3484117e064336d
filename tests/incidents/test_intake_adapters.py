"""The adapters: a sender's document becomes alerts, and one bad alert never costs the others."""

from __future__ import annotations

import json
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from incidents.intake import Parsed, WrongShape, alertmanager, generic, reading
from incidents.models import Alert, Severity, digest
from tests.incidents.posting import ACCURACY, ACCURACY_RESOLVED, DRIFT, DRIFT_AGAIN, group, payload, raw_alert

RECEIVED = datetime(2026, 11, 23, 14, 0, tzinfo=UTC)
PARSERS = [alertmanager.parse, generic.parse]


def read(document: Any) -> Parsed:
    """The document as Alertmanager's."""
    return alertmanager.parse(document, RECEIVED)


def only(parsed: Parsed) -> Alert:
    """The one alert that was read."""
    [(index, alert)] = parsed.alerts
    assert index == 0
    return alert


def test_a_real_delivery_is_read_whole() -> None:
    """Every field of the alert that a real Alertmanager sent has its place."""
    alert = only(read(json.loads(payload(ACCURACY))))
    assert alert.source == "alertmanager"
    assert alert.name == "ModelAccuracyDrop"
    assert alert.firing
    assert alert.severity is Severity.critical
    assert alert.labels["model"] == "churn-lr"
    assert alert.annotations["summary"]
    assert alert.link.startswith("http://")
    assert alert.notes == ()
    assert alert.starts_at.isoformat().replace("+00:00", "Z").startswith(alert.episode[:19])


def test_a_resolve_is_of_the_same_episode_and_a_refire_of_another() -> None:
    """Fingerprint and beginning say which firing it is; a re-fire has the fingerprint and a new beginning."""
    fired, over = (only(read(json.loads(payload(name)))) for name in (ACCURACY, ACCURACY_RESOLVED))
    assert (fired.fingerprint, fired.episode) == (over.fingerprint, over.episode)
    assert not over.firing
    first, again = (only(read(json.loads(payload(name)))) for name in (DRIFT, DRIFT_AGAIN))
    assert first.fingerprint == again.fingerprint
    assert first.episode != again.episode


def test_the_status_of_the_group_says_nothing() -> None:
    """A group that calls itself resolved can hold alerts that fire."""
    assert only(read(group(raw_alert(), status="resolved"))).firing
    assert not only(read(group(raw_alert(status="resolved"), status="firing"))).firing


def test_what_cant_be_read_is_set_aside_by_its_place() -> None:
    """The good alert among bad ones is read, and each bad one is named by where it stands."""
    bad = [None, "x", 3, raw_alert(labels=["a"]), raw_alert(labels={"alertname": "x" * 500})]
    parsed = read(group(raw_alert(), *bad, raw_alert(fingerprint="b")))
    assert [index for index, _ in parsed.alerts] == [0, 6]
    assert [index for index, _ in parsed.set_aside] == [1, 2, 3, 4, 5]


def test_alerts_that_were_left_out_are_noted_on_those_that_came() -> None:
    """That the sender cut the group is on the record with every alert of it; a senseless number is not."""
    parsed = read(group(raw_alert(), truncatedAlerts=12))
    assert "12 more" in only(parsed).notes[-1]
    assert parsed.notes == only(parsed).notes[-1:]
    for senseless in (0, -5, "12", True, None, 10**40):
        assert read(group(raw_alert(), truncatedAlerts=senseless)).notes == ()
    assert read(group(raw_alert(), version="99")).notes


def test_an_alert_with_next_to_nothing_is_still_an_alert() -> None:
    """No labels, no name, no fingerprint, no times: it fires, it is medium, and what was odd is noted."""
    alert = only(read({"alerts": [{}]}))
    assert alert.firing
    assert alert.name == "unnamed"
    assert alert.severity is Severity.medium
    assert alert.fingerprint == digest({})
    assert alert.episode == ""
    assert alert.starts_at == RECEIVED
    assert len(alert.notes) == 3


def test_labels_never_overrule_fields() -> None:
    """A label that is named like a field of ours, or asks for a remediation, is only a label."""
    labels = {"alertname": "X", "status": "resolved", "category": "security", "id": "1", "approved": "true"}
    alert = only(read(group(raw_alert(labels=labels))))
    assert alert.firing
    assert alert.labels == labels


@pytest.mark.parametrize("parse", PARSERS)
def test_a_delivery_of_too_many_alerts_is_refused(parse: Any) -> None:
    """16 MB can hold five million empty alerts, and reading those would take all memory."""
    with pytest.raises(WrongShape, match="several deliveries"):
        parse({"alerts": [{}] * (reading.MOST_ALERTS + 1)}, RECEIVED)


@pytest.mark.parametrize("document", [[], None, True, 1, "x", {}, {"alerts": None}, {"alerts": {}}, {"alerts": "x"}])
@pytest.mark.parametrize("parse", PARSERS)
def test_a_document_of_another_shape_is_refused_as_a_whole(parse: Any, document: Any) -> None:
    """There is nothing in it that could be read, and the sender has to hear that."""
    with pytest.raises(WrongShape):
        parse(document, RECEIVED)


def test_a_generic_alert_needs_only_a_name() -> None:
    """It fires now, is medium, and the same name and labels give the same fingerprint."""
    alert = only(generic.parse({"name": "Stale"}, RECEIVED))
    assert alert.firing
    assert alert.severity is Severity.medium
    assert (alert.episode, alert.starts_at, alert.notes) == ("", RECEIVED, ())
    again = only(generic.parse({"name": "Stale", "status": "resolved"}, RECEIVED))
    other = only(generic.parse({"name": "Stale", "labels": {"dataset": "transactions"}}, RECEIVED))
    assert alert.fingerprint == again.fingerprint != other.fingerprint


def test_a_generic_alert_can_say_everything() -> None:
    """Each field of our own format arrives."""
    document: Any = {
        "name": "Stale",
        "fingerprint": "f1",
        "status": "resolved",
        "severity": "P1",
        "startsAt": "2026-11-23T12:00:00Z",
        "labels": {"dataset": "transactions"},
        "annotations": {"summary": "8 h old"},
        "link": "https://host/",
    }
    alert = only(generic.parse(document, RECEIVED))
    assert alert == Alert(
        source="generic",
        fingerprint="f1",
        episode="2026-11-23T12:00:00Z",
        starts_at=datetime(2026, 11, 23, 12, tzinfo=UTC),
        firing=False,
        name="Stale",
        labels={"dataset": "transactions"},
        annotations={"summary": "8 h old"},
        severity=Severity.critical,
        link="https://host/",
    )


def test_a_list_of_generic_alerts_is_read_one_by_one() -> None:
    """As with Alertmanager, a bad one is set aside and the others are read."""
    parsed = generic.parse({"alerts": [{"name": "a"}, {"nam": "b"}, 7, {"name": "c"}]}, RECEIVED)
    assert [index for index, _ in parsed.alerts] == [0, 3]
    assert [index for index, _ in parsed.set_aside] == [1, 2]


@pytest.mark.parametrize(
    ("document", "field"),
    [
        ({"message": "hunter2"}, "name"),
        ({"name": ""}, "name"),
        ({"name": 7}, "name"),
        ({"name": "a", "status": "hunter2"}, "status"),
        ({"name": "a", "labels": {"hunter2": 7}}, "labels"),
        ({"name": "a", "labels": "hunter2"}, "labels"),
        ({"name": "a", "hunter2": 1}, "not known"),
        ({"name": "a", "severity": {"hunter2": 1}}, "severity"),
        ({"name": "\ud800hunter2"}, "name"),
    ],
)
def test_the_refusal_names_the_field_and_repeats_nothing(document: Any, field: str) -> None:
    """The sender learns what to change, and a secret in the document goes nowhere."""
    with pytest.raises(WrongShape) as error:
        generic.parse(document, RECEIVED)
    assert field in str(error.value)
    assert "hunter2" not in str(error.value)


_SCALAR = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(st.characters())
_VALUE = st.recursive(_SCALAR, lambda x: st.lists(x, max_size=3) | st.dictionaries(st.text(), x, max_size=3))
_FIELDS = ["status", "labels", "annotations", "startsAt", "endsAt", "generatorURL", "fingerprint", "name", "severity"]
_NEARLY = st.lists(st.dictionaries(st.sampled_from(_FIELDS), _VALUE) | _VALUE, max_size=4)


@given(_VALUE | st.fixed_dictionaries({"alerts": _NEARLY}) | st.dictionaries(st.sampled_from(_FIELDS), _VALUE))
def test_any_document_is_read_or_refused(document: Any) -> None:
    """No document, far from the format or nearly right, makes an adapter break, and no alert goes missing."""
    for parse in PARSERS:
        with suppress(WrongShape):
            parsed = parse(document, RECEIVED)
            places = sorted(index for index, _ in (*parsed.alerts, *parsed.set_aside))
            assert places == list(range(len(document["alerts"]) if "alerts" in document else 1))
            for _, alert in parsed.alerts:
                alert.model_dump_json().encode()
