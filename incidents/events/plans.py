"""What was planned, and who let it run: the plan, the gates, the question to people and their answers."""

from __future__ import annotations

from typing import Literal

from pydantic import AwareDatetime

from incidents.models import Category, Frozen, Mode, Plan, Risk, Severity


class Planned(Frozen):
    """An action looked and said exactly what it would change."""

    kind: Literal["planned"] = "planned"
    plan: Plan


class NotPlanned(Frozen):
    """An action found no safe plan."""

    kind: Literal["not_planned"] = "not_planned"
    action: str
    target: str
    why: str


class Gate(Frozen):
    """What one gate said, and why."""

    name: str
    says: Mode
    why: str
    #: When it would say otherwise, where nothing but time has to pass.
    until: AwareDatetime | None = None


class Approval(Frozen):
    """A yes that stands: of whom, and to which gates. A gate that asks only now was not answered by it."""

    by: tuple[str, ...]
    answers: tuple[str, ...]


class Asked(Frozen):
    """What was asked of the gates, besides the plan; enough to ask another playbook the same later."""

    #: Of the action: its section, what it may cost, and whether it can be undone.
    category: Category
    severity: Severity
    risk: Risk
    reversible: bool
    #: The asset the incident is about; None when it named none that the playbook declares.
    asset: str | None
    #: The asset that the action changes; empty where it is the one above.
    subject: str = ""
    #: Every declared asset that the change touches.
    reach: tuple[str, ...] = ()
    #: The incident; empty where there is none, as in a rehearsal.
    incident: str = ""
    #: The person who runs it by hand; empty when a flow asks.
    person: str = ""
    #: What people said to the very same plan, where enough of them said yes.
    approval: Approval | None = None

    @property
    def changes(self) -> str:
        """The asset that the action changes; empty where none is known."""
        return self.subject or self.asset or ""


class Gated(Frozen):
    """Every gate was asked whether the plan may run, and this is what each said."""

    kind: Literal["gated"] = "gated"
    plan: str
    mode: Mode
    gates: tuple[Gate, ...]
    #: SHA-256 of the playbook that decided.
    playbook: str
    #: The plan's action, and what else was asked; absent from records made before these were kept.
    action: str = ""
    asked: Asked | None = None


class AskedFor(Frozen):
    """People were asked whether a plan may run; the flow has ended, and an answer starts it again."""

    kind: Literal["asked_for"] = "asked_for"
    plan: str
    #: SHA-256 of what is to be done and of the state of the world that it was planned from. Planned again it must be
    #: the same, else the answer is void.
    world: str
    #: SHA-256 of what is to be done, in whatever incident: what a person dismissed is not asked again for a while.
    proposal: str
    severity: Severity
    #: How many people have to say yes, and until when.
    needed: int
    expires_at: AwareDatetime
    #: The gates that asked.
    gates: tuple[str, ...]


class Answered(Frozen):
    """A person, the actor, said yes or no to a plan."""

    kind: Literal["answered"] = "answered"
    plan: str
    yes: bool
    why: str = ""
    #: The one-time link that was used, by its number; empty where none was.
    link: str = ""


class Approved(Frozen):
    """Enough people said yes. The plan may run, if the world still is as it was planned from."""

    kind: Literal["approved"] = "approved"
    plan: str
    by: tuple[str, ...]


class ApprovalVoid(Frozen):
    """What people were asked, and what they answered, no longer holds."""

    kind: Literal["approval_void"] = "approval_void"
    plan: str
    why: str


#: Every kind of this family that can stand on the record.
Decided = Planned | NotPlanned | Gated | AskedFor | Answered | Approved | ApprovalVoid
