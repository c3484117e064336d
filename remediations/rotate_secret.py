"""Give a leaked secret in AWS Secrets Manager a new random value, which is never in a plan, a log or a record."""

from __future__ import annotations

import json
import secrets
import string
import uuid
from typing import Any, ClassVar

from pydantic import Field

from incidents.breach import ManagedSecret
from incidents.models import Risk, canonical
from incidents.playbook import Playbook, playbook
from remediations import clients
from remediations.base import CannotPlan
from remediations.containment import Containment, State
from remediations.permissions import Statement, on_secret

_LETTERS = string.ascii_letters + string.digits
_RENEW = (
    "secretsmanager:DescribeSecret",
    "secretsmanager:PutSecretValue",
    "secretsmanager:UpdateSecretVersionStage",
)


class RotateSecret(Containment):
    """Make a new random value the current version of a secret; the version before it is kept by Secrets Manager.

    Who reads the secret gets the new value. A secret with a rotation of its own is left to that rotation.
    """

    risk: ClassVar[Risk] = Risk.high
    permissions: ClassVar[tuple[str, ...]] = (
        "secretsmanager:DescribeSecret, secretsmanager:PutSecretValue, secretsmanager:UpdateSecretVersionStage SECRET",
        "secretsmanager:GetSecretValue SECRET, where only a field of it is renewed",
    )

    secret: str = Field(description="The secret, by its name in the playbook. Never its value.")

    @classmethod
    def statements(cls, book: Playbook) -> tuple[Statement, ...]:
        """Renew each secret; its value is read only where one field of it is renewed."""
        read = ("secretsmanager:GetSecretValue",)
        return tuple(on_secret(_RENEW + read if it.field else _RENEW, it.id) for it in book.secrets.values())

    def subject(self) -> str:
        """``secrets_manager:signing``."""
        return f"secrets_manager:{self.secret}"

    def target(self) -> str:
        """The same."""
        return self.subject()

    def seen(self) -> State:
        """Which version is current, by its id."""
        current = [name for name, stages in self._stages().items() if "AWSCURRENT" in stages]
        if not current:
            raise CannotPlan(f"{self.secret} has no current version in Secrets Manager")
        return {"current": current[0]}

    def wanted(self, seen: State) -> State:
        """A version whose id follows from the one that leaked, so that planned again it is the same."""
        if self._described().get("RotationEnabled"):
            raise CannotPlan(
                f"{self.secret} has a rotation of its own: start that, it knows who else has to learn of it"
            )
        if seen["current"] in [self._successor(old) for old in self._stages()]:
            return seen  # it was renewed before, for the same reason
        return {"current": self._successor(str(seen["current"]))}

    def set(self, wanted: State, expected: State) -> None:
        """Store a new value where there is none yet, and move the stage, which is refused if it stands elsewhere."""
        client, name, new = clients.aws("secretsmanager"), self._declared().id, str(wanted["current"])
        stages = self._stages()
        if new not in stages:
            client.put_secret_value(
                SecretId=name,
                ClientRequestToken=new,
                SecretString=self._value(str(expected["current"])),
                VersionStages=["LASTGOOD"],  # a name of ours, so that it is no one's current yet
            )
        client.update_secret_version_stage(
            SecretId=name,
            VersionStage="AWSCURRENT",
            MoveToVersionId=new,
            RemoveFromVersionId=str(expected["current"]),
        )

    def summary(self, before: State, after: State) -> str:
        """Which version becomes current."""
        old, new = str(before["current"])[:8], str(after["current"])[:8]
        return (
            f"{self.secret} gets a new value: version {old} -> {new}"
            if old != new
            else f"{self.secret} has a new value"
        )

    def _successor(self, version: str) -> str:
        return str(uuid.uuid5(uuid.NAMESPACE_OID, canonical([self.subject(), version, self.because])))

    def _value(self, version: str) -> str:
        declared = self._declared()
        new = "".join(secrets.choice(_LETTERS) for _ in range(declared.length))
        if not declared.field:
            return new
        client = clients.aws("secretsmanager")
        whole = client.get_secret_value(SecretId=declared.id, VersionId=version)["SecretString"]
        return json.dumps({**json.loads(whole), declared.field: new})

    def _stages(self) -> dict[str, list[str]]:
        return dict(self._described().get("VersionIdsToStages", {}))

    def _described(self) -> dict[str, Any]:
        client = clients.aws("secretsmanager")
        try:
            return dict(client.describe_secret(SecretId=self._declared().id))
        except client.exceptions.ResourceNotFoundException:
            raise CannotPlan(f"Secrets Manager has no secret for {self.secret}") from None

    def _declared(self) -> ManagedSecret:
        declared = playbook().secrets.get(self.secret)
        if declared is None:
            raise CannotPlan(f"the playbook declares no secret {self.secret!r}; such are never changed")
        return declared
