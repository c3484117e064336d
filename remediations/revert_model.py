"""Bring a registered model's production alias back to the version last verified good."""

from __future__ import annotations

from typing import ClassVar

from pydantic import AwareDatetime, Field

from incidents import known_good
from incidents.ledger import ledger
from incidents.models import Health, Plan
from incidents.playbook import Model
from remediations.alias_move import AliasMove, problem
from remediations.base import CannotPlan
from remediations.lineage import serving
from remediations.refusals import refused


class RevertModel(AliasMove):
    """Point the model's alias at the newest version verified good and not trained on tainted data."""

    words: ClassVar[tuple[str, str]] = ("withdrawn", "restored")

    to: int | None = Field(None, ge=1, description="A version that was verified good. Empty: the newest of them.")
    even_if_good: bool = Field(False, description="Leave the current version even where it was verified good.")
    good_before: AwareDatetime | None = Field(
        None,
        description="Only what was verified good before this: the first sign of a breach. Its files are read again.",
    )

    def plan(self) -> Plan:
        """Look for the version to go back to, and say why it is that one."""
        asset = self._declared()
        current = serving(self.model, asset.alias)
        bad = {name: known_good.versions(ledger(), f"dataset:{name}", Health.unhealthy) for name in asset.learns_from}
        passed_over: list[str] = []
        for candidate in self._candidates(current):
            why_not = problem(self.model, candidate, asset, bad)
            why_not = why_not or refused(self.model, candidate, look=self.good_before is not None)
            if why_not is None:
                return self._plan(asset, current, candidate, passed_over)
            passed_over.append(f"not version {candidate}: {why_not}")
        seen = "; ".join(passed_over) or "no version of it was ever verified good"
        raise CannotPlan(f"{self.model} has no version to go back to: {seen}")

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
