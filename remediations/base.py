"""What an action is. Read this and any file beside it; there is nothing else to learn."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import ClassVar, TypeVar

from pydantic import Field, field_validator

from incidents.models import Category, Frozen, Health, Plan, Risk, Verdict
from incidents.playbook import Playbook
from incidents.redaction import redact, redact_tree
from remediations.permissions import Statement

Asset = TypeVar("Asset")

#: Of a job that has ended or was undone: its name is made from the reason, and the same name is the same job.
ANEW = "Asked for again for the same reason it stays ended; another reason (`because`) has it run anew"


class RemediationError(Exception):
    """An action could not do what it was asked, and changed nothing."""


class CannotPlan(RemediationError):
    """There is no safe plan: for instance no version that was ever verified good. A person is needed."""


def declared(kind: str, name: str, among: Mapping[str, Asset]) -> Asset:
    """What the playbook declares by that name.

    Raises:
        CannotPlan: it declares none.
    """
    if name not in among:
        raise CannotPlan(f"the playbook declares no {kind} {name!r}; what is not declared is never changed")
    return among[name]


class Conflict(RemediationError):
    """The world is no longer what the plan, or our own change, left: somebody else moved it, and it stays so."""


class CannotUndo(RemediationError):
    """What was done cannot be taken back. A person is needed."""


class Remediation(Frozen, ABC):
    """One change to production: what would change, make it so, look again, take it back.

    A subclass is a frozen pydantic model; its fields are its parameters, and so its form in the Prefect UI.
    Recording, gating and leasing happen around an action, in ``flows.steps``, never inside it.
    """

    #: The section of the playbook it belongs to.
    category: ClassVar[Category]
    #: What it may cost when it is wrong.
    risk: ClassVar[Risk]
    #: Whether ``undo`` can bring back what was there. What cannot come back never runs without a person.
    reversible: ClassVar[bool] = True
    #: Whether the asset is to be well afterwards, so that a check of it says whether it helped.
    heals: ClassVar[bool] = True
    #: How many people have to ask for it before it is undone; with more than one it is never undone by itself.
    undo_needs: ClassVar[int] = 1
    #: What it must be allowed to do, one line each: ``s3:PutObject datasets/NAME/current``.
    permissions: ClassVar[tuple[str, ...]]

    @classmethod
    @abstractmethod
    def statements(cls, book: Playbook) -> tuple[Statement, ...]:
        """What it needs of AWS for the assets that a playbook declares, and for no others; ``()``: nothing at all."""

    #: Every action says why, so that what it leaves beside the change leads back to the record.
    because: str = Field("", max_length=300, description="Why: the incident's name, or your reason.")

    @field_validator("*", mode="after")
    @classmethod
    def _without_secrets(cls, given: object) -> object:
        """A field is on the record for ever, beside the change, and in Prefect: a secret in it is taken out at once."""
        return redact_tree(given)

    @classmethod
    def name(cls) -> str:
        """The action's one word: its file, its rule in the playbook, its deployment."""
        return re.sub(r"(?<!^)(?=[A-Z])", "_", cls.__name__).lower()

    @abstractmethod
    def subject(self) -> str:
        """The declared asset that it is about: ``model:fraud``; touches nothing."""

    def thing(self) -> str:
        """What exactly it is about, where that is less than the asset; an undo takes back the last about the same."""
        return self.subject()

    @abstractmethod
    def plan(self) -> Plan:
        """Look, and say exactly what would change. Never writes. In effect already: a plan with nothing to do.

        Raises:
            CannotPlan: no safe plan exists; the message says what is missing.
        """

    @abstractmethod
    def apply(self, plan: Plan) -> None:
        """Make it so, only where the world still is ``plan.before``. Safe to call twice.

        Raises:
            Conflict: the world is neither ``plan.before`` nor ``plan.after``; nothing was changed.
        """

    @abstractmethod
    def verify(self, plan: Plan) -> Verdict:
        """Look again: is the target as ``plan.after`` says?"""

    @abstractmethod
    def undo(self, plan: Plan) -> None:
        """Restore ``plan.before`` from the plan alone, where the world still is ``plan.after``. Safe to call twice.

        Raises:
            Conflict: the world is neither ``plan.after`` nor ``plan.before``; nothing was changed.
            CannotUndo: the action is not ``reversible``; nothing was changed.
        """


def verified(action: Remediation, plan: Plan) -> Verdict:
    """What ``verify`` says. What could not be looked at is inconclusive: an error is not a failure."""
    try:
        return action.verify(plan)
    except Exception as error:  # whatever stands between us and the target
        why = f"{plan.target} could not be looked at: {type(error).__name__}: {error}"
        return Verdict(health=Health.inconclusive, why=redact(why))
