"""The gates on a real ledger: what is folded, what is recorded, and that nobody gets past them between two looks."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import event as hooks
from sqlalchemy import select

from incidents import events as e
from incidents import leases
from incidents.events import Body
from incidents.facts import Request
from incidents.gatekeeper import Refused, ask, consult, gather, intend
from incidents.gates.reach import reach
from incidents.history import AUTOMATION
from incidents.incident import find
from incidents.ledger import Ledger
from incidents.limits import Budget
from incidents.models import Alert, Category, Health, Mode, Risk, Severity, Verdict, now
from incidents.playbook import Model, Playbook
from incidents.schema import outbox
from tests.incidents import asking
from tests.incidents.asking import PLAN, limited

OPENED = e.Opened(category=Category.data, severity=Severity.high, asset="dataset:transactions", title="in cents")
GOOD, BAD = (Verdict(health=health, why="looked") for health in (Health.healthy, Health.unhealthy))


def alert(name: str = "f", **changed: Any) -> Alert:
    """An alert that fires."""
    fields = {
        "source": "generic",
        "fingerprint": name,
        "episode": "1",
        "starts_at": now(),
        "firing": True,
        "name": name,
    }
    return Alert.model_validate(fields | changed)


def opened(ledger: Ledger, **changed: Any) -> str:
    """An incident about the dataset."""
    with ledger.write() as writer:
        return writer.open(OPENED.model_copy(update=changed), actor="intake:generic")


def put(ledger: Ledger, incident: str, *bodies: Body, subject: str = PLAN.target) -> None:
    """Put events on an incident's record."""
    for body in bodies:
        ledger.append(body, actor="flow:data", incident=incident, subject=subject)


def request(incident: str, **changed: Any) -> Request:
    """The action, asked for by an incident."""
    return asking.asked(incident=incident, **changed)


def ran(ledger: Ledger, book: Playbook, incident: str, *ends: Body, **changed: Any) -> None:
    """Let an action run for an incident, and end as told."""
    asked_for = request(incident, **changed)
    assert ask(ledger, book, asked_for, "flow:data").mode is Mode.run
    intend(ledger, book, asked_for, "flow:data", 1)
    put(ledger, incident, *ends)


def says(ledger: Ledger, book: Playbook, name: str, incident: str = "INC-9", **changed: Any) -> Mode:
    """What one gate says to another incident's request."""
    gated = consult(ledger, book, request(incident, **changed))
    return next(gate.says for gate in gated.gates if gate.name == name)


@pytest.fixture
def calm(book: Playbook) -> Playbook:
    """The shipped playbook without a cool-down, so that tests need not wait."""
    return limited(book, cool_down_seconds=0)


APPLIED, UNDONE = e.Applied(plan=PLAN.hash), e.Undone(plan=PLAN.hash)
VERIFIED, FAILED = (e.Verified(plan=PLAN.hash, verdict=verdict) for verdict in (GOOD, BAD))


def test_what_is_on_the_record(anywhere: Ledger, book: Playbook) -> None:
    """A decision and an intent each carry every gate's answer, and to ask for nothing leaves nothing."""
    incident = opened(anywhere)
    before = len(anywhere.events())
    gated = consult(anywhere, book, request(incident))
    assert len(anywhere.events()) == before
    put(anywhere, incident, e.Planned(plan=PLAN))
    assert [gate.name for gate in ask(anywhere, book, request(incident), "flow:data").gates] == [
        gate.name for gate in gated.gates
    ]
    intend(anywhere, book, request(incident), "flow:data", 7)
    *_, decision, intent = (event.body for event in anywhere.events(incident=incident))
    assert isinstance(decision, e.Gated)
    assert isinstance(intent, e.Applying)
    assert decision.asked is not None
    assert (decision.action, decision.asked.severity) == (PLAN.action, Severity.high)
    assert (intent.token, intent.playbook, len(intent.gates)) == (7, book.digest, len(decision.gates))
    assert find(anywhere, incident).attempts[0].state == "applying"


def test_two_queries_whatever_the_record_holds(anywhere: Ledger, calm: Playbook) -> None:
    """One for the events, one for the leases."""
    incident = opened(anywhere)
    ran(anywhere, calm, incident, APPLIED, VERIFIED)
    seen: list[str] = []
    hooks.listen(anywhere.engine, "before_cursor_execute", lambda *given: seen.append(given[2]))
    with anywhere.engine.connect() as connection:
        assert len(gather(connection, calm, request(incident)).deeds) == 1
    assert len([statement for statement in seen if statement.startswith("SELECT")]) == 2


def test_the_events_are_found_by_indexes(ledger: Ledger, book: Playbook) -> None:
    """What a busy intake writes is never walked through to decide."""
    statements: list[Any] = []
    hooks.listen(ledger.engine, "before_cursor_execute", lambda *given: statements.append((given[2], given[3])))
    consult(ledger, book, request("INC-1"))
    statement, values = next(found for found in statements if "FROM events" in found[0])
    with ledger.engine.connect() as connection:
        steps = [str(row) for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", values)]
    assert any("events_of_deeds" in step for step in steps), steps
    assert not any("SCAN events" in step for step in steps), steps


@pytest.mark.parametrize(
    ("ends", "helped"),
    [((APPLIED, VERIFIED), True), ((APPLIED, FAILED, UNDONE), False), ((APPLIED, VERIFIED, UNDONE), False)],
)
def test_how_a_deed_ended(anywhere: Ledger, calm: Playbook, ends: tuple[Body, ...], helped: bool) -> None:
    """What was seen of it counts, and an undo afterwards takes a success back."""
    ran(anywhere, calm, opened(anywhere), *ends)
    with anywhere.engine.connect() as connection:
        [found] = gather(connection, calm, request("INC-9")).deeds
    assert (found.fixed, found.failed) == (helped, not helped)
    assert says(anywhere, calm, "autonomy") is (Mode.run if helped else Mode.ask)


def test_a_failure_counts_at_once_until_a_person_resets_it(ledger: Ledger, calm: Playbook) -> None:
    """The next decision of the same kind asks; another severity does not; and a person's word clears it."""
    ran(ledger, calm, opened(ledger), APPLIED, FAILED, UNDONE)
    assert says(ledger, calm, "autonomy") is Mode.ask
    assert says(ledger, calm, "autonomy", severity=Severity.critical) is Mode.run
    for category, mode in ((Category.model, Mode.ask), (Category.data, Mode.run)):
        reset = e.AutonomyReset(action=PLAN.action, category=category, why="mended")
        ledger.append(reset, actor="person:anna", subject=AUTOMATION)
        assert says(ledger, calm, "autonomy") is mode


def test_the_last_of_a_budget_is_taken_once(anywhere: Ledger, calm: Playbook) -> None:
    """Eight incidents decide to act at the same time and two may: two intents are on the record, six are refused."""
    tight = limited(calm, storm=Budget(at_most=2, per_minutes=10), pause_after_crash=False)
    incidents = [opened(anywhere, asset=f"dataset:d{n}") for n in range(8)]
    asked_for = [request(incident, subject=f"dataset:d{n}") for n, incident in enumerate(incidents)]
    assert {ask(anywhere, tight, one, "flow:data").mode for one in asked_for} == {Mode.run}

    with ThreadPoolExecutor(8) as at_once:
        tries = [at_once.submit(intend, anywhere, tight, one, "flow:data", 1) for one in asked_for]
    refused = [str(one.exception()) for one in tries if isinstance(one.exception(), Refused)]
    assert len(refused) == 6, [one.exception() for one in tries]
    assert all("storm: an action has begun 2 times" in why for why in refused)
    assert len(anywhere.events(kinds=["applying"])) == 2


def test_entered_again_its_own_intent_is_not_in_its_way(ledger: Ledger, book: Playbook) -> None:
    """After a crash the budgets, the cool-down and the doubt of its own intent do not hold up what finishes it."""
    incident = opened(ledger)
    one = limited(book, per_asset=Budget(at_most=1, per_minutes=60))
    ran(ledger, one, incident)
    assert consult(ledger, one, request(incident)).mode is Mode.run
    intend(ledger, one, request(incident), "flow:data", 2)
    put(ledger, incident, APPLIED, VERIFIED)
    with ledger.engine.connect() as connection:
        assert len(gather(connection, one, request("INC-9")).deeds) == 1
    assert says(ledger, one, "asset budget") is Mode.ask


def test_what_a_crash_leaves(ledger: Ledger, calm: Playbook) -> None:
    """In doubt from the intent on, unless its holder is at work; settled by its effect, or lifted by a person."""
    incident = opened(ledger)
    with leases.lease(ledger, PLAN.target, incident):
        ran(ledger, calm, incident)
        assert says(ledger, calm, "crash") is Mode.run
        assert says(ledger, calm, "lease") is Mode.ask
        assert says(ledger, calm, "lease", incident) is Mode.run
    assert says(ledger, calm, "crash") is Mode.ask
    assert says(ledger, calm, "crash", incident) is Mode.run
    assert says(ledger, limited(calm, pause_after_crash=False), "crash") is Mode.run
    put(ledger, incident, e.Started(flow="data"), e.Alerted(alert=alert()))
    assert says(ledger, calm, "crash") is Mode.ask
    ledger.append(e.Unpaused(why="looked at it"), actor="person:anna", subject=AUTOMATION)
    assert says(ledger, calm, "crash") is Mode.run
    put(ledger, incident, e.Undoing(plan=PLAN.hash, why="no help", token=2))
    assert says(ledger, calm, "crash") is Mode.ask
    put(ledger, incident, UNDONE)
    assert says(ledger, calm, "crash") is Mode.run


@pytest.mark.parametrize(
    "settling",
    [APPLIED, e.Conflicted(plan=PLAN.hash, why="x"), e.Failed(step="apply", error="x"), e.Escalated(to="x", why="x")],
    ids=lambda body: body.kind,
)
def test_what_settles_an_intent(ledger: Ledger, calm: Playbook, settling: Body) -> None:
    """Whoever could still say how it went leaves no doubt."""
    incident = opened(ledger)
    ran(ledger, calm, incident, settling)
    assert says(ledger, calm, "crash") is Mode.run


def test_pause(anywhere: Ledger, book: Playbook) -> None:
    """A pause asks, says who and why, and holds until it is lifted; a person by hand acts all the same."""
    anywhere.append(e.Paused(why="a deployment"), actor="person:anna", subject=AUTOMATION)
    gated = consult(anywhere, book, request("INC-9"))
    assert gated.mode is Mode.ask
    assert [gate.why for gate in gated.gates if gate.says is Mode.ask] == ["automation is paused, anna: a deployment"]
    assert consult(anywhere, book, request("INC-9", person="bob")).mode is Mode.run
    anywhere.append(e.Unpaused(why="through"), actor="person:bob", subject=AUTOMATION)
    assert consult(anywhere, book, request("INC-9")).mode is Mode.run


def test_a_frozen_asset(anywhere: Ledger, book: Playbook) -> None:
    """It asks, and says which incident froze it and why, until it is thawed; another asset, and a person, go on."""
    for asset in ("dataset:transactions", "model:fraud"):
        anywhere.append(e.Froze(asset=asset, why="it is bad"), actor="flow:data", subject=AUTOMATION, incident="INC-3")
    anywhere.append(e.Thawed(asset="model:fraud", why="mended"), actor="person:anna", subject=AUTOMATION)
    anywhere.append(e.Unpaused(why="go on"), actor="person:anna", subject=AUTOMATION)
    gated = consult(anywhere, book, request("INC-9"))
    lifted = "lifted by `lastgood thaw dataset:transactions`"
    assert [gate.why for gate in gated.gates if gate.says is Mode.ask] == [
        f"dataset:transactions is frozen, INC-3: it is bad; {lifted}"
    ]
    assert consult(anywhere, book, request("INC-9", person="bob")).mode is Mode.run
    assert consult(anywhere, book, request("INC-9", subject="model:fraud")).mode is Mode.run
    held = {risk: says(anywhere, book, "frozen", risk=risk) for risk in Risk}
    assert held == {Risk.low: Mode.run, Risk.medium: Mode.ask, Risk.high: Mode.ask}, "low: nothing in use is changed"
    anywhere.append(e.Thawed(asset="dataset:transactions", why="mended"), actor="person:bob", subject=AUTOMATION)
    assert consult(anywhere, book, request("INC-9")).mode is Mode.run


def test_a_pause_between_decision_and_change(ledger: Ledger, book: Playbook) -> None:
    """What was let through is asked again right before the change, and then no intent is put on the record."""
    incident = opened(ledger)
    put(ledger, incident, e.Planned(plan=PLAN))
    assert ask(ledger, book, request(incident), "flow:data").mode is Mode.run
    ledger.append(e.Paused(why="stop"), actor="person:anna", subject=AUTOMATION)
    with pytest.raises(Refused, match="no longer: pause: automation is paused, anna: stop"):
        intend(ledger, book, request(incident), "flow:data", 1)
    assert ledger.events(kinds=["applying"]) == []
    assert find(ledger, incident).attempts[0].state == "proposed"


def test_firing(ledger: Ledger, book: Playbook) -> None:
    """An alert counts from when it was received until it is over; of several the oldest that still fires."""
    patient = limited(book, hold_down_seconds={Severity.high: 3600})
    incident = opened(ledger, alert=alert("a"))
    put(ledger, incident, e.Alerted(alert=alert("b")))
    assert says(ledger, patient, "hold-down", incident) is Mode.ask
    first, second = (event.at for event in ledger.events(incident=incident))
    with ledger.engine.connect() as connection:
        assert gather(connection, patient, request(incident)).firing_since == first
    put(ledger, incident, e.AlertEnded(alert=alert("a", firing=False)))
    with ledger.engine.connect() as connection:
        assert gather(connection, patient, request(incident)).firing_since == second
    put(ledger, incident, e.AlertEnded(alert=alert("b", firing=False)))
    with ledger.engine.connect() as connection:
        assert gather(connection, patient, request(incident)).firing_since is None


def test_reopened(anywhere: Ledger, calm: Playbook) -> None:
    """An incident counts as reopened only where one about the same asset was closed before."""
    tight = limited(calm, flapping=Budget(at_most=1, per_minutes=60))
    opened(anywhere)
    opened(anywhere, category=Category.model)
    assert says(anywhere, tight, "flapping") is Mode.run
    put(anywhere, "INC-1", e.Resolved(why="good"), subject="dataset:transactions")
    opened(anywhere, asset="dataset:other")
    assert says(anywhere, tight, "flapping") is Mode.run
    opened(anywhere)
    assert says(anywhere, tight, "flapping") is Mode.ask
    assert says(anywhere, tight, "flapping", asset="dataset:other") is Mode.run


def test_as_of_a_moment(ledger: Ledger, book: Playbook) -> None:
    """Asked of a moment in the past, what came later is not known."""
    incident = opened(ledger)
    before = now()
    ran(ledger, book, incident, APPLIED, FAILED)
    past = consult(ledger, book, request("INC-9"), at=before)
    assert past.mode is Mode.run
    assert consult(ledger, book, request("INC-9")).mode is Mode.ask
    later = consult(ledger, book, request("INC-9"), at=now() + timedelta(days=book.autonomy.days + 1))
    assert later.mode is Mode.run


def test_a_storm_is_told_once(ledger: Ledger, calm: Playbook) -> None:
    """The first decision in a storm tells every channel; what ends in it is not told then, but for severity 1."""
    tight = limited(calm, storm=Budget(at_most=1, per_minutes=10))
    ran(ledger, tight, opened(ledger), APPLIED, VERIFIED)
    for _ in range(5):
        incident = opened(ledger, asset=None)
        assert ask(ledger, tight, request(incident), "flow:data").mode is Mode.ask
        tell(ledger, tight, incident, Severity.high)
    assert len(ledger.events(kinds=["stormed"])) == 1
    assert channels(ledger) == ["chat", "pager"]
    withheld = [event.body for event in ledger.events(kinds=["told"])]
    assert len(withheld) == 10
    assert all(isinstance(body, e.Told) and not body.delivered and "storm" in body.why for body in withheld)
    tell(ledger, tight, incident, Severity.critical)
    assert channels(ledger) == ["chat", "chat", "pager", "pager"]


def test_without_a_storm_everybody_is_told(ledger: Ledger, book: Playbook) -> None:
    """One message an incident and channel."""
    tell(ledger, book, opened(ledger), Severity.high)
    assert channels(ledger) == ["chat", "pager"]
    assert ledger.events(kinds=["told", "stormed"]) == []


def test_what_a_change_touches(ledger: Ledger, book: Playbook) -> None:
    """A model is itself; a dataset is itself and what learns from it, by the playbook and by the incident's trace."""
    incident = opened(ledger)
    more = book.model_copy(update={"models": {**book.models, "churn": Model(learns_from=())}})
    assert reach("model:fraud", more) == ("model:fraud",)
    assert reach("dataset:transactions", more) == ("dataset:transactions", "model:fraud")
    put(ledger, incident, e.Traced(dataset="transactions", version="v2", models={"churn": ["1"], "unknown": ["7"]}))
    put(ledger, incident, e.Traced(dataset="other", version="v2", models={"fraud": ["1"]}))
    found = reach("dataset:transactions", more, find(ledger, incident))
    assert found == ("dataset:transactions", "model:churn", "model:fraud")
    assert says(ledger, limited(more, blast_radius=2), "blast radius", reach=found) is Mode.ask
    assert says(ledger, limited(more, blast_radius=3), "blast radius", reach=found) is Mode.run


def tell(ledger: Ledger, book: Playbook, incident: str, severity: Severity) -> None:
    """Tell people how an incident ended, as the flows do."""
    from incidents import storm

    with ledger.write() as writer:
        storm.tell(writer, book, incident, severity, f"{incident} needs the data engineer", "proposed")


def channels(ledger: Ledger) -> list[str]:
    """The channels of the messages in the outbox."""
    import json

    with ledger.engine.connect() as connection:
        jobs = connection.scalars(select(outbox.c.payload).where(outbox.c.kind == "tell"))
        return sorted(json.loads(payload)["channel"] for payload in jobs)
