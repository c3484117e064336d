"""A delivery on the record: inbox, dedup, incident and outbox, together or not at all."""

from __future__ import annotations

import json
import threading
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import event, func, select

from incidents import audit
from incidents.events import Alerted, AlertEnded, Event, Opened, Resolved, SetAside
from incidents.incident import find
from incidents.intake import alertmanager, generic
from incidents.intake.inbox import Delivery
from incidents.intake.store import Receipt, accept
from incidents.ledger import Ledger
from incidents.models import Category, Severity
from incidents.playbook import Playbook
from incidents.schema import deliveries, episodes, outbox
from tests.incidents.posting import (
    ACCURACY,
    ACCURACY_RESOLVED,
    DRIFT,
    DRIFT_AGAIN,
    SCHEMA_RESOLVED,
    as_bytes,
    group,
    payload,
    raw_alert,
)

RECEIVED = datetime(2026, 11, 23, 14, 0, tzinfo=UTC)


def take(ledger: Ledger, book: Playbook, document: bytes | dict[str, Any], sender: str = "alertmanager") -> Receipt:
    """Bring one delivery onto the record."""
    body = document if isinstance(document, bytes) else as_bytes(document)
    parse = {"alertmanager": alertmanager.parse, "generic": generic.parse}[sender]
    [receipt] = accept(ledger, book, [Delivery(sender, body, parse(json.loads(body), RECEIVED))])
    return receipt


def rows(ledger: Ledger, table: Any) -> list[Any]:
    """Every row of a table."""
    with ledger.engine.connect() as connection:
        return list(connection.execute(select(table)))


def kinds(ledger: Ledger) -> list[str]:
    """What is on the record, in order."""
    return [event.body.kind for event in ledger.events()]


def last(ledger: Ledger) -> Event:
    """The newest event."""
    return ledger.events()[-1]


def test_a_new_alert_opens_an_incident_and_asks_for_its_flow(anywhere: Ledger, book: Playbook) -> None:
    """The body, the episode, the incident and the job to start its flow are all there once it returns."""
    receipt = take(anywhere, book, payload(DRIFT))
    assert receipt == Receipt(opened=1, incidents=("INC-1",))
    assert receipt.new
    incident = find(anywhere, "INC-1")
    assert (incident.category, incident.severity, incident.asset) == (
        Category.data,
        Severity.medium,
        "dataset:transactions",
    )
    assert incident.title == "FeatureDriftPSI: PSI 0.27 on feature merchant_category (fraud-xgb)"
    assert incident.events[0].actor == "intake:alertmanager"
    [job] = rows(anywhere, outbox)
    assert (job.kind, job.key, job.incident, job.done_at) == ("launch", "launch:INC-1", "INC-1", None)
    assert json.loads(job.payload) == {
        "deployment": "data/data",
        "parameters": {"incident": "INC-1"},
        "name": "INC-1 dataset:transactions",
        "queue": "severity-3",
    }
    [delivery] = rows(anywhere, deliveries)
    assert (delivery.body, delivery.seen) == (payload(DRIFT), 1)
    [episode] = rows(anywhere, episodes)
    assert (episode.incident, episode.firing) == ("INC-1", True)
    assert audit.verify(anywhere).broken == ()


def test_the_same_body_a_thousand_times_is_one_incident_and_one_job(ledger: Ledger, book: Playbook) -> None:
    """Alertmanager repeats itself, after a timeout and at every repeat interval; only the first time counts."""
    receipts = [take(ledger, book, payload(DRIFT)) for _ in range(1000)]
    assert [receipt.new for receipt in receipts] == [True] + [False] * 999
    assert receipts[-1] == Receipt(unchanged=1, incidents=("INC-1",))
    assert kinds(ledger) == ["opened"]
    assert len(rows(ledger, outbox)) == 1
    assert [row.seen for row in rows(ledger, deliveries)] == [1000]


def test_eight_at_once_are_one(anywhere: Ledger, book: Playbook) -> None:
    """The look and the write are one transaction, so nobody slips in between."""
    start, receipts = threading.Barrier(8), list[Receipt]()

    def work() -> None:
        start.wait()
        receipts.append(take(anywhere, book, payload(DRIFT)))

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(receipt.new for receipt in receipts) == [False] * 7 + [True]
    assert kinds(anywhere) == ["opened"]
    assert len(rows(anywhere, outbox)) == 1
    assert rows(anywhere, deliveries)[0].seen == 8


def test_another_alert_of_the_same_asset_joins(anywhere: Ledger, book: Playbook) -> None:
    """Three alerts about one dataset are one trouble: one incident, one flow."""
    take(anywhere, book, payload(DRIFT))
    stale = raw_alert(
        fingerprint="2", labels={"alertname": "DatasetStale", "dataset": "transactions", "severity": "page"}
    )
    receipt = take(anywhere, book, group(stale))
    assert receipt == Receipt(joined=1, incidents=("INC-1",))
    assert isinstance(last(anywhere).body, Alerted)
    assert find(anywhere, "INC-1").severity is Severity.critical
    assert len(rows(anywhere, outbox)) == 1


def test_alerts_in_one_delivery_meet_in_one_incident(anywhere: Ledger, book: Playbook) -> None:
    """The incident that the first alert of a delivery opened is live for the second."""
    labels = {"dataset": "transactions", "severity": "warning"}
    alerts = [raw_alert(fingerprint=str(i), labels={"alertname": f"A{i}", **labels}) for i in range(3)]
    receipt = take(anywhere, book, group(*alerts))
    assert receipt == Receipt(opened=1, joined=2, incidents=("INC-1",))


def test_a_refire_opens_another_once_the_first_is_closed(anywhere: Ledger, book: Playbook) -> None:
    """While the incident is live a new episode joins it; afterwards it is a new incident."""
    take(anywhere, book, payload(DRIFT))
    anywhere.append(Resolved(why="it is gone"), actor="flow:data", incident="INC-1")
    assert take(anywhere, book, payload(DRIFT)).new is False
    assert take(anywhere, book, payload(DRIFT_AGAIN)).incidents == ("INC-2",)
    assert kinds(anywhere) == ["opened", "resolved", "opened"]
    assert len(rows(anywhere, outbox)) == 2


def test_the_end_of_an_alert_is_a_hint_and_told_once(anywhere: Ledger, book: Playbook) -> None:
    """Alertmanager repeats a resolve up to 15 times; the incident itself is closed by who saw the symptom gone."""
    take(anywhere, book, payload(ACCURACY))
    receipts = [take(anywhere, book, payload(ACCURACY_RESOLVED)) for _ in range(3)]
    assert [receipt.ended for receipt in receipts] == [1, 0, 0]
    assert isinstance(last(anywhere).body, AlertEnded)
    assert kinds(anywhere) == ["opened", "alert_ended"]
    assert find(anywhere, "INC-1").closed_at is None
    assert [row.firing for row in rows(anywhere, episodes)] == [False]


def test_an_end_that_comes_first_keeps_the_late_beginning_from_opening(anywhere: Ledger, book: Playbook) -> None:
    """Deliveries can overtake each other, and what is over is no incident."""
    assert take(anywhere, book, payload(ACCURACY_RESOLVED)) == Receipt(unchanged=1)
    assert take(anywhere, book, payload(ACCURACY)) == Receipt(unchanged=1)
    assert take(anywhere, book, payload(SCHEMA_RESOLVED)).new is False
    assert kinds(anywhere) == []
    assert rows(anywhere, outbox) == []


def test_firing_and_resolved_in_one_delivery(anywhere: Ledger, book: Playbook) -> None:
    """The alerts of one delivery follow each other as they stand in it, and only the last state is stored."""
    receipt = take(anywhere, book, group(raw_alert(), raw_alert(status="resolved"), raw_alert()))
    assert receipt == Receipt(opened=1, ended=1, unchanged=1, incidents=("INC-1",))
    assert [row.firing for row in rows(anywhere, episodes)] == [False]


def test_without_a_beginning_a_firing_after_the_end_is_new(anywhere: Ledger, book: Playbook) -> None:
    """Nothing tells such firings apart but the end between them; taken for repeats they would be lost for ever."""
    for starts_at in ("0001-01-01T00:00:00Z", "not a time", None):
        alert = raw_alert(startsAt=starts_at, fingerprint=str(starts_at), labels={"alertname": str(starts_at)})
        over = {**alert, "status": "resolved"}
        receipts = [take(anywhere, book, group(one)) for one in (alert, alert, over, over, alert, alert)]
        assert [receipt.new for receipt in receipts] == [True, False, True, False, True, False]
        assert receipts[4].joined == 1


def test_a_storm_of_alerts_about_no_asset_is_one_incident_a_name(anywhere: Ledger, book: Playbook) -> None:
    """Alerts of one name that name nothing declared meet in one incident; another name is another trouble."""
    storm = [raw_alert(fingerprint=str(i), labels={"alertname": "PodDown", "pod": str(i)}) for i in range(50)]
    receipt = take(anywhere, book, group(*storm))
    assert (receipt.opened, receipt.joined, receipt.incidents) == (1, 49, ("INC-1",))
    more = [raw_alert(fingerprint=f"m{name}", labels={"alertname": name}) for name in ("PodDown", "NodeDown")]
    assert take(anywhere, book, group(*more)).incidents == ("INC-1", "INC-2")
    assert len(rows(anywhere, outbox)) == 2
    anywhere.append(Resolved(why="up again"), actor="person:anna", incident="INC-1")
    assert take(anywhere, book, group(raw_alert(fingerprint="n", labels={"alertname": "PodDown"}))).opened == 1


def test_an_undeclared_asset_is_none(anywhere: Ledger, book: Playbook) -> None:
    """A path, a trick or a stranger in a label is no asset, so nothing is ever done to it by itself."""
    for name in ("~root/.ssh/id_rsa", "../../etc/passwd", "transactions\0", "transactions'; --", "stranger"):
        labels = {"alertname": name, "dataset": name}
        receipt = take(anywhere, book, group(raw_alert(fingerprint=name, labels=labels)))
        assert find(anywhere, receipt.incidents[0]).asset is None


def test_noise_opens_nothing(anywhere: Ledger, book: Playbook) -> None:
    """What the playbook calls noise is stored and known, and that is all."""
    receipt = take(anywhere, book, group(raw_alert(labels={"alertname": "Watchdog"})))
    assert receipt == Receipt(unchanged=1)
    assert kinds(anywhere) == []
    assert len(rows(anywhere, episodes)) == 1
    assert take(anywhere, book, group(raw_alert(labels={"alertname": "Watchdog"}, status="resolved"))).new is False


def test_what_cant_be_read_or_routed_waits_for_a_person_once(anywhere: Ledger, book: Playbook) -> None:
    """It is on the record with the delivery and the place it came in, and a repeat is not put there again."""
    strict = book.model_copy(update={"routes": ()})
    body = as_bytes(group(None, raw_alert()))
    receipt = take(anywhere, strict, body)
    assert receipt == Receipt(set_aside=2)
    assert receipt.new
    asides = [event.body for event in anywhere.events()]
    [delivery] = rows(anywhere, deliveries)
    assert {(aside.delivery, aside.index) for aside in asides if isinstance(aside, SetAside)} == {
        (delivery.sha256, 0),
        (delivery.sha256, 1),
    }
    assert take(anywhere, strict, body) == Receipt(unchanged=2)
    assert len(anywhere.events()) == 2


def test_the_route_overrules_the_severity(anywhere: Ledger, book: Playbook) -> None:
    """What the playbook says of a route counts more than the sender's word, for the first alert and for the next."""
    loud = book.routes[-1].model_copy(update={"severity": Severity.critical})
    strict = book.model_copy(update={"routes": (loud,)})
    for fingerprint in "ab":
        take(anywhere, strict, group(raw_alert(fingerprint=fingerprint)))
    opened, joined = (event.body for event in anywhere.events())
    assert isinstance(opened, Opened)
    assert opened.alert is not None
    assert isinstance(joined, Alerted)
    assert opened.severity is opened.alert.severity is joined.alert.severity is Severity.critical


def test_senders_dont_know_each_others_episodes(anywhere: Ledger, book: Playbook) -> None:
    """Two senders may use the same fingerprint for two things."""
    first = {"name": "Stale", "fingerprint": "same", "labels": {"dataset": "transactions"}}
    assert take(anywhere, book, first, "generic").opened == 1
    labels = {"alertname": "Stale", "dataset": "transactions"}
    assert take(anywhere, book, group(raw_alert(fingerprint="same", labels=labels))).joined == 1


def test_what_a_database_cant_hold_is_stored_all_the_same(anywhere: Ledger, book: Playbook) -> None:
    """NUL and lone surrogates come through JSON, and no database takes them as text."""
    nasty = "a\0b\ud800c\x1b[2J"
    alert = raw_alert(
        labels={"alertname": nasty, nasty: nasty}, annotations={"summary": nasty}, fingerprint=nasty, startsAt=nasty
    )
    receipt = take(anywhere, book, group(alert))
    assert receipt.opened == 1
    assert "\ufffd" in find(anywhere, receipt.incidents[0]).title
    assert take(anywhere, book, group(alert, receiver="again")).new is False
    assert audit.verify(anywhere).broken == ()


def test_if_any_of_it_fails_none_of_it_is_stored(anywhere: Ledger, book: Playbook) -> None:
    """The dedup is written with the rest: a delivery that failed half-way is not known when it comes again."""

    def refuse(_connection: Any, _cursor: Any, statement: str, *_more: Any) -> None:
        if statement.startswith("INSERT INTO episodes"):
            raise OSError("the disk is gone")

    event.listen(anywhere.engine, "before_cursor_execute", refuse)
    with pytest.raises(OSError, match="gone"):
        take(anywhere, book, payload(DRIFT))
    event.remove(anywhere.engine, "before_cursor_execute", refuse)
    assert [len(rows(anywhere, table)) for table in (deliveries, episodes, outbox)] == [0, 0, 0]
    assert kinds(anywhere) == []
    assert take(anywhere, book, payload(DRIFT)).opened == 1


def test_a_large_delivery_is_looked_up_in_few_statements(anywhere: Ledger, book: Playbook) -> None:
    """The dedup asks once for 500 episodes, and never once for each."""
    many = [raw_alert(fingerprint=f"{i:05}", labels={"alertname": "Watchdog", "i": str(i)}) for i in range(2000)]
    statements: list[str] = []

    def count(_connection: Any, _cursor: Any, statement: str, *_more: Any) -> None:
        statements.append(statement)

    event.listen(anywhere.engine, "before_cursor_execute", count)
    take(anywhere, book, group(*many))
    assert len(statements) < 20
    with anywhere.engine.connect() as connection:
        assert connection.scalar(select(func.count()).select_from(episodes)) == 2000
    statements.clear()
    over = [{**alert, "status": "resolved"} for alert in many]
    take(anywhere, book, group(*over))
    assert len(statements) < 20
    assert not any(row.firing for row in rows(anywhere, episodes))
