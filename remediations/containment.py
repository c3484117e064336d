"""What an action of containment is: a setting that is read whole, compared, set, and looked at again.

Undoing one lets in again what was shut out, so it takes two people, and a doubt never undoes it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

from pydantic import JsonValue

from incidents.leases import still_ours
from incidents.models import Category, Health, Plan, Verdict
from remediations.base import CannotPlan, Conflict, Remediation, RemediationError

#: A setting as it is found: field -> value. It may be half set where a process died.
State = dict[str, JsonValue]


class Containment(Remediation, ABC):
    """One setting, moved from what the plan found to what it says. A subclass reads and writes it."""

    category: ClassVar[Category] = Category.security
    heals: ClassVar[bool] = False
    undo_needs: ClassVar[int] = 2

    @abstractmethod
    def target(self) -> str:
        """The setting's name, as plans write it."""

    @abstractmethod
    def seen(self) -> State:
        """The setting as it is now.

        Raises:
            CannotPlan: it is not declared, or not there.
        """

    @abstractmethod
    def wanted(self, seen: State) -> State:
        """The setting as it is to be; the same where it already is. The same planned twice from one state.

        Raises:
            CannotPlan: it cannot be contained so.
        """

    @abstractmethod
    def set(self, wanted: State, expected: State) -> None:
        """Write it. Called only where it is ``expected``, or on the way from there."""

    @abstractmethod
    def summary(self, before: State, after: State) -> str:
        """One line for a tired person."""

    def same(self, one: JsonValue, other: JsonValue) -> bool:
        """Whether two values of a field are the same; some servers write what they are given in their own way."""
        return one == other

    def reasons(self, after: State) -> tuple[str, ...]:  # noqa: ARG002  # for those who have some
        """Why so and not otherwise."""
        return ()

    def plan(self) -> Plan:
        """Look at the setting, and say what would stand there."""
        before = self.seen()
        after = self.wanted(before)
        return Plan(
            action=self.name(),
            parameters=self.model_dump(mode="json"),
            target=self.target(),
            before=before,
            after=after,
            summary=self.summary(before, after),
            because=self.reasons(after),
        )

    def apply(self, plan: Plan) -> None:
        """Set it, where it still is as the plan found it."""
        self._move(plan.before, plan.after)

    def verify(self, plan: Plan) -> Verdict:
        """Look at it again. A server that does not answer is no answer."""
        try:
            found = self.seen()
        except CannotPlan as gone:
            return Verdict(health=Health.unhealthy, why=str(gone))
        except RemediationError as error:
            return Verdict(health=Health.inconclusive, why=str(error))
        except Exception as error:  # away, refused, or in doubt
            why = f"{self.target()} could not be seen: {type(error).__name__}: {error}"
            return Verdict(health=Health.inconclusive, why=why[:500])
        if self._all_same(found, plan.after):
            return Verdict(health=Health.healthy, why=f"{self.target()} is as it is to be")
        return Verdict(health=Health.unhealthy, why=f"{self.target()} is not as it is to be")

    def undo(self, plan: Plan) -> None:
        """Set what the plan found, where it still is as we left it."""
        self._move(plan.after, plan.before)

    def _move(self, expected: State, wanted: State) -> None:
        found = self.seen()
        if self._all_same(found, wanted):
            return
        if not self._on_the_way(found, expected, wanted):
            raise Conflict(f"{self.target()} is no longer as it was left: somebody else changed it, and it stays so")
        still_ours()
        self.set(wanted, expected)
        now = self.seen()
        if not self._on_the_way(now, expected, wanted):
            raise Conflict(f"{self.target()} was set, and somebody else changed it right after")

    def _all_same(self, one: State, other: State) -> bool:
        return set(one) == set(other) and all(self.same(value, other[field]) for field, value in one.items())

    def _on_the_way(self, found: State, expected: State, wanted: State) -> bool:
        """Whether each field is one or the other: a process may have died in between, and some servers show it late."""
        if set(found) != set(expected):
            return False
        return all(
            self.same(value, expected[field]) or self.same(value, wanted[field]) for field, value in found.items()
        )
