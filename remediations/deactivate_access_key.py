"""Deactivate a leaked access key of an IAM user."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from incidents.models import Risk
from incidents.playbook import Playbook, playbook
from remediations import clients
from remediations.base import CannotPlan
from remediations.containment import Containment, State
from remediations.permissions import Statement, on_user

#: A key is known on the record by its last letters: the whole of it is taken out there, as secrets are.
_LETTERS = 6


class DeactivateAccessKey(Containment):
    """Make an IAM user's access keys inactive: the one that ends so, or all of them."""

    risk: ClassVar[Risk] = Risk.high
    permissions: ClassVar[tuple[str, ...]] = ("iam:ListAccessKeys, iam:UpdateAccessKey USER",)

    iam_user: str = Field(description="The user, by its name in the playbook.")
    ends_with: str = Field("", pattern=r"^[A-Z0-9]{0,8}$", description="How the key's id ends. Empty: every key.")

    @classmethod
    def statements(cls, book: Playbook) -> tuple[Statement, ...]:
        """List and update the keys of each user."""
        actions = ("iam:ListAccessKeys", "iam:UpdateAccessKey")
        return tuple(one for it in book.iam_users.values() for one in on_user(actions, it.user))

    def subject(self) -> str:
        """``iam_user:trainer``."""
        return f"iam_user:{self.iam_user}"

    def thing(self) -> str:
        """The user and the key."""
        return f"{self.subject()} {self.ends_with}"

    def target(self) -> str:
        """``access keys of trainer``."""
        return f"access keys of {self.iam_user}"

    def seen(self) -> State:
        """Whether each key is active, by how its id ends."""
        return {key[-_LETTERS:]: status for key, status in self._keys().items()}

    def wanted(self, seen: State) -> State:
        """The keys that are meant inactive, the others as they are."""
        meant = [key for key in seen if key.endswith(self.ends_with) or self.ends_with.endswith(key)]
        if not meant:
            raise CannotPlan(f"{self.iam_user} has no access key that ends with {self.ends_with or 'anything'}")
        return {key: "Inactive" if key in meant else status for key, status in seen.items()}

    def set(self, wanted: State, expected: State) -> None:  # noqa: ARG002  # IAM has no conditional form of it
        """Set each key that is not yet as it is wanted."""
        for key, status in self._keys().items():
            goal = wanted[key[-_LETTERS:]]
            if status != goal:
                clients.aws("iam").update_access_key(UserName=self._user(), AccessKeyId=key, Status=goal)

    def summary(self, before: State, after: State) -> str:
        """Which keys no longer work."""
        off = [f"...{key}" for key in after if before[key] != after[key]]
        return (
            f"access keys {', '.join(off)} of {self.iam_user} are inactive" if off else f"{self.target()} are inactive"
        )

    def _keys(self) -> dict[str, str]:
        pages = clients.aws("iam").get_paginator("list_access_keys").paginate(UserName=self._user())
        return {one["AccessKeyId"]: one["Status"] for page in pages for one in page["AccessKeyMetadata"]}

    def _user(self) -> str:
        declared = playbook().iam_users.get(self.iam_user)
        if declared is None:
            raise CannotPlan(f"the playbook declares no IAM user {self.iam_user!r}; such are never changed")
        return declared.user
