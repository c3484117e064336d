"""Let a model's service answer with the safe version that people have chosen, until it is known what is wrong."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from incidents import known_good
from incidents.ledger import ledger
from incidents.models import Health, Risk
from incidents.playbook import Model, Playbook, playbook
from remediations.base import CannotPlan, declared
from remediations.clients import registry
from remediations.containment import Containment, State
from remediations.lineage import serving
from remediations.permissions import Statement
from remediations.refusals import refused


class IsolateService(Containment):
    """Point the model's alias at the fallback version that the playbook declares, so that traffic goes there."""

    risk: ClassVar[Risk] = Risk.medium
    permissions: ClassVar[tuple[str, ...]] = (
        "mlflow: read registered models, model versions and artifacts",
        "mlflow: set aliases of the model",
    )

    model: str = Field(description="The model, as the playbook declares it.")

    @classmethod
    def statements(cls, book: Playbook) -> tuple[Statement, ...]:  # noqa: ARG003  # whatever it declares
        """Nothing: MLflow alone is asked, also for a version's files."""
        return ()

    def subject(self) -> str:
        """``model:fraud``."""
        return f"model:{self.model}"

    def target(self) -> str:
        """``models:/fraud@champion``."""
        return f"models:/{self.model}@{self._declared().alias}"

    def seen(self) -> State:
        """The version that the alias names."""
        return {"version": serving(self.model, self._declared().alias)}

    def wanted(self, seen: State) -> State:
        """The fallback, unless something is against it."""
        fallback = self._declared().fallback
        if fallback is None:
            raise CannotPlan(f"the playbook declares no fallback version of {self.model}")
        if str(fallback) in known_good.versions(ledger(), self.subject(), Health.unhealthy):
            raise CannotPlan(f"version {fallback} of {self.model} is its fallback, and was found bad")
        if seen["version"] == fallback:
            return seen
        why = refused(self.model, fallback, look=True)
        if why is not None:
            raise CannotPlan(f"version {fallback} of {self.model} is its fallback, and {why}")
        return {"version": fallback}

    def set(self, wanted: State, expected: State) -> None:  # noqa: ARG002  # MLflow has no conditional form of it
        """Set the alias."""
        registry().set_registered_model_alias(self.model, self._declared().alias, str(wanted["version"]))

    def summary(self, before: State, after: State) -> str:
        """From which version to which."""
        old, new = before["version"], after["version"]
        return f"{self.model} answers with its fallback, version {old} -> {new}" if old != new else "it does already"

    def _declared(self) -> Model:
        return declared("model", self.model, playbook().models)
