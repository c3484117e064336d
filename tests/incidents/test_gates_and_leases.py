"""Gates and leases together, in whatever order people, flows, crashes and time come: nothing slips through."""

from __future__ import annotations

import tempfile
from contextlib import AbstractContextManager, ExitStack
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from incidents import events as e
from incidents import gatekeeper, leases, storm
from incidents import writer as writers
from incidents.facts import Request
from incidents.gatekeeper import Refused
from incidents.history import AUTOMATION
from incidents.leases import Held, Lease, Lost, check_lease, lease
from incidents.ledger import Ledger
from incidents.limits import Budget
from incidents.models import Category, Health, Mode, Plan, Risk, Severity, Verdict
from incidents.playbook import ActionRule, Playbook, load
from tests.incidents.asking import Clock, limited
from tests.incidents.conftest import PLAYBOOK

ASSETS = ["dataset:transactions", "model:fraud"]
#: Action -> its rule. Nobody may ever run the third.
ACTIONS = {
    "rollback_dataset": ActionRule(mode=Mode.run),
    "revert_model": ActionRule(mode=Mode.ask),
    "forbidden": ActionRule(mode=Mode.never),
}
INCIDENTS = ["INC-1", "INC-2", "INC-3"]
PER_ASSET, STORM, RECOVER = 2, 4, 3


class Change:
    """One change to the world under way: let through by the gates, and maybe begun."""

    def __init__(self, request: Request) -> None:
        self.request = request
        self.manager: AbstractContextManager[Lease] | None = None
        self.held: Lease | None = None


class World(RuleBasedStateMachine):
    """Incidents that want to act, people who act, pause and go on, and processes that die: on a real ledger.

    What was done to the world is held against rules that are written down here a second time, as plainly as possible.
    """

    def __init__(self) -> None:
        super().__init__()
        self.stack = ExitStack()
        folder = self.stack.enter_context(tempfile.TemporaryDirectory())
        self.ledger = Ledger(f"sqlite:///{Path(folder) / 'ledger.db'}")
        self.stack.callback(self.ledger.engine.dispose)
        self.clock = Clock()
        patch = self.stack.enter_context(pytest.MonkeyPatch.context())
        for module in (leases, writers, gatekeeper, storm):
            patch.setattr(module, "now", self.clock)
        shipped = load(PLAYBOOK, {}).model_copy(update={"actions": ACTIONS})
        assert shipped.autonomy.recover_after == RECOVER
        self.book: Playbook = limited(
            shipped,
            per_asset=Budget(at_most=PER_ASSET, per_minutes=10),
            storm=Budget(at_most=STORM, per_minutes=10),
            cool_down_seconds=0,
        )
        for asset in (*ASSETS, None):
            with self.ledger.write() as writer:
                body = e.Opened(category=Category.data, severity=Severity.high, asset=asset, title="trouble")
                writer.open(body, actor="intake:generic")
        #: What was let through and has not been begun; what was begun and has not ended.
        self.through: list[Change] = []
        self.begun: list[Change] = []
        self.dead: list[Change] = []
        #: When which asset was begun to be changed, by hand or not.
        self.intents: list[tuple[datetime, str]] = []
        self.paused = False
        #: Action -> how often it helped after it had failed.
        self.failed: dict[str, int] = {}

    @rule(
        incident=st.sampled_from(INCIDENTS),
        action=st.sampled_from(sorted(ACTIONS)),
        asset=st.sampled_from(ASSETS),
        person=st.sampled_from(["", "", "anna"]),
        risk=st.sampled_from([Risk.low, Risk.medium]),
        number=st.integers(0, 50),
    )
    def decide(self, **wanted: Any) -> None:
        """Somebody wants to act: the gates are asked, and what they let through is remembered."""
        plan = Plan(
            action=wanted["action"],
            parameters={"n": wanted["number"]},
            target=wanted["asset"],
            before={"version": 2},
            after={"version": 1},
            summary="back to 1",
        )
        about = ASSETS[INCIDENTS.index(wanted["incident"])] if wanted["incident"] != "INC-3" else None
        request = Request(
            plan=plan,
            category=Category.data,
            severity=Severity.high,
            risk=wanted["risk"],
            reversible=True,
            asset=about,
            subject=wanted["asset"],
            incident=wanted["incident"],
            person=wanted["person"],
        )
        if any(change.request.incident == request.incident for change in (*self.through, *self.begun)):
            return  # an incident does one thing at a time
        if gatekeeper.ask(self.ledger, self.book, request, "flow:data").mode is Mode.run:
            self.through.append(Change(request))

    @precondition(lambda self: self.through)
    @rule(data=st.data())
    def begin(self, data: st.DataObject) -> None:
        """What was let through takes its lease, maybe much later, and is asked again."""
        change = self.through.pop(data.draw(st.integers(0, len(self.through) - 1)))
        request = change.request
        change.manager = lease(self.ledger, request.plan.target, request.incident)
        try:
            change.held = change.manager.__enter__()
        except Held:
            return
        try:
            gatekeeper.intend(self.ledger, self.book, request, "flow:data", change.held.token)
        except Refused:
            change.manager.__exit__(None, None, None)
            return
        self.may_begin(request)
        self.intents.append((self.clock.time, request.subject))
        self.begun.append(change)

    def may_begin(self, request: Request) -> None:
        """The rules a second time: what must be so wherever an intent was put on the record."""
        assert request.plan.action != "forbidden"
        if request.person:
            return
        assert request.plan.action == "rollback_dataset", "only a person may run what asks"
        assert request.asset is not None
        assert not self.paused
        assert self.failed.get(request.plan.action, RECOVER) >= RECOVER, "it failed, and has not helped since"
        lately = [asset for at, asset in self.intents if at > self.clock.time - timedelta(minutes=10)]
        assert len(lately) < STORM
        assert lately.count(request.subject) < PER_ASSET

    @precondition(lambda self: self.begun)
    @rule(data=st.data(), fate=st.sampled_from(["helped", "failed", "crash", "crash"]))
    def end(self, data: st.DataObject, fate: str) -> None:
        """A change is made and seen, and undone where it did not help; or its process dies at the intent."""
        change = self.begun.pop(data.draw(st.integers(0, len(self.begun) - 1)))
        request = change.request
        assert change.manager is not None
        assert change.held is not None
        if fate == "crash":
            self.dead.append(change)  # nobody gives the lease back, and nobody says how it went
            return
        try:
            check_lease(self.ledger, change.held)
        except Lost as lost:
            self.put(request, e.Conflicted(plan=request.plan.hash, why=str(lost)))
        else:
            self.put(request, e.Applied(plan=request.plan.hash))
            health = Health.healthy if fate == "helped" else Health.unhealthy
            self.put(request, e.Verified(plan=request.plan.hash, verdict=Verdict(health=health, why="looked")))
            if fate == "failed":
                self.put(request, e.Undone(plan=request.plan.hash))
                self.failed[request.plan.action] = 0
            elif request.plan.action in self.failed:
                self.failed[request.plan.action] += 1
        change.manager.__exit__(None, None, None)

    @rule(hours=st.booleans())
    def pass_time(self, hours: bool) -> None:
        """Minutes pass, or so long that every window and every lease is over."""
        self.clock.time += timedelta(hours=1) if hours else timedelta(minutes=3)

    @rule()
    def pause(self) -> None:
        """A person pauses automation."""
        self.ledger.append(e.Paused(why="stop"), actor="person:anna", subject=AUTOMATION)
        self.paused = True

    @rule()
    def unpause(self) -> None:
        """A person lets it go on."""
        self.ledger.append(e.Unpaused(why="go"), actor="person:anna", subject=AUTOMATION)
        self.paused = False

    @precondition(lambda self: self.failed)
    @rule()
    def reset(self) -> None:
        """A person gives every action its trust back."""
        for action in ACTIONS:
            reset = e.AutonomyReset(action=action, why="mended")
            self.ledger.append(reset, actor="person:anna", subject=AUTOMATION)
        self.failed.clear()

    @invariant()
    def what_is_forbidden_is_never_begun(self) -> None:
        """Not by a flow, not by hand, not after a crash, not with any yes: there is no intent of it on the record."""
        intents = [event.body for event in self.ledger.events(kinds=["applying"])]
        assert all(isinstance(intent, e.Applying) and intent.action != "forbidden" for intent in intents)

    @invariant()
    def every_intent_names_every_gate(self) -> None:
        """No intent is without the answers that allowed it, and none of them says never."""
        for event in self.ledger.events(kinds=["applying"])[-3:]:
            assert isinstance(event.body, e.Applying)
            says = {gate.name: gate.says for gate in event.body.gates}
            assert len(says) >= 17
            assert Mode.never not in says.values()
            assert "person" in says or set(says.values()) == {Mode.run}

    @invariant()
    def one_at_a_time(self) -> None:
        """Of the changes under way at most one a target may still write."""
        entitled = [change.request.plan.target for change in self.begun if self.holds(change)]
        assert len(entitled) == len(set(entitled))

    def holds(self, change: Change) -> bool:
        """Whether the check right before the write lets it go on."""
        assert change.held is not None
        try:
            check_lease(self.ledger, change.held)
        except Lost:
            return False
        return True

    def put(self, request: Request, body: e.Body) -> None:
        """Put an event on the incident's record."""
        self.ledger.append(body, actor="flow:data", incident=request.incident, subject=request.plan.target)

    def teardown(self) -> None:
        """Remove the ledger, once nobody holds anything any more."""
        for change in (*self.begun, *self.dead):
            assert change.manager is not None
            change.manager.__exit__(None, None, None)
        self.stack.close()


TestWorld = World.TestCase
TestWorld.settings = settings(max_examples=25, stateful_step_count=25, deadline=None)
