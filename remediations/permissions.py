"""What an action must be allowed to do in AWS, as statements of an IAM policy."""

from __future__ import annotations

from incidents.models import Frozen


class Statement(Frozen):
    """Actions on one kind of resource. An account and a region are left open: a role is in one account anyway."""

    actions: tuple[str, ...]
    resource: str = "*"

    def __str__(self) -> str:
        return f"{', '.join(self.actions)} on {self.resource}"
