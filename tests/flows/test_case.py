"""What a flow knows of its incident: always what the record says, and no event is read twice."""

from __future__ import annotations

from flows.case import Case
from incidents import events as e
from incidents.incident import find
from incidents.ledger import Ledger
from incidents.models import Category, Severity
from tests.flows.kit import opened


def test_a_case_knows_what_others_put_on_the_record(ledger: Ledger) -> None:
    """Between two looks its own flow and somebody else add events, and the second look tells of all of them."""
    name = opened(ledger, "model:fraud", Category.model)
    case = Case(name, actor="test")
    assert case.incident == find(ledger, name)
    case.record(e.Started(flow="model", run="1", url=""))
    ledger.append(e.Joined(incident="INC-9", severity=Severity.critical), actor="family", incident=name)
    assert case.incident == find(ledger, name)
    assert case.incident.severity is Severity.critical
    assert case.incident == find(ledger, name)


def test_no_event_is_read_twice(ledger: Ledger) -> None:
    """An incident with long validations on its record is not read anew for every question that is asked of it."""
    name = opened(ledger, "model:fraud", Category.model)
    case = Case(name, actor="test")
    first = case.incident.events[0]
    case.record(e.Started(flow="model", run="1", url=""))
    assert case.incident.events[0] is first
