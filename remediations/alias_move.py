"""Moving a registered model's production alias, and back. What it is moved to is each action's own.

MLflow has no compare-and-set: ``flows.steps`` holds a lease on the target while ``apply`` runs, and a person who
uses MLflow's own pages is outside of it, so ``aliases`` reads the alias right before and right after it is set.
"""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import Field

from incidents.leases import still_ours
from incidents.models import Category, Health, Plan, Risk, Verdict
from incidents.playbook import Model, Playbook, playbook
from remediations import aliases
from remediations.base import CannotPlan, Remediation, declared
from remediations.clients import registry
from remediations.lineage import learned_from, serving
from remediations.permissions import Statement


class AliasMove(Remediation):
    """An action whose plan is the version that the alias is to point at."""

    category: ClassVar[Category] = Category.model
    risk: ClassVar[Risk] = Risk.medium
    permissions: ClassVar[tuple[str, ...]] = (
        "mlflow: read registered models, model versions, their artifacts and runs",
        "mlflow: set and delete aliases of the model",
        "mlflow: set and delete tags of its versions",
    )
    #: What the tags of the version that leaves and of the one that comes say.
    words: ClassVar[tuple[str, str]]

    model: str = Field(description="The registered model, as the playbook declares it.")

    @classmethod
    def statements(cls, book: Playbook) -> tuple[Statement, ...]:  # noqa: ARG003  # whatever it declares
        """Nothing: MLflow alone is asked, also for a version's files."""
        return ()

    def subject(self) -> str:
        """``model:fraud``."""
        return f"model:{self.model}"

    def apply(self, plan: Plan) -> None:
        """Set the alias, where it still is as the plan found it, and say so in both versions' tags."""
        self._move(plan.before, plan.after)
        client, tag = registry(), _tag(plan)
        for version, text in self._notes(plan):
            still_ours()
            client.set_model_version_tag(self.model, version, tag, text)

    def verify(self, plan: Plan) -> Verdict:
        """Read the alias again. A registry that does not answer, and an alias that is gone, tell nothing."""
        from mlflow.exceptions import MlflowException

        try:
            seen, wanted = serving(self.model, self._declared().alias), plan.after["version"]
        except (CannotPlan, MlflowException) as error:
            return Verdict(health=Health.inconclusive, why=f"where {plan.target} is could not be read: {error}"[:500])
        if seen == wanted:
            return Verdict(health=Health.healthy, why=f"{plan.target} is version {seen}")
        return Verdict(health=Health.unhealthy, why=f"{plan.target} is version {seen} and not {wanted}")

    def undo(self, plan: Plan) -> None:
        """Set the alias back, where it still is as the plan left it, and take the tags away."""
        self._move(plan.after, plan.before)
        client, tag = registry(), _tag(plan)
        for version, _ in self._notes(plan):
            if tag in client.get_model_version(self.model, version).tags:
                client.delete_model_version_tag(self.model, version, tag)

    def _declared(self) -> Model:
        return declared("model", self.model, playbook().models)

    def _move(self, expected: dict[str, Any], wanted: dict[str, Any]) -> None:
        alias = self._declared().alias
        aliases.move(self.model, alias, expect=expected["version"], to=wanted["version"])

    def _notes(self, plan: Plan) -> tuple[tuple[str, str], tuple[str, str]]:
        old, new = str(plan.before["version"]), str(plan.after["version"])
        why, (leaves, comes) = f" ({self.because})" if self.because else "", self.words
        return (
            (old, f"{leaves} from {plan.target} for version {new}{why}"),
            (new, f"{comes} as {plan.target} in place of version {old}{why}"),
        )


def problem(model: str, version: int, asset: Model, bad: dict[str, set[str]]) -> str | None:
    """Why a version verified good is no target all the same; None when it is one."""
    from mlflow.exceptions import MlflowException

    try:
        sources = learned_from(model, version)
    except MlflowException as error:
        if error.error_code == "RESOURCE_DOES_NOT_EXIST":
            return "MLflow no longer has it"
        raise
    if asset.learns_from and not sources:
        return "its run does not say which data it learned from"
    tainted = sorted(f"{name} {data}" for name, data in sources if data in bad.get(name, ()))
    return f"it learned from {', '.join(tainted)}, which is bad" if tainted else None


def _tag(plan: Plan) -> str:
    return f"lastgood.{plan.hash[:12]}"
