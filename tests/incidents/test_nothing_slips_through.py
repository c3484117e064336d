"""Gates, approvals and leases together: in whatever order all else comes, what a rule refuses is never done.

What a flow calls before a change is called here, without Prefect, and held against ``plain_rules``.
"""

from __future__ import annotations

import asyncio
import logging
import tempfile
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from datetime import date, timedelta
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar, TypeVar

import pytest
from hypothesis import event, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule
from sqlalchemy import event as database_event

from flows import asking
from flows import case as cases
from flows.case import Case, Waiting
from incidents import approvals, gatekeeper, leases, questions, storm
from incidents import events as e
from incidents import writer as writers
from incidents.approvals import NotAsked
from incidents.gatekeeper import Refused
from incidents.history import AUTOMATION
from incidents.leases import Held, Lease, Lost, check_lease, lease
from incidents.ledger import Ledger
from incidents.limits import Approvals, Autonomy, Budget, Freeze, Limits
from incidents.models import Alert, Category, Mode, Plan, Risk, Severity, Verdict
from incidents.playbook import ActionRule, Playbook, load
from remediations.base import Remediation
from remediations.permissions import Statement
from tests.incidents.asking import Clock
from tests.incidents.conftest import PLAYBOOK
from tests.incidents.plain_rules import (
    ASKS,
    EXPIRES,
    LEASE,
    NEEDED,
    OPENER,
    REMEMBERED,
    RUNS,
    PlainRules,
    Question,
    Trouble,
    Wanted,
)

T = TypeVar("T")
TARGET = "dataset:transactions"
SLOTS = {"a": (TARGET, Severity.medium), "b": ("model:fraud", Severity.high)}


class Runs(Remediation):
    """Brings the target to its good version; every cell of its column says run."""

    category: ClassVar[Category] = Category.data
    risk: ClassVar[Risk] = Risk.low
    permissions: ClassVar[tuple[str, ...]] = ()
    #: The version that is there, and the good one.
    world: ClassVar[list[int]]

    @classmethod
    def statements(cls, book: Playbook) -> tuple[Statement, ...]:  # noqa: ARG003  # it needs nothing of AWS
        """Nothing of AWS."""
        return ()

    def subject(self) -> str:
        """The one target."""
        return TARGET

    def plan(self) -> Plan:
        """From the version that is there to the good one."""
        given = self.model_dump(mode="json")
        here, good = ({"version": version} for version in self.world)
        return Plan(
            action=self.name(), parameters=given, target=TARGET, before={**here}, after={**good}, summary="mend"
        )

    def apply(self, plan: Plan) -> None:
        """Compare, then set, as every action does."""
        _, before, after = wanted(plan)
        if self.world[0] == before:
            self.world[0] = after

    def verify(self, plan: Plan) -> Verdict:
        """Nobody looks."""
        raise NotImplementedError

    def undo(self, plan: Plan) -> None:
        """Nobody takes it back."""
        raise NotImplementedError


class Asks(Runs):
    """The same, and every cell of its column asks."""

    risk: ClassVar[Risk] = Risk.high


@dataclass
class Run:
    """A run of a section, and what it is about to do."""

    trouble: Trouble
    case: Case
    action: Runs
    plan: Plan
    #: Once it has taken the lease.
    manager: AbstractContextManager[Lease] | None = None
    token: int = 0


async def step(_: str, work: Callable[..., T], *arguments: object) -> T:
    """A step of a flow without Prefect."""
    return work(*arguments)


WHICH, KIND, ANY = st.sampled_from(sorted(SLOTS)), st.sampled_from([Runs, Asks, Asks]), st.integers(0, 9)
#: Whether what is let through begins its change at once, and goes through with it at once.
HOW = st.sampled_from(["at once", "at once", "at once", "later", "slowly"])
PEOPLE = st.sampled_from(["anna", "Anna ", "ben", OPENER])
HAPPENS = st.sampled_from(
    [
        *(("wait", seconds) for seconds in (0, 50, 130, 1100, 4000)),
        *(("move", which) for which in (0, 0, 1)),
        *(("worsen", slot, severity) for slot in SLOTS for severity in (Severity.high, Severity.critical)),
        *(("pause", stop) for stop in (True, False, False)),
        *(("decide", Mode.run, action) for action in (RUNS, ASKS, "", "", "")),
        *(("decide", frozen, "") for frozen in (Mode.ask, Mode.never)),
    ]
)
#: After this a yes is no yes any more.
SPOILS = st.sampled_from([("worsen", "a", Severity.high), ("move", 0), ("move", 1), ("wait", 1100), ("pause", True)])


class Story(RuleBasedStateMachine):
    """Two incidents about one target, three people, time, and a world and a playbook that change."""

    def __init__(self) -> None:
        super().__init__()
        self.stack = ExitStack()
        folder = self.stack.enter_context(tempfile.TemporaryDirectory())
        self.ledger = Ledger(f"sqlite:///{Path(folder) / 'ledger.db'}")
        self.stack.callback(self.ledger.engine.dispose)
        self.ledger.engine.dispose()  # what is connected from here on does not wait for the disk
        database_event.listen(self.ledger.engine, "connect", lambda made, _: made.execute("PRAGMA synchronous=OFF"))
        self.clock, self.book, self.plain = Clock(), playbook(), PlainRules()
        patch = self.stack.enter_context(pytest.MonkeyPatch.context())
        for module in (leases, writers, gatekeeper, storm, approvals, questions, asking):
            patch.setattr(module, "now", self.clock)
        patch.setattr(cases, "ledger", lambda: self.ledger)
        patch.setattr(cases, "playbook", lambda: self.book)
        patch.setattr(asking, "step", step)
        patch.setattr(asking, "get_run_logger", lambda: logging.getLogger("story"))
        patch.setattr(leases, "BEATS", 1e-6)  # a lease is renewed when the story says so
        self.newest = 2
        self.world = Runs.world = [2, 1]
        self.troubles = {slot: self.opened(slot) for slot in SLOTS}
        #: What was let through; what holds or held the lease; of that, what goes on later; what was changed.
        self.through: list[Run] = []
        self.holders: list[Run] = []
        self.asleep: list[Run] = []
        self.changed: list[tuple[str, str]] = []

    def opened(self, slot: str) -> Trouble:
        """Open an incident."""
        asset, severity = SLOTS[slot]
        body = e.Opened(category=Category.data, severity=severity, asset=asset, title="trouble")
        with self.ledger.write() as writer:
            return Trouble(writer.open(body, actor=f"person:{OPENER}"), severity)

    def close(self, trouble: Trouble) -> None:
        """An incident is closed, and another is opened in its place."""
        for slot in [slot for slot, found in self.troubles.items() if found is trouble]:
            self.ledger.append(
                e.Resolved(why="over"), actor="person:dan", incident=trouble.name, subject=SLOTS[slot][0]
            )
            self.troubles[slot] = self.opened(slot)

    # What a flow does.

    @rule(which=WHICH, kind=KIND, how=HOW, person=st.sampled_from(["", "", "carl"]))
    def enter(self, which: str, kind: type[Runs], how: str, person: str = "") -> None:
        """A section is entered, or a person runs an action by hand: the gates are asked, and maybe people."""
        if self.world[0] == self.world[1]:
            self.move(0)
        run = self.run_of(which, kind, person)
        begun = run.case.incident.latest(kind.name(), run.action.model_dump(mode="json"))
        if begun is not None and begun.applying:
            run.plan = begun.plan
        else:
            expected = self.plain.outcome(run.trouble, wanted(run.plan), person, self.clock.time)
            assert expected in self.asked(run)
            before = run.trouble.questions.get(kind.name())
            if before is not None and before.wanted != wanted(run.plan):  # planned anew it is not the same: void
                del run.trouble.questions[kind.name()]
            if expected != "let through":
                return self.close(run.trouble) if expected != "people are asked" else None
        return self.carry_out(run, how)

    @rule(which=WHICH, kind=KIND, how=HOW)
    def rush(self, which: str, kind: type[Runs], how: str) -> None:
        """What nothing was asked about before is carried out: the last look is enough by itself."""
        run = self.run_of(which, kind)
        run.case.record(e.Planned(plan=run.plan), subject=TARGET)
        self.carry_out(run, how)

    def run_of(self, which: str, kind: type[Runs], person: str = "") -> Run:
        """A run, and what it would plan now."""
        trouble = self.troubles[which]
        action = kind(because=person or trouble.name)
        case = Case(trouble.name, f"person:{person}" if person else "flow:data", person)
        return Run(trouble, case, action, action.plan())

    def asked(self, run: Run) -> str:
        """What ``remediate`` does before a change; says what is in the way. The plan may be one from before."""
        case, trouble = run.case, run.trouble
        plan = asyncio.run(asking.make_plan(case, run.action))
        assert plan is not None
        run.plan, before = plan, case.incident.last(e.AskedFor)
        try:
            return asyncio.run(asking.in_the_way(case, run.action, plan)) or "let through"
        except Waiting:
            if case.incident.last(e.AskedFor) != before:
                about = set(self.plain.refusing(trouble, plan.action, self.clock.time))
                trouble.asked = Question(wanted(plan), trouble.severity, self.clock.time, about)
                trouble.questions[plan.action] = trouble.asked
            return "people are asked"

    def carry_out(self, run: Run, how: str) -> None:
        """Go on to the change, as far as it comes."""
        if how == "later":
            self.through.append(run)
        elif self.begin(run):
            self.asleep.append(run)
            if how == "at once":
                self.change(run)

    def begin(self, run: Run) -> bool:
        """Take the lease, ask the gates once more, and put the intent on the record."""
        name, at = run.case.name, self.clock.time
        run.manager = lease(self.ledger, TARGET, name)
        if self.plain.held(at) and self.plain.holder != name:
            with pytest.raises(Held):
                run.manager.__enter__()
            return False
        run.token = run.manager.__enter__().token
        self.holders.append(run)
        self.plain.holder, self.plain.token, self.plain.until = name, self.plain.token + 1, at + LEASE
        may = self.plain.may(run.trouble, wanted(run.plan), run.case.person, at)
        request = asking.request(run.case, run.action, run.plan)
        try:
            gatekeeper.intend(self.ledger, self.book, request, run.case.actor, run.token)
        except Refused:
            assert not may, "nothing refuses it"
            self.give_back(run)
            return False
        assert may, self.plain.refusing(run.trouble, run.plan.action, at)
        return True

    def change(self, run: Run) -> None:
        """Look at the lease for the last time, and make the change."""
        self.asleep.remove(run)
        may = self.plain.may_write(run.token, self.clock.time)
        try:
            check_lease(self.ledger, self.held(run))
        except Lost as lost:
            assert not may, "the lease is its own"
            run.case.record(e.Conflicted(plan=run.plan.hash, why=str(lost)), subject=TARGET)
        else:
            assert may, "the lease has run out, or is another's"
            # another run of the incident may have made the same plan since, which is an attempt of its own
            intents = {one.plan.hash for one in run.case.incident.attempts if one.applying}
            assert run.plan.hash in intents, "the intent is not on the record"
            before = self.world[0]
            run.action.apply(run.plan)
            if self.world[0] != before:
                self.count(run)
            run.case.record(e.Applied(plan=run.plan.hash), subject=TARGET)
            self.close(run.trouble)
        self.give_back(run)

    def count(self, run: Run) -> None:
        """A change was made."""
        assert (run.case.name, run.plan.hash) not in self.changed, "twice"
        self.changed.append((run.case.name, run.plan.hash))
        asked = run.trouble.questions.get(run.plan.action)
        by_people = asked is not None and asked.enough and not run.case.person
        event("changes after people said yes" if by_people else "changes")

    def held(self, run: Run) -> Lease:
        """The lease that a run took."""
        return Lease(target=TARGET, holder=run.case.name, token=run.token, expires_at=self.clock.time)

    def give_back(self, run: Run) -> None:
        """Leave the block of the lease, in time or not."""
        assert run.manager is not None
        self.holders.remove(run)
        if self.plain.token == run.token:
            self.plain.until = self.clock.time
        run.manager.__exit__(None, None, None)

    @precondition(lambda self: self.through)
    @rule(which=ANY, how=HOW)
    def go_on(self, which: int, how: str) -> None:
        """What was let through, maybe long ago, is carried out."""
        self.carry_out(self.through.pop(which % len(self.through)), how)

    @precondition(lambda self: self.asleep)
    @rule(which=ANY)
    def wake_up(self, which: int) -> None:
        """Whoever has put an intent on the record goes on, whether the lease is still theirs or not."""
        self.change(self.asleep[which % len(self.asleep)])

    @precondition(lambda self: self.asleep)
    @rule(which=ANY)
    def renew(self, which: int) -> None:
        """A lease is renewed once, which helps only where it is one's own and has not run out."""
        run = self.asleep[which % len(self.asleep)]
        if self.plain.may_write(run.token, self.clock.time):
            self.plain.until = self.clock.time + LEASE
        waits = iter([False, True])
        once: Any = SimpleNamespace(wait=lambda _: next(waits))
        leases._renew(self.ledger, self.held(run), LEASE, once)

    @rule(first=WHICH, seconds=st.sampled_from([50, 130]), others=st.lists(WHICH, max_size=1))
    def doze(self, first: str, seconds: int, others: list[str]) -> None:
        """Whoever holds the lease sleeps, in time or too long; maybe another tries to take it; and all go on."""
        self.rush(first, Runs, "slowly")
        self.wait(seconds)
        for other in others:
            self.rush(other, Runs, "slowly")
        while self.asleep:
            self.wake_up(0)

    # What people do.

    @rule(meanwhile=SPOILS)
    def agree_in_vain(self, meanwhile: Any) -> None:
        """People say yes, it counts no longer, though maybe no more gates ask, and it is carried out unseen."""
        self.ask_and_agree("a", Asks, meanwhile, True, "at once")

    @rule(which=WHICH, kind=KIND, meanwhile=HAPPENS, rush=st.booleans(), how=HOW)
    def ask_and_agree(self, which: str, kind: type[Runs], meanwhile: Any, rush: bool, how: str) -> None:
        """People are asked, and enough say yes; then something happens, and it is carried out."""
        self.enter(which, kind, "later")
        for who in (OPENER, "anna", "ben"):
            self.answer(which, who, yes=True)
        self.happen(meanwhile)
        (self.rush if rush else self.enter)(which, kind, how)

    @rule(kind=KIND)
    def forbid_and_defy(self, kind: type[Runs]) -> None:
        """The team forbids an action for a while, and a person runs it by hand all the same."""
        self.decide(Mode.run, kind.name())
        self.enter("a", kind, "at once", "carl")
        self.decide(Mode.run, "")

    @rule(how=HOW)
    def refuse_and_ask_again(self, how: str) -> None:
        """Somebody says no, and another incident is about to do the same."""
        self.enter("a", Asks, "later")
        self.answer("a", "anna", yes=False)
        self.enter("a", Asks, how)

    @rule(which=WHICH, who=PEOPLE, yes=st.sampled_from([True, True, True, False]))
    def answer(self, which: str, who: str, yes: bool) -> None:
        """Somebody answers, whether they were asked or not; where it counts, it is to the newest question."""
        trouble, person, asked = self.troubles[which], who.strip().lower(), self.troubles[which].asked
        try:
            approvals.answer(self.ledger, self.book, trouble.name, f"person:{who}", yes=yes, why="so")
        except NotAsked:
            return
        assert asked is not None
        assert asked.in_time(self.clock.time)
        if yes:
            assert person != OPENER, "who asked does not count"
            assert person not in asked.yes, "the same person twice"
            asked.yes.add(person)
            if asked.enough:
                self.plain.noes.pop(asked.proposal, None)
        else:
            self.plain.noes[asked.proposal] = self.clock.time
            self.close(trouble)

    # What happens.

    @rule(what=HAPPENS)
    def happen(self, what: tuple[str, *tuple[Any, ...]]) -> None:
        """Something happens that is nobody's answer."""
        getattr(self, what[0])(*what[1:])

    def wait(self, seconds: int) -> None:
        """Time passes."""
        self.clock.time += timedelta(seconds=seconds)

    def move(self, which: int) -> None:
        """Somebody changes the target, or another version turns out to be the good one."""
        self.newest += 1
        self.world[which] = self.newest

    def worsen(self, slot: str, severity: Severity) -> None:
        """An alert joins; the incident is as bad as the worst."""
        trouble = self.troubles[slot]
        fields = {"source": "x", "fingerprint": "f", "episode": "1", "starts_at": self.clock.time, "name": "A"}
        alert = Alert.model_validate({**fields, "firing": True, "severity": severity})
        self.ledger.append(e.Alerted(alert=alert), actor="intake:x", incident=trouble.name)
        trouble.severity = min(trouble.severity, severity)

    def pause(self, stop: bool) -> None:
        """A person pauses automation, or lets it go on."""
        body = e.Paused(why="stop") if stop else e.Unpaused(why="go")
        self.ledger.append(body, actor="person:anna", subject=AUTOMATION)
        self.plain.paused = stop

    def decide(self, frozen: Mode, forbidden: str) -> None:
        """The team freezes everything, or forbids an action, or takes that back."""
        self.book = playbook(frozen, forbidden)
        self.plain.frozen, self.plain.forbidden = frozen, forbidden

    def teardown(self) -> None:
        """Remove the ledger, once nobody holds anything any more."""
        for run in [*self.holders]:
            self.give_back(run)
        self.stack.close()


def wanted(plan: Plan) -> Wanted:
    """What a plan is about, as the plain rules have it."""
    return plan.action, int(str(plan.before["version"])), int(str(plan.after["version"]))


@cache
def playbook(frozen: Mode = Mode.run, forbidden: str = "") -> Playbook:
    """The shipped playbook with the story's rules, and limits that are never met."""
    plenty = Budget(at_most=10_000, per_minutes=1)
    days = {"name": "all", "timezone": "UTC", "first_day": date(2026, 1, 1), "last_day": date(2027, 12, 31)}
    approve = {"quorum": NEEDED, "expires_seconds": EXPIRES, "dismissed_for_seconds": REMEMBERED}
    changed = {
        "gates": {bad: {Risk.low: Mode.run, Risk.medium: Mode.run, Risk.high: Mode.ask} for bad in Severity},
        "actions": {name: ActionRule(mode=Mode.never if name == forbidden else Mode.run) for name in (RUNS, ASKS)},
        "limits": Limits(
            **dict.fromkeys(("per_action", "per_asset", "storm", "flapping"), plenty),
            cool_down_seconds=0,
            pause_after_crash=False,
        ),
        "freeze": () if frozen is Mode.run else (Freeze.model_validate({"says": frozen, **days}),),
        "autonomy": Autonomy(at_least=10_000, recover_after=0),
        "approvals": Approvals.model_validate(approve),
        "tell": {},
    }
    return load(PLAYBOOK, {}).model_copy(update=changed)


TestStory = Story.TestCase
TestStory.settings = settings(max_examples=100, stateful_step_count=25, deadline=None)
