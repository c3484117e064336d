"""Moving a dataset's ``current`` pointer, and back. What it is moved to is each action's own."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from incidents.models import Category, Health, Plan, Risk, Verdict
from incidents.playbook import Dataset, playbook
from remediations.base import Remediation, declared
from remediations.datasets import open_store
from remediations.datasets.base import DatasetStore, Pointer


class DatasetMove(Remediation):
    """An action whose plan is the pointer that the dataset is to have."""

    category: ClassVar[Category] = Category.data
    risk: ClassVar[Risk] = Risk.medium

    dataset: str = Field(description="The dataset, as the playbook declares it.")

    def subject(self) -> str:
        """``dataset:transactions``."""
        return f"dataset:{self.dataset}"

    def apply(self, plan: Plan) -> None:
        """Move the pointer, where it still is as the plan found it."""
        self._store().move(Pointer.model_validate(plan.after), expect=Pointer.model_validate(plan.before))

    def verify(self, plan: Plan) -> Verdict:
        """Read the pointer again."""
        current = self._store().current()
        if current == Pointer.model_validate(plan.after):
            return Verdict(health=Health.healthy, why=f"{self.dataset} is at {current.version}")
        return Verdict(
            health=Health.unhealthy,
            why=f"{self.dataset} is not at {plan.after['version']}: {current.moved_by} set it to {current.version}",
        )

    def undo(self, plan: Plan) -> None:
        """Move the pointer back, byte for byte, where it still is as the plan left it."""
        self._store().move(Pointer.model_validate(plan.before), expect=Pointer.model_validate(plan.after))

    def _declared(self) -> Dataset:
        return declared("dataset", self.dataset, playbook().datasets)

    def _store(self) -> DatasetStore:
        return open_store(self._declared().store, self.dataset)
