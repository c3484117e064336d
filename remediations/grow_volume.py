"""Grow an EBS volume by one step, up to what the playbook allows. It never shrinks again, so it asks a person.

AWS takes no second change of a volume within six hours. The file system on it grows by what the machine does itself.
"""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import Field

from incidents.assets import Volume
from incidents.leases import still_ours
from incidents.models import Category, Health, Plan, Risk, Verdict
from incidents.playbook import Playbook, playbook
from remediations.base import CannotPlan, CannotUndo, Conflict, Remediation
from remediations.clients import aws
from remediations.permissions import Statement


class GrowVolume(Remediation):
    """Make the volume under a disk one step larger."""

    category: ClassVar[Category] = Category.infrastructure
    risk: ClassVar[Risk] = Risk.medium
    reversible: ClassVar[bool] = False
    permissions: ClassVar[tuple[str, ...]] = ("ec2:DescribeVolumes *", "ec2:ModifyVolume VOLUME")

    disk: str = Field(description="The disk, as the playbook declares it, with a volume.")

    @classmethod
    def statements(cls, book: Playbook) -> tuple[Statement, ...]:
        """Look at volumes, and change the declared ones."""
        declared = [disk.volume for disk in book.disks.values() if disk.volume]
        grow = [Statement(actions=("ec2:ModifyVolume",), resource=f"arn:aws:ec2:*:*:volume/{it.id}") for it in declared]
        return (Statement(actions=("ec2:DescribeVolumes",)), *grow) if declared else ()

    def subject(self) -> str:
        """``disk:scratch``."""
        return f"disk:{self.disk}"

    def plan(self) -> Plan:
        """One step more than now, within the playbook's limit; and what it costs."""
        volume = self._declared()
        found = self._size(volume)
        if found >= volume.max_gib:
            raise CannotPlan(
                f"{volume.id} has {found} GiB already, and the playbook allows no more than {volume.max_gib}"
            )
        wanted = min(found + volume.step_gib, volume.max_gib)
        cost = (wanted - found) * volume.cost_per_gib_month
        return Plan(
            action=self.name(),
            parameters=self.model_dump(mode="json"),
            target=f"{self.subject()}@{volume.id}",
            before={"gib": found},
            after={"gib": wanted},
            summary=f"{volume.id} under {self.disk}: {found} GiB -> {wanted} GiB",
            because=(
                f"{cost:+.2f} a month, for good: a volume never shrinks",
                f"the playbook allows {volume.max_gib} GiB",
            ),
        )

    def apply(self, plan: Plan) -> None:
        """Ask for the size, where it still is as the plan found it."""
        volume = self._declared()
        found = self._size(volume)
        if found == plan.after["gib"]:
            return
        if found != plan.before["gib"]:
            raise Conflict(f"{volume.id} has {found} GiB, and not {plan.before['gib']}: left as it is")
        still_ours()
        aws("ec2").modify_volume(VolumeId=volume.id, Size=int(str(plan.after["gib"])))

    def verify(self, plan: Plan) -> Verdict:
        """Read the size again."""
        volume = self._declared()
        found = self._size(volume)
        health = Health.healthy if found == plan.after["gib"] else Health.unhealthy
        return Verdict(health=health, why=f"{volume.id} has {found} GiB, {plan.after['gib']} were wanted")

    def undo(self, plan: Plan) -> None:
        """Refuse: a volume never shrinks."""
        raise CannotUndo(f"{plan.summary}: a volume never shrinks")

    def _declared(self) -> Volume:
        disk = playbook().disks.get(self.disk)
        if disk is None or disk.volume is None:
            raise CannotPlan(
                f"the playbook declares no volume under {self.disk!r}; what is not declared is never changed"
            )
        return disk.volume

    def _size(self, volume: Volume) -> int:
        found: list[dict[str, Any]] = aws("ec2").describe_volumes(VolumeIds=[volume.id])["Volumes"]
        return int(found[0]["Size"])
