"""Approvals, in whatever order people, the world, alerts and time come: nothing runs without enough other people."""

from __future__ import annotations

import tempfile
from contextlib import ExitStack
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from incidents import approvals, gatekeeper, leases, questions, storm, unsettled
from incidents import events as e
from incidents import writer as writers
from incidents.approvals import NotAsked
from incidents.facts import Request
from incidents.gatekeeper import Refused
from incidents.incident import find
from incidents.ledger import Ledger
from incidents.limits import Approvals
from incidents.models import Alert, Category, Mode, Plan, Risk, Severity, Status, now
from incidents.playbook import Playbook, load
from incidents.yaml_lines import Refused as RefusedPlaybook
from tests.incidents.asking import Clock
from tests.incidents.conftest import PLAYBOOK

PEOPLE = ["anna", "Anna ", "ben", "carl", "opener"]
EXPIRES = 1000


def planned(version: int, **changed: Any) -> Plan:
    """A plan from this state of the world."""
    fields: dict[str, Any] = {
        "action": "revert_model",
        "parameters": {"model": "fraud", "because": "INC-1"},
        "target": "models:/fraud@champion",
        "before": {"version": version},
        "after": {"version": 1, "nonce": f"of {version}"},
        "summary": f"{version} -> 1",
    }
    return Plan.model_validate(fields | changed)


def request(incident: str, plan: Plan, severity: Severity, ledger: Ledger) -> Request:
    """May it run?"""
    return Request(
        plan=plan,
        category=Category.model,
        severity=severity,
        risk=Risk.high,
        reversible=True,
        asset="model:fraud",
        subject="model:fraud",
        incident=incident,
        approval=questions.approval(find(ledger, incident), plan),
    )


def begun(ledger: Ledger, book: Playbook, severity: Severity = Severity.medium) -> tuple[str, Plan]:
    """An incident that waits for people."""
    with ledger.write() as writer:
        body = e.Opened(category=Category.model, severity=severity, asset="model:fraud", title="trouble")
        incident = writer.open(body, actor="person:opener")
    plan = planned(2)
    ledger.append(e.Planned(plan=plan), actor="flow:model", incident=incident, subject=plan.target)
    gated = gatekeeper.ask(ledger, book, request(incident, plan, severity, ledger), "flow:model")
    assert gated.mode is Mode.ask
    with ledger.write() as writer:
        approvals.ask(writer, book, find(ledger, incident), plan, gated, "flow:model")
    return incident, plan


def test_who_asked_does_not_count(ledger: Ledger, book: Playbook) -> None:
    """Law 9: whoever opened it can say no, and can't say yes."""
    incident, _ = begun(ledger, book)
    with pytest.raises(NotAsked, match="asked for it"):
        approvals.answer(ledger, book, incident, "person:Opener", yes=True)
    assert find(ledger, incident).status is Status.waiting
    approvals.answer(ledger, book, incident, "person:opener", yes=False, why="no")
    assert find(ledger, incident).status is Status.escalated


def test_a_yes_to_another_plan_does_not_count(ledger: Ledger, book: Playbook) -> None:
    """An answer says which plan was seen, and one that was seen earlier is none to this one."""
    incident, plan = begun(ledger, book)
    with pytest.raises(NotAsked, match="another plan"):
        approvals.answer(ledger, book, incident, "person:anna", yes=True, plan="0000")
    approvals.answer(ledger, book, incident, "person:anna", yes=True, plan=plan.hash[:12])
    with pytest.raises(NotAsked, match="asks nothing"):
        approvals.answer(ledger, book, incident, "person:ben", yes=True)


def test_the_same_proposal_is_the_same_in_another_incident(ledger: Ledger, book: Playbook) -> None:
    """Neither the reason nor the mark of one move makes it another proposal; another version does."""
    incident, plan = begun(ledger, book)
    approvals.answer(ledger, book, incident, "person:anna", yes=False, why="never")
    other = planned(3, parameters={"model": "fraud", "because": "INC-9"})
    assert "anna said no" in str(questions.dismissed(ledger, book, other))
    assert questions.dismissed(ledger, book, planned(2, after={"version": 7})) is None
    forgets = book.model_copy(update={"approvals": Approvals(dismissed_for_seconds=0)})
    assert questions.dismissed(ledger, forgets, plan) is None
    ledger.append(e.Resolved(why="it passed"), actor="person:anna", incident=incident, subject="model:fraud")
    later, _ = begun(ledger, book)
    approvals.answer(ledger, book, later, "person:ben", yes=True)
    assert questions.dismissed(ledger, book, other) is None, "the last word counts"


def test_what_nobody_answers_goes_to_a_person_once(
    ledger: Ledger, book: Playbook, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When its time is over it is handed over, by whichever reconciler comes first."""
    incident, _ = begun(ledger, book)
    assert unsettled.end_waiting(ledger, book, "flow:reconcile") == []
    late = now() + timedelta(seconds=book.approvals.expires_seconds + 1)
    monkeypatch.setattr(questions, "now", lambda: late)
    with pytest.raises(NotAsked, match="time for an answer"):
        approvals.answer(ledger, book, incident, "person:anna", yes=True)
    assert len(unsettled.end_waiting(ledger, book, "flow:reconcile")) == 1
    assert unsettled.end_waiting(ledger, book, "flow:reconcile") == []
    assert find(ledger, incident).status is Status.escalated
    assert ledger.incidents()[0].status == "escalated"


def test_the_playbook_refuses_what_it_does_not_know_about_approvals(tmp_path: Path) -> None:
    """Law 7: an unknown key, and a quorum of nobody, are refused with their line."""
    text = PLAYBOOK.read_text()
    for wrong in ("  expire_seconds: 5\n", "  dismissed_for_seconds: -1\n"):
        file = tmp_path / "playbook.yaml"
        file.write_text(text.replace("  dismissed_for_seconds: 86400", wrong.rstrip("\n")))
        with pytest.raises(RefusedPlaybook, match=r"line \d+|:\d+"):
            load(file, {})
    file.write_text(text.replace("quorum: {1: 2, 2: 1, 3: 1, 4: 1}", "quorum: {1: 0}"))
    with pytest.raises(RefusedPlaybook):
        load(file, {})


class Asking(RuleBasedStateMachine):
    """One incident, people who answer, a world that moves, alerts that get worse, and time: against plain rules."""

    def __init__(self) -> None:
        super().__init__()
        self.stack = ExitStack()
        folder = self.stack.enter_context(tempfile.TemporaryDirectory())
        self.ledger = Ledger(f"sqlite:///{Path(folder) / 'ledger.db'}")
        self.stack.callback(self.ledger.engine.dispose)
        self.clock = Clock()
        patch = self.stack.enter_context(pytest.MonkeyPatch.context())
        for module in (leases, writers, gatekeeper, storm, approvals, questions, unsettled):
            if hasattr(module, "now"):
                patch.setattr(module, "now", self.clock)
        rules = Approvals(quorum={Severity.high: 2, Severity.medium: 2}, expires_seconds=EXPIRES)
        self.book = load(PLAYBOOK, {}).model_copy(update={"approvals": rules})
        self.version, self.severity = 2, Severity.medium
        self.incident, self.plan = begun(self.ledger, self.book)
        #: What the question that stands was asked about, when, and who has said yes to it.
        self.asked: tuple[int, Severity, datetime] | None = (2, self.severity, self.clock.time)
        self.yes: set[str] = set()

    @rule(who=st.sampled_from(PEOPLE), yes=st.sampled_from([True, True, True, False]))
    def answer(self, who: str, yes: bool) -> None:
        """Somebody answers, whether they were asked or not."""
        try:
            approvals.answer(self.ledger, self.book, self.incident, f"person:{who}", yes=yes, why="so")
        except NotAsked:
            return
        assert self.asked is not None
        assert self.clock.time <= self.asked[2] + timedelta(seconds=EXPIRES + 1)
        if not yes:
            self.asked, self.yes = None, set()
            assert find(self.ledger, self.incident).status is Status.escalated
            return
        person = who.strip().lower()
        assert person != "opener"
        assert person not in self.yes
        self.yes.add(person)

    @rule()
    def move(self) -> None:
        """Somebody changes the world."""
        self.version += 1

    @rule(severity=st.sampled_from([Severity.medium, Severity.medium, Severity.high]))
    def alert(self, severity: Severity) -> None:
        """Another alert joins, maybe a worse one."""
        fields: dict[str, Any] = {"source": "x", "fingerprint": "f", "episode": "1", "starts_at": self.clock.time}
        joined = e.Alerted(alert=Alert(**fields, firing=True, name="A", severity=severity))
        self.ledger.append(joined, actor="intake:x", incident=self.incident)
        self.severity = min(self.severity, severity)

    @rule(seconds=st.sampled_from([10, EXPIRES // 2, EXPIRES * 2]))
    def wait(self, seconds: int) -> None:
        """Time passes."""
        self.clock.time += timedelta(seconds=seconds)

    @rule()
    def reconcile(self) -> None:
        """What is over is handed over."""
        if unsettled.end_waiting(self.ledger, self.book, "flow:reconcile"):
            assert self.asked is not None
            _, severity, since = self.asked
            late = self.clock.time >= since + timedelta(seconds=EXPIRES)
            assert late or self.severity < severity
            self.asked, self.yes = None, set()

    @rule()
    def enter(self) -> None:
        """The flow is entered: it plans anew, and where the gates let it, writes its intent."""
        plan = planned(self.version)
        self.ledger.append(e.Planned(plan=plan), actor="flow:model", incident=self.incident, subject=plan.target)
        wanted = request(self.incident, plan, self.severity, self.ledger)
        try:
            gatekeeper.intend(self.ledger, self.book, wanted, "flow:model", 1)
        except Refused:
            return
        assert self.asked is not None
        version, severity, since = self.asked
        assert len(self.yes) >= 2, "it ran without two different people, none of whom asked for it"
        assert version == self.version, "it ran in another world than was approved"
        assert self.severity >= severity, "it ran although it got worse"
        assert self.clock.time < since + timedelta(seconds=EXPIRES + 1), "it ran after its time"
        applied = e.Applied(plan=plan.hash)
        self.ledger.append(applied, actor="flow:model", incident=self.incident, subject=plan.target)

    @rule()
    def ask_again(self) -> None:
        """The flow asks about the world as it is now; earlier answers are no answers to that."""
        plan = planned(self.version)
        self.ledger.append(e.Planned(plan=plan), actor="flow:model", incident=self.incident, subject=plan.target)
        wanted = request(self.incident, plan, self.severity, self.ledger)
        gated = gatekeeper.ask(self.ledger, self.book, wanted, "flow:model")
        if gated.mode is not Mode.ask:
            return
        with self.ledger.write() as writer:
            approvals.ask(writer, self.book, find(self.ledger, self.incident), plan, gated, "flow:model")
        self.asked, self.yes = (self.version, self.severity, self.clock.time), set()

    @invariant()
    def the_table_says_what_the_record_says(self) -> None:
        """Incidents are found by a table, which is in step with the fold."""
        assert self.ledger.incidents()[0].status == find(self.ledger, self.incident).status

    def teardown(self) -> None:
        """Remove the ledger."""
        self.stack.close()


TestAsking = Asking.TestCase
TestAsking.settings = settings(max_examples=40, stateful_step_count=25, deadline=None)
