"""Give a service more copies, or take some away: within the bounds that the playbook gives it, and at its price.

AWS has no compare-and-set for this: ``flows.steps`` holds a lease on the target while ``apply`` runs, and the number is
read again right before and right after it is set.
"""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from incidents.assets import Bounds
from incidents.leases import still_ours
from incidents.models import Category, Health, Plan, Risk, Verdict
from incidents.playbook import Playbook
from remediations.base import CannotPlan, Conflict, Remediation
from remediations.permissions import Statement
from remediations.services import Running, declared, open_service


class ScaleService(Remediation):
    """Change how many copies of a service run, within the bounds and at the price that the playbook declares."""

    category: ClassVar[Category] = Category.infrastructure
    risk: ClassVar[Risk] = Risk.medium
    permissions: ClassVar[tuple[str, ...]] = (
        "ecs:DescribeServices, ecs:UpdateService SERVICE, for ecs",
        "autoscaling:DescribeAutoScalingGroups *, autoscaling:SetDesiredCapacity GROUP, for asg",
        "sagemaker:DescribeEndpoint, sagemaker:UpdateEndpointWeightsAndCapacities ENDPOINT, for sagemaker",
        "kubernetes: get and update deployments/scale in the namespace, for kubernetes",
    )

    service: str = Field(description="The service, as the playbook declares it.")
    to: int | None = Field(None, ge=0, description="How many are to run. Empty: one step more than now.")

    @classmethod
    def statements(cls, book: Playbook) -> tuple[Statement, ...]:
        """For each service that has bounds: look, and scale."""
        opened = [open_service(service) for service in book.services.values() if service.bounds]
        return tuple(one for running in opened for one in (*running.to_look(), *running.to_scale()))

    def subject(self) -> str:
        """``service:scoring``."""
        return f"service:{self.service}"

    def plan(self) -> Plan:
        """Count, stay within the bounds, and say what it costs."""
        running, bounds = self._opened()
        current = running.count()
        wanted = self._wanted(current, bounds, running.most())
        more = (wanted - current) * bounds.cost_per_hour
        return Plan(
            action=self.name(),
            parameters=self.model_dump(mode="json"),
            target=f"{self.subject()}@count",
            before={"count": current},
            after={"count": wanted},
            summary=f"{self.service} stays at {current}"
            if wanted == current
            else f"{self.service}: {current} -> {wanted}",
            because=(
                f"its bounds are {bounds.min} to {bounds.max}, {bounds.step} at once",
                f"one costs {bounds.cost_per_hour:g} {bounds.currency} an hour, so this is {more:+.2f} an hour",
            ),
        )

    def apply(self, plan: Plan) -> None:
        """Set the number, where it still is as the plan found it."""
        self._move(plan, int(str(plan.before["count"])), int(str(plan.after["count"])))

    def verify(self, plan: Plan) -> Verdict:
        """Count again: what is wanted, and not yet what runs; whether it helps, the service's health says."""
        found, wanted = self._opened()[0].count(), plan.after["count"]
        if found == wanted:
            return Verdict(health=Health.healthy, why=f"{found} of {self.service} are wanted")
        return Verdict(health=Health.unhealthy, why=f"{found} of {self.service} are wanted, and not {wanted}")

    def undo(self, plan: Plan) -> None:
        """Set the number back, where it still is as the plan left it."""
        self._move(plan, int(str(plan.after["count"])), int(str(plan.before["count"])))

    def _opened(self) -> tuple[Running, Bounds]:
        service = declared(self.service)
        if service.bounds is None:
            raise CannotPlan(f"the playbook gives {self.service} no bounds, so it is never scaled")
        return open_service(service), service.bounds

    def _wanted(self, current: int, bounds: Bounds, most: int | None) -> int:
        highest = bounds.max if most is None else min(bounds.max, most)
        wanted = min(current + bounds.step, highest) if self.to is None else self.to
        if self.to is None and current >= highest:
            limit = "its bounds allow" if highest == bounds.max else "its own settings allow"
            raise CannotPlan(f"{current} of {self.service} are wanted already, and {limit} no more than {highest}")
        if not bounds.min <= wanted <= highest:
            raise CannotPlan(f"{self.service} may have {bounds.min} to {highest}, and not {wanted}")
        if abs(wanted - current) > bounds.step:
            raise CannotPlan(f"from {current} to {wanted} is more than {bounds.step} at once")
        return wanted

    def _move(self, plan: Plan, expected: int, wanted: int) -> None:
        running, _ = self._opened()
        found = running.count()
        if found == wanted:
            return
        if found != expected:
            raise Conflict(
                f"{found} of {self.service} are wanted, and not {expected} as {plan.action} expects: left as it is"
            )
        still_ours()
        running.set_count(wanted, expected)
        seen = running.count()
        if seen != wanted:
            raise Conflict(f"{self.service} was set to {wanted}, and somebody set it to {seen} right after")
