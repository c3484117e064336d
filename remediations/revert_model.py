"""Bring a registered model's production alias back to the version last verified good.

MLflow has no compare-and-set: ``flows.steps`` holds a lease on the target while ``apply`` runs, and a person who
uses MLflow's own pages is outside of it, so the alias is read again right before and right after it is set.
"""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import AwareDatetime, Field

from incidents import known_good
from incidents.leases import still_ours
from incidents.ledger import ledger
from incidents.models import Category, Health, Plan, Risk, Verdict
from incidents.playbook import Model, playbook
from remediations.base import CannotPlan, Conflict, Remediation
from remediations.clients import registry
from remediations.lineage import learned_from, serving
from remediations.refusals import refused


class RevertModel(Remediation):
    """Point the model's alias at the newest version verified good and not trained on tainted data."""

    category: ClassVar[Category] = Category.model
    risk: ClassVar[Risk] = Risk.medium
    permissions: ClassVar[tuple[str, ...]] = (
        "mlflow: read registered models, model versions, their artifacts and runs",
        "mlflow: set and delete aliases of the model",
        "mlflow: set and delete tags of its versions",
    )

    model: str = Field(description="The registered model, as the playbook declares it.")
    to: int | None = Field(None, ge=1, description="A version that was verified good. Empty: the newest of them.")
    even_if_good: bool = Field(False, description="Leave the current version even where it was verified good.")
    good_before: AwareDatetime | None = Field(
        None,
        description="Only what was verified good before this: the first sign of a breach. Its files are read again.",
    )

    def subject(self) -> str:
        """``model:fraud``."""
        return f"model:{self.model}"

    def plan(self) -> Plan:
        """Look for the version to go back to, and say why it is that one."""
        asset = self._declared()
        current = serving(self.model, asset.alias)
        bad = {name: known_good.versions(ledger(), f"dataset:{name}", Health.unhealthy) for name in asset.learns_from}
        passed_over: list[str] = []
        for candidate in self._candidates(current):
            problem = _problem(self.model, candidate, asset, bad)
            problem = problem or refused(self.model, candidate, look=self.good_before is not None)
            if problem is None:
                return self._plan(asset, current, candidate, passed_over)
            passed_over.append(f"not version {candidate}: {problem}")
        seen = "; ".join(passed_over) or "no version of it was ever verified good"
        raise CannotPlan(f"{self.model} has no version to go back to: {seen}")

    def apply(self, plan: Plan) -> None:
        """Set the alias, where it still is as the plan found it, and say so in both versions' tags."""
        self._move(plan, plan.before, plan.after)
        client, tag = registry(), _tag(plan)
        for version, text in self._notes(plan):
            still_ours()
            client.set_model_version_tag(self.model, version, tag, text)

    def verify(self, plan: Plan) -> Verdict:
        """Read the alias again."""
        seen, wanted = serving(self.model, self._declared().alias), plan.after["version"]
        if seen == wanted:
            return Verdict(health=Health.healthy, why=f"{plan.target} is version {seen}")
        return Verdict(health=Health.unhealthy, why=f"{plan.target} is version {seen} and not {wanted}")

    def undo(self, plan: Plan) -> None:
        """Set the alias back, where it still is as the plan left it, and take the tags away."""
        self._move(plan, plan.after, plan.before)
        client, tag = registry(), _tag(plan)
        for version, _ in self._notes(plan):
            if tag in client.get_model_version(self.model, version).tags:
                client.delete_model_version_tag(self.model, version, tag)

    def _declared(self) -> Model:
        declared = playbook().models.get(self.model)
        if declared is None:
            raise CannotPlan(f"the playbook declares no model {self.model!r}; what is not declared is never changed")
        return declared

    def _candidates(self, current: int) -> list[int]:
        """The versions to try, best first: what is asked for; or the current one if it is good, then the newest."""
        known = (
            known_good.good_before(ledger(), self.subject(), self.good_before)
            if self.good_before
            else known_good.versions(ledger(), self.subject(), Health.healthy)
        )
        good = {int(version) for version in known}
        if self.to is not None:
            if self.to not in good:
                raise CannotPlan(f"version {self.to} of {self.model} was never verified good, or is quarantined")
            return [self.to]
        others = sorted(good - {current}, reverse=True)
        return [current, *others] if current in good and not self.even_if_good else others

    def _plan(self, asset: Model, current: int, wanted: int, passed_over: list[str]) -> Plan:
        same = current == wanted
        return Plan(
            action=self.name(),
            parameters=self.model_dump(mode="json"),
            target=f"models:/{self.model}@{asset.alias}",
            before={"version": current},
            after={"version": wanted},
            summary=f"{self.model}@{asset.alias} stays at version {current}, which is good"
            if same
            else f"{self.model}@{asset.alias}: version {current} -> {wanted}",
            because=(*passed_over, f"version {wanted} was verified good and learned from nothing that is tainted"),
        )

    def _move(self, plan: Plan, expected: dict[str, Any], wanted: dict[str, Any]) -> None:
        alias = self._declared().alias
        found = serving(self.model, alias)
        if found == wanted["version"]:
            return
        if found != expected["version"]:
            raise Conflict(
                f"{plan.target} is version {found}, and not {expected['version']} as the plan found it: left as it is"
            )
        still_ours()
        registry().set_registered_model_alias(self.model, alias, str(wanted["version"]))
        seen = serving(self.model, alias)
        if seen != wanted["version"]:
            raise Conflict(f"{plan.target} was set to {wanted['version']}, and somebody set it to {seen} right after")

    def _notes(self, plan: Plan) -> tuple[tuple[str, str], tuple[str, str]]:
        old, new = str(plan.before["version"]), str(plan.after["version"])
        why = f" ({self.because})" if self.because else ""
        return (
            (old, f"withdrawn from {plan.target} for version {new}{why}"),
            (new, f"restored as {plan.target} in place of version {old}{why}"),
        )


def _problem(model: str, version: int, asset: Model, bad: dict[str, set[str]]) -> str | None:
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
