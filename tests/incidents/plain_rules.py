"""What may run, written down a second time and as plainly as possible: the oracle of ``test_nothing_slips_through``."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta

from incidents.models import Mode, Severity

#: The limits of the test's playbook, two in seconds. No sum of the times that pass there comes near one of them.
EXPIRES, REMEMBERED, LEASE = 1005, 3605, timedelta(minutes=2)
NEEDED = {Severity.critical: 2, Severity.high: 2, Severity.medium: 1, Severity.low: 1}

#: The action whose cell of the matrix runs, and the one whose cell asks, at every severity.
RUNS, ASKS = "runs", "asks"

#: Who begins every incident.
OPENER = "olga"

#: An action, the version that is there, and the version that is to be there.
Wanted = tuple[str, int, int]


@dataclass
class Question:
    """What people were asked, and who has said yes."""

    wanted: Wanted
    severity: Severity
    at: datetime
    about: set[str]
    yes: set[str] = field(default_factory=set)

    @property
    def enough(self) -> bool:
        """Whether so many different people said yes as the severity needs."""
        return len(self.yes) >= NEEDED[self.severity]

    @property
    def proposal(self) -> tuple[str, int]:
        """What is to be done, whatever was there before."""
        return self.wanted[0], self.wanted[2]

    def in_time(self, at: datetime) -> bool:
        """Whether its time is not over."""
        return at < self.at + timedelta(seconds=EXPIRES)


@dataclass
class Trouble:
    """An incident, and what people were asked last about each action."""

    name: str
    severity: Severity
    questions: dict[str, Question] = field(default_factory=dict)
    #: The newest of all.
    asked: Question | None = None


@dataclass
class PlainRules:
    """What has happened so far, as far as a rule looks at it."""

    paused: bool = False
    frozen: Mode = Mode.run
    #: The actions that the playbook forbids.
    forbidden: str = ""
    #: Who holds the one lease, by which token, and until when.
    holder: str = ""
    token: int = 0
    until: datetime | None = None
    #: What is to be done -> when somebody said no to it.
    noes: dict[tuple[str, int], datetime] = field(default_factory=dict)

    def refusing(self, trouble: Trouble, action: str, at: datetime) -> dict[str, Mode]:
        """Every rule that does not say run, and what it says."""
        says = {
            "matrix": Mode.ask if action == ASKS else Mode.run,
            "critical": Mode.ask if trouble.severity is Severity.critical else Mode.run,
            "rule": Mode.never if action == self.forbidden else Mode.run,
            "freeze": self.frozen,
            "lease": Mode.ask if self.held(at) and self.holder != trouble.name else Mode.run,
            "pause": Mode.ask if self.paused else Mode.run,
        }
        return {name: mode for name, mode in says.items() if mode is not Mode.run}

    def may(self, trouble: Trouble, wanted: Wanted, person: str, at: datetime) -> bool:
        """Whether nothing refuses, or what does only asks, and a person is the answer or people have given it."""
        refusing = self.refusing(trouble, wanted[0], at)
        if Mode.never in refusing.values():
            return False
        return not refusing or bool(person) or self.approved(trouble, wanted, at, set(refusing))

    @staticmethod
    def approved(trouble: Trouble, wanted: Wanted, at: datetime, asking: set[str]) -> bool:
        """Whether enough people said yes to just this, in time, at no worse a moment, and to all that asks."""
        asked = trouble.questions.get(wanted[0])
        if asked is None or not asked.enough or not asked.in_time(at):
            return False
        return asked.wanted == wanted and trouble.severity >= asked.severity and asking <= asked.about

    def outcome(self, trouble: Trouble, wanted: Wanted, person: str, at: datetime) -> str:
        """How it has to end when an incident's section is entered, in words of what is said."""
        if trouble.asked and trouble.severity < trouble.asked.severity:
            return "got worse"
        if Mode.never in self.refusing(trouble, wanted[0], at).values():
            return "may not run"
        if not person and self.dismissed(wanted, at):
            return "not asked again"
        return "let through" if self.may(trouble, wanted, person, at) else "people are asked"

    def dismissed(self, wanted: Wanted, at: datetime) -> bool:
        """Whether somebody said no to the same lately, and nobody enough yes since."""
        said = self.noes.get((wanted[0], wanted[2]))
        return said is not None and at < said + timedelta(seconds=REMEMBERED)

    def held(self, at: datetime) -> bool:
        """Whether the lease has not run out."""
        return self.until is not None and at < self.until

    def may_write(self, token: int, at: datetime) -> bool:
        """Whether whoever has this token may change the target now."""
        return token == self.token and self.held(at)
