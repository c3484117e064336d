"""Replace everything that runs of a service, by a new deployment of the same version in the same number.

There is no way back, and nothing to bring back: what was running is gone, and the like of it runs. So it asks a person,
as all that cannot be undone, although its risk is low.
"""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from incidents.leases import still_ours
from incidents.models import Category, Health, Plan, Risk, Verdict
from incidents.playbook import Playbook
from remediations.base import CannotPlan, CannotUndo, Conflict, Remediation
from remediations.permissions import Statement
from remediations.services import Running, declared, open_service

#: What a restart leaves behind in place of a deployment's id, which nobody knows before.
ANOTHER = "another one"


class RestartService(Remediation):
    """Force a new deployment of an ECS service, in the same version and number."""

    category: ClassVar[Category] = Category.infrastructure
    risk: ClassVar[Risk] = Risk.low
    reversible: ClassVar[bool] = False
    permissions: ClassVar[tuple[str, ...]] = ("ecs:DescribeServices, ecs:UpdateService SERVICE",)

    service: str = Field(description="The service, as the playbook declares it; it has to run on ECS.")

    @classmethod
    def statements(cls, book: Playbook) -> tuple[Statement, ...]:
        """For each service on ECS: look, and update."""
        opened = [open_service(service) for service in book.services.values() if service.runs_on.kind == "ecs"]
        return tuple(one for running in opened for one in (*running.to_look(), *running.to_change_version()))

    def subject(self) -> str:
        """``service:scoring``."""
        return f"service:{self.service}"

    def plan(self) -> Plan:
        """See which deployment is under way."""
        running = self._running()
        before = {"deployment": running.deployment(), "version": running.version()}
        return Plan(
            action=self.name(),
            parameters=self.model_dump(mode="json"),
            target=f"{self.subject()}@deployment",
            before=before,
            after={**before, "deployment": ANOTHER},
            summary=f"{self.service} is restarted",
            because=(f"it stays at {before['version']}", "what runs now is replaced, and can't be brought back"),
        )

    def apply(self, plan: Plan) -> None:
        """Force a new deployment, unless there has been one since the plan was made."""
        running = self._running()
        version = running.version()
        if version != plan.before["version"]:
            raise Conflict(f"{self.service} is at {version}, and not {plan.before['version']}: left as it is")
        if running.deployment() != plan.before["deployment"]:
            return
        still_ours()
        running.restart()

    def verify(self, plan: Plan) -> Verdict:
        """See whether there is another deployment, of the same version."""
        running = self._running()
        version, deployment = running.version(), running.deployment()
        if version == plan.before["version"] and deployment != plan.before["deployment"]:
            return Verdict(health=Health.healthy, why=f"{self.service} was deployed anew, as {deployment}")
        return Verdict(health=Health.unhealthy, why=f"{self.service} is at {version}, in deployment {deployment}")

    def undo(self, plan: Plan) -> None:
        """Refuse: what was running is gone."""
        raise CannotUndo(f"{plan.summary}: what was running is gone")

    def _running(self) -> Running:
        service = declared(self.service)
        if service.runs_on.kind != "ecs":
            raise CannotPlan(
                f"{self.service} runs on {service.runs_on.kind}, and only services on ecs can be restarted"
            )
        return open_service(service)
