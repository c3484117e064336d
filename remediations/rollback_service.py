"""Bring a service back to the version last verified good: an ECS task definition, a SageMaker endpoint's config.

AWS has no compare-and-set for this: ``flows.steps`` holds a lease on the target while ``apply`` runs, and the version
that is wanted is read again right before and right after it is set.
"""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from incidents import known_good
from incidents.leases import still_ours
from incidents.ledger import ledger
from incidents.models import Category, Health, Plan, Risk, Verdict
from incidents.playbook import Playbook
from remediations.base import CannotPlan, Conflict, Remediation
from remediations.permissions import Statement
from remediations.services import Running, declared, open_service


class RollbackService(Remediation):
    """Set a service's task definition or endpoint config to the one last verified good."""

    category: ClassVar[Category] = Category.infrastructure
    risk: ClassVar[Risk] = Risk.medium
    permissions: ClassVar[tuple[str, ...]] = (
        "ecs:DescribeServices, ecs:UpdateService SERVICE, for ecs",
        "ecs:DescribeTaskDefinition *, for ecs",
        "sagemaker:DescribeEndpoint, sagemaker:UpdateEndpoint ENDPOINT, for sagemaker",
        "sagemaker:DescribeEndpointConfig, sagemaker:UpdateEndpoint ENDPOINT-CONFIG/*, for sagemaker",
        "of your own: to hand over the roles of its tasks, for ecs",
    )

    service: str = Field(description="The service, as the playbook declares it.")
    to: str | None = Field(None, max_length=256, description="A version verified good. Empty: the last of them.")
    even_if_good: bool = Field(False, description="Leave the current version even where it was verified good.")

    @classmethod
    def statements(cls, book: Playbook) -> tuple[Statement, ...]:
        """For each service that has versions: look at it and at them, and set one."""
        needed: list[Statement] = []
        for service in book.services.values():
            if service.has_versions:
                running = open_service(service)
                needed += [*running.to_look(), *running.to_change_version()]
            if service.runs_on.kind == "ecs":
                needed.append(Statement(actions=("ecs:DescribeTaskDefinition",)))  # AWS knows no narrower resource
        return tuple(needed)

    def subject(self) -> str:
        """``service:scoring``."""
        return f"service:{self.service}"

    def plan(self) -> Plan:
        """Look for the version to go back to; one that is gone is passed over."""
        running = self._running()
        current = running.version()
        passed_over: list[str] = []
        for candidate in self._candidates(current):
            if candidate == current or running.exists(candidate):
                return self._plan(current, candidate, passed_over)
            passed_over.append(f"not {_short(candidate)}: it is gone")
        seen = "; ".join(passed_over) or "no other version of it was ever verified good"
        raise CannotPlan(f"{self.service} has no version to go back to: {seen}")

    def apply(self, plan: Plan) -> None:
        """Set the version, where it still is as the plan found it."""
        self._move(plan, str(plan.before["version"]), str(plan.after["version"]))

    def verify(self, plan: Plan) -> Verdict:
        """Read the version again."""
        found, wanted = self._running().version(), str(plan.after["version"])
        if found == wanted:
            return Verdict(health=Health.healthy, why=f"{self.service} is at {_short(found)}")
        return Verdict(health=Health.unhealthy, why=f"{self.service} is at {_short(found)} and not {_short(wanted)}")

    def undo(self, plan: Plan) -> None:
        """Set the version back, where it still is as the plan left it."""
        self._move(plan, str(plan.after["version"]), str(plan.before["version"]))

    def _running(self) -> Running:
        return open_service(declared(self.service))

    def _candidates(self, current: str) -> list[str]:
        """The versions to try, best first: what is asked for; or the current if it is good, then the last judged."""
        good = known_good.verdicts(ledger(), self.subject())
        order = sorted(good, key=lambda version: good[version].seq, reverse=True)
        healthy = [one for one in order if one in known_good.versions(ledger(), self.subject(), Health.healthy)]
        if self.to is not None:
            if self.to not in healthy:
                raise CannotPlan(f"version {self.to} of {self.service} was never verified good")
            return [self.to]
        others = [one for one in healthy if one != current]
        return [current, *others] if current in healthy and not self.even_if_good else others

    def _plan(self, current: str, wanted: str, passed_over: list[str]) -> Plan:
        same = current == wanted
        return Plan(
            action=self.name(),
            parameters=self.model_dump(mode="json"),
            target=f"{self.subject()}@version",
            before={"version": current},
            after={"version": wanted},
            summary=f"{self.service} stays at {_short(wanted)}, which is good"
            if same
            else f"{self.service}: {_short(current)} -> {_short(wanted)}",
            because=(*passed_over, f"{_short(wanted)} was verified good"),
        )

    def _move(self, plan: Plan, expected: str, wanted: str) -> None:
        running = self._running()
        found = running.version()
        if found == wanted:
            return
        if found != expected:
            raise Conflict(f"{plan.target} is {found}, and not {expected} as {plan.action} expects: left as it is")
        still_ours()
        running.set_version(wanted)
        seen = running.version()
        if seen != wanted:
            raise Conflict(f"{plan.target} was set to {wanted}, and somebody set it to {seen} right after")


def _short(version: str) -> str:
    """``scoring:41`` of an ARN that ends in it."""
    return version.rpartition("/")[2]
