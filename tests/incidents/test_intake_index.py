"""The captured and the hostile deliveries beside the repository, each with the answer that is right for it."""

from __future__ import annotations

import csv
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select

from incidents.events import Opened
from incidents.incident import find
from incidents.intake import alertmanager
from incidents.ledger import Ledger
from incidents.models import Category, Severity
from incidents.playbook import Playbook
from incidents.schema import outbox
from tests.incidents.posting import HEADERS, SHARED, TOKENS, Poster, group

pytestmark = pytest.mark.skipif(not SHARED.is_dir(), reason="there is no ../shared with alerts beside the repository")

BAD, REAL = SHARED / "bad", SHARED / "payloads"
BULK = "alertmanager/rig_bulk_10k_alerts_5MB.json"

#: Alerts of hostile deliveries that could not be read, where not none.
SET_ASIDE = {"050": 1, "051": 1, "052": 1, "057": 3, "059": 1}

#: What the hostile deliveries open where it is not a data incident: what is left of them says less.
CATEGORIES = {"058": Category.infrastructure, "061": Category.model}


def index(folder: Path, *places: str) -> list[dict[str, str]]:
    """The rows of an index whose file or endpoint begins with one of these."""
    if not folder.is_dir():
        return []
    with (folder / "INDEX.tsv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    return [row for row in rows if (row.get("endpoint") or row["file"]).startswith(places)]


ROWS = index(BAD, "/alertmanager", "/hooks/nosuch")
CAPTURED = index(REAL, "alertmanager/", "alertmanager_public_rules/")


@pytest.fixture
def poster(ledger: Ledger, book: Playbook, monkeypatch: pytest.MonkeyPatch) -> Poster:
    """A sender with the right token, and an empty ledger behind the app."""
    for name, value in TOKENS.items():
        monkeypatch.setenv(name, value)
    return Poster(ledger, book)


def post_bad(poster: Poster, row: dict[str, str]) -> Any:
    """One hostile delivery with its own headers, and the right token where it brings none."""
    headers = {"Authorization": HEADERS["Authorization"], **json.loads((BAD / f"{row['file']}.headers").read_bytes())}
    sender = "nosuch" if "nosuch" in row["endpoint"] else "alertmanager"
    return poster.request(
        "POST", f"/alerts/{sender}", content=(BAD / row["file"]).read_bytes(), headers=list(headers.items())
    )


@pytest.mark.parametrize(
    "row", [row for row in ROWS if not row["file"].endswith(".jsonl")], ids=lambda row: str(row["file"])
)
def test_a_hostile_delivery_gets_its_right_answer(poster: Poster, ledger: Ledger, row: dict[str, str]) -> None:
    """The status the index says, the incident it still deserves, and nothing of the body in an error."""
    number = row["file"][:3]
    if number == "076":  # the end of an alert that began, as an end is
        document = json.loads((BAD / row["file"]).read_bytes())
        assert poster.post(group({**document["alerts"][0], "status": "firing"})).status_code == 202
    answer = post_bad(poster, row)
    assert answer.status_code == int(row["right_answer"]), answer.text
    if answer.status_code >= 400:
        assert answer.headers["content-type"] == "application/problem+json"
        assert "fraud-xgb" not in answer.text
        assert ledger.events() == []
    else:
        assert answer.json()["set_aside"] == SET_ASIDE.get(number, 0)
        opened = [event.body for event in ledger.events() if isinstance(event.body, Opened)]
        expected = [] if number in ("050", "052", "059", "078") else [CATEGORIES.get(number, Category.data)]
        assert [body.category for body in opened] == expected
        assert [body.asset for body in opened] == [None] * len(expected)
        record = "".join(event.model_dump_json() for event in ledger.events())
        assert "hunter2" not in record
        assert "s3cr3t" not in record
        assert "javascript:" not in "".join(body.alert.link for body in opened if body.alert)


@pytest.mark.skipif(not BAD.is_dir(), reason="there is no ../shared/bad beside the repository")
def test_a_flapping_alert_is_one_incident(poster: Poster, ledger: Ledger) -> None:
    """200 deliveries, one job; each end names a beginning that never came, so it asks for nothing."""
    answers = [poster.post(line) for line in (BAD / "180_flap_200.jsonl").read_bytes().splitlines()]
    assert [answer.status_code for answer in answers] == [202, 200] * 100
    incident = find(ledger, "INC-1")
    assert len(ledger.incidents()) == 1
    assert len(incident.alerts) == 100
    with ledger.engine.connect() as connection:
        assert connection.scalar(select(func.count()).select_from(outbox)) == 1


@pytest.mark.skipif(not REAL.is_dir(), reason="there is no ../shared/payloads beside the repository")
def test_categories_and_severities_of_real_alerts(book: Playbook) -> None:
    """The shipped routes read real alerts as a person did; a severity is the sender's own word and never a guess."""
    right, wrong = 0, list[str]()
    for row in CAPTURED:
        if row["file"] == "alertmanager/rig_group_stale_resolved_resend.json":
            continue  # whether it opens anything depends on what is over: see below
        parsed = alertmanager.parse(json.loads((REAL / row["file"]).read_bytes()), datetime.now(UTC))
        worst = min((alert for _, alert in parsed.alerts), key=lambda alert: alert.severity)
        if row["expected_severity"] != "-":
            assert worst.severity is Severity(int(row["expected_severity"])), row["file"]
        route = book.route(worst)
        found = (route.category or "none") if route else "set aside"
        if found == row["expected_category"] or f"ambiguous {found}" in row["reason"]:
            right += 1
        else:
            wrong.append(f"{row['file']}: {found}, a person says {row['expected_category']}")
    print(f"{right} of {right + len(wrong)} categories agree")
    assert right >= 0.9 * (right + len(wrong)), wrong


@pytest.mark.parametrize("row", [row for row in CAPTURED if row["file"] != BULK], ids=lambda row: str(row["file"]))
def test_a_captured_delivery_opens_what_it_should(poster: Poster, ledger: Ledger, row: dict[str, str]) -> None:
    """An incident where alerts fire, none for noise or for what is over; sent again it changes nothing."""
    body = (REAL / row["file"]).read_bytes()
    fires = any(alert["status"] == "firing" for alert in json.loads(body)["alerts"])
    opens = fires and row["expected_category"] != "none"
    answer = poster.post(body)
    assert answer.status_code == (202 if opens else 200)
    assert bool(answer.json()["opened"]) is opens
    count = len(ledger.events())
    assert poster.post(body).status_code == 200
    assert len(ledger.events()) == count


@pytest.mark.skipif(not REAL.is_dir(), reason="there is no ../shared/payloads beside the repository")
def test_ten_thousand_alerts_in_one_delivery(poster: Poster, ledger: Ledger) -> None:
    """A real Alertmanager sent them as one body of 5 MB; they are one incident, and each of them is on the record."""
    body = (REAL / BULK).read_bytes()
    answer = poster.post(body)
    assert answer.status_code == 202
    assert answer.json() == {
        "opened": 1,
        "joined": 9999,
        "ended": 0,
        "set_aside": 0,
        "unchanged": 0,
        "incidents": ["INC-1"],
    }
    assert len(ledger.events()) == 10_000
    assert poster.post(body).json()["unchanged"] == 10_000


@pytest.mark.skipif(not REAL.is_dir(), reason="there is no ../shared/payloads beside the repository")
def test_a_message_without_a_name_is_no_alert(poster: Poster, ledger: Ledger) -> None:
    """A generic sender that says nothing to classify by is told what is missing."""
    for row in index(REAL, "generic/"):
        answer = poster.post((REAL / row["file"]).read_bytes(), "generic")
        assert answer.status_code == 422
        assert "name: field required" in answer.json()["errors"]
    assert ledger.events() == []
