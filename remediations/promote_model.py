"""Let a challenger that has won take the champion's place."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from incidents import known_good
from incidents.events import Contested
from incidents.ledger import ledger
from incidents.models import Health, Plan
from remediations.alias_move import AliasMove, problem
from remediations.base import CannotPlan
from remediations.lineage import serving
from remediations.refusals import refused


class PromoteModel(AliasMove):
    """Point the model's alias at a version that has won against the one in production, and learned from good data.

    One that is quarantined, or whose files are unsafe to load, never is.
    """

    words: ClassVar[tuple[str, str]] = ("withdrawn", "promoted")

    to: int = Field(ge=1, description="The version that won.")

    def plan(self) -> Plan:
        """Look whether it has won against the version in production now, and whether its data is still good."""
        asset = self._declared()
        current = serving(self.model, asset.alias)
        bad = {name: known_good.versions(ledger(), f"dataset:{name}", Health.unhealthy) for name in asset.learns_from}
        why_not = problem(self.model, self.to, asset, bad)
        if why_not is not None:
            raise CannotPlan(f"version {self.to} of {self.model} is not promoted: {why_not}")
        won = self._won(current)
        why_not = refused(self.model, self.to) if current != self.to else None
        if why_not is not None:
            raise CannotPlan(f"version {self.to} of {self.model} is not promoted: {why_not}")
        return Plan(
            action=self.name(),
            parameters=self.model_dump(mode="json"),
            target=f"models:/{self.model}@{asset.alias}",
            before={"version": current},
            after={"version": self.to},
            summary=f"{self.model}@{asset.alias} is version {self.to} already"
            if current == self.to
            else f"{self.model}@{asset.alias}: version {current} -> {self.to}",
            because=(won,),
        )

    def _won(self, current: int) -> str:
        """What the newest contest between the two said.

        Raises:
            CannotPlan: there was none, or it was not won.
        """
        if current == self.to:
            return "nothing is to be done"
        for event in reversed(ledger().events(subject=self.subject(), kinds=["contested"])):
            told = event.body
            if isinstance(told, Contested) and (told.champion, told.challenger) == (current, self.to):
                if told.verdict.health is Health.healthy:
                    return f"it won: {told.verdict.why}"
                raise CannotPlan(f"version {self.to} of {self.model} has not won: {told.verdict.why}")
        raise CannotPlan(f"version {self.to} of {self.model} was never compared with version {current}")
