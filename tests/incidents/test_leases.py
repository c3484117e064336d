"""Leases: one holder a target, a token that only grows, and an end that comes by itself."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from contextvars import Context
from datetime import UTC, datetime, timedelta
from pathlib import Path
from time import sleep

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from incidents import leases
from incidents.leases import Held, Lease, Lost, check_lease, lease, still_ours
from incidents.ledger import Ledger
from incidents.models import now
from incidents.schema import leases as table

TARGET = "dataset:transactions"


class Clock:
    """A clock that goes only when it is told to."""

    def __init__(self) -> None:
        self.time = datetime(2026, 11, 23, 7, tzinfo=UTC)

    def __call__(self) -> datetime:
        """This moment."""
        return self.time

    def forward(self, seconds: float) -> None:
        """Let time pass."""
        self.time += timedelta(seconds=seconds)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The leases' clock, in our hands."""
    made = Clock()
    monkeypatch.setattr(leases, "now", made)
    return made


@pytest.fixture
def take(anywhere: Ledger) -> Iterator[Callable[[str], Lease]]:
    """A way to take the target and not give it back before the test ends."""
    with ExitStack() as kept:
        yield lambda holder: kept.enter_context(lease(anywhere, TARGET, holder))


def test_one_holder(anywhere: Ledger, take: Callable[[str], Lease]) -> None:
    """While one holds a target another is told who does; another target is free."""
    with lease(anywhere, TARGET, "INC-1"):
        with pytest.raises(Held, match="INC-1 is changing dataset:transactions until"):
            take("INC-2")
        with lease(anywhere, "model:fraud", "INC-2"):
            pass
    with lease(anywhere, TARGET, "INC-2") as held:
        check_lease(anywhere, held)


def test_it_is_given_back_after_an_error(anywhere: Ledger, take: Callable[[str], Lease]) -> None:
    """A holder that breaks does not keep the others out."""

    def breaks() -> None:
        with lease(anywhere, TARGET, "INC-1"):
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        breaks()
    assert take("INC-2").token == 2


def test_it_ends_by_itself(anywhere: Ledger, clock: Clock, take: Callable[[str], Lease]) -> None:
    """A dead holder's lease runs out; when it wakes up it is told so, and its going leaves the next holder alone."""
    with lease(anywhere, TARGET, "INC-1", lifetime=timedelta(seconds=60)) as late:
        clock.forward(59)
        check_lease(anywhere, late)
        clock.forward(1)
        with pytest.raises(Lost, match=r"the lease on dataset:transactions \(token 1\) ran out"):
            check_lease(anywhere, late)
        second = take("INC-2")
        with pytest.raises(Lost):
            check_lease(anywhere, late)
    check_lease(anywhere, second)
    assert second.token == 2


def test_waiting_for_another(anywhere: Ledger, clock: Clock, take: Callable[[str], Lease]) -> None:
    """Who waits gets the target when its holder's time is over, and is told who held it where that takes too long."""
    take("INC-1")
    with pytest.raises(Held), lease(anywhere, TARGET, "INC-2", wait_seconds=0.3):
        pass
    clock.forward(leases.LIFETIME.total_seconds())
    with lease(anywhere, TARGET, "INC-2", wait_seconds=0.3) as held:
        assert held.token == 2


class Holders(RuleBasedStateMachine):
    """Three holders, one target and a clock: whatever order they act in, at most one may change the target."""

    def __init__(self) -> None:
        super().__init__()
        self.stack = ExitStack()
        folder = self.stack.enter_context(tempfile.TemporaryDirectory())
        self.ledger = Ledger(f"sqlite:///{Path(folder) / 'ledger.db'}")
        self.stack.callback(self.ledger.engine.dispose)
        self.clock = Clock()
        patch = self.stack.enter_context(pytest.MonkeyPatch.context())
        patch.setattr(leases, "now", self.clock)
        self.open: list[tuple[AbstractContextManager[Lease], Lease]] = []
        self.tokens: list[int] = []

    @rule(holder=st.sampled_from(["INC-1", "INC-2", "INC-3"]), seconds=st.integers(1, 20))
    def take(self, holder: str, seconds: int) -> None:
        """Somebody wants the target: they get it unless another may still change it."""
        others = [held.holder for held in self.entitled() if held.holder != holder]
        manager = lease(self.ledger, TARGET, holder, lifetime=timedelta(seconds=seconds))
        if others:
            with pytest.raises(Held):
                manager.__enter__()
        else:
            held = manager.__enter__()
            self.open.append((manager, held))
            self.tokens.append(held.token)

    @precondition(lambda self: self.open)
    @rule(data=st.data())
    def give_back(self, data: st.DataObject) -> None:
        """One of those who took it, in time or long after, is done."""
        manager, held = self.open.pop(data.draw(st.integers(0, len(self.open) - 1)))
        still = [other for other in self.entitled() if other.token != held.token]
        manager.__exit__(None, None, None)
        assert self.entitled() == still

    @rule(seconds=st.integers(1, 15))
    def pass_time(self, seconds: int) -> None:
        """Time passes."""
        self.clock.forward(seconds)

    @invariant()
    def at_most_one_may_change_it(self) -> None:
        """Of all who think that they hold it, the check lets at most one go on: the one with the newest token."""
        entitled = self.entitled()
        assert len(entitled) <= 1
        assert all(held.token == max(self.tokens) for held in entitled)

    @invariant()
    def tokens_grow(self) -> None:
        """Every lease has a higher token than the one before."""
        assert self.tokens == sorted(set(self.tokens))

    def entitled(self) -> list[Lease]:
        """Those whom the check lets go on."""
        found = []
        for _, held in self.open:
            try:
                check_lease(self.ledger, held)
            except Lost:
                continue
            found.append(held)
        return found

    def teardown(self) -> None:
        """Remove the ledger, once nobody holds anything any more."""
        for manager, _ in self.open:
            manager.__exit__(None, None, None)
        self.stack.close()


TestHolders = Holders.TestCase
TestHolders.settings = settings(max_examples=25, stateful_step_count=20, deadline=None)


def test_a_lease_is_renewed_while_it_is_held(ledger: Ledger) -> None:
    """A change may take longer than a lease lives: as long as its process lives, nobody else gets the target."""
    lifetime = timedelta(seconds=0.6)
    with lease(ledger, "model:fraud", "INC-1", lifetime=lifetime) as held:
        while now() < held.expires_at + lifetime:
            with pytest.raises(Held), lease(ledger, "model:fraud", "INC-2"):
                pass
            sleep(0.05)
        check_lease(ledger, held)
        still_ours()


def test_a_lease_that_was_lost_is_not_taken_back(ledger: Ledger) -> None:
    """Somebody else has the target since: the next write of the change under way is refused, and stays so."""
    with lease(ledger, "model:fraud", "INC-1", lifetime=timedelta(seconds=0.3)) as held:
        with ledger.write() as writer:  # as if this machine had slept
            writer.connection.execute(table.update().values(expires_at="2000-01-01T00:00:00+00:00"))
        with lease(ledger, "model:fraud", "INC-2"):
            sleep(0.5)
            with pytest.raises(Lost):
                check_lease(ledger, held)
            still_ours()
        with pytest.raises(Lost):
            still_ours()


def test_without_a_lease_there_is_nothing_to_lose() -> None:
    """An action that is tried out alone, outside of any flow, holds none."""
    Context().run(still_ours)
