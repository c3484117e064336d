"""Shut a model version away: marked in MLflow, and refused by its name and by its content from then on.

Its files can still be downloaded by their address: that takes ``deny_bucket_access`` on the bucket that holds them.
"""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from incidents import quarantine
from incidents.models import Risk
from incidents.playbook import Playbook, playbook
from remediations.artifacts import Unreadable, digest_of, fetched
from remediations.base import CannotPlan, declared
from remediations.clients import registry
from remediations.containment import Containment, State
from remediations.permissions import Statement
from remediations.refusals import TAG


class QuarantineModel(Containment):
    """Tag a version as quarantined and refuse it, and whatever has the same content, as a target of any action.

    The alias stays where it is: `revert_model` moves it, to a version verified good.
    """

    risk: ClassVar[Risk] = Risk.medium
    permissions: ClassVar[tuple[str, ...]] = (
        "mlflow: read model versions and artifacts",
        "mlflow: set and delete tags of the version",
    )

    model: str = Field(description="The registered model, as the playbook declares it.")
    version: int = Field(ge=1, description="The version that is shut away.")

    @classmethod
    def statements(cls, book: Playbook) -> tuple[Statement, ...]:  # noqa: ARG003  # whatever it declares
        """Nothing: MLflow alone is asked, also for a version's files."""
        return ()

    def subject(self) -> str:
        """``model:fraud``."""
        return f"model:{self.model}"

    def thing(self) -> str:
        """The version."""
        return f"{self.subject()} {self.version}"

    def target(self) -> str:
        """``quarantine:model:fraud``."""
        return quarantine.target(self.subject())

    def seen(self) -> State:
        """What the version's tag says; None where it has none."""
        from mlflow.exceptions import MlflowException

        declared("model", self.model, playbook().models)
        try:
            return {"tag": registry().get_model_version(self.model, str(self.version)).tags.get(TAG)}
        except MlflowException as error:
            if error.error_code == "RESOURCE_DOES_NOT_EXIST":
                raise CannotPlan(f"MLflow has no version {self.version} of {self.model}") from None
            raise

    def wanted(self, seen: State) -> State:
        """Why, and the SHA-256 of its content."""
        if seen["tag"] is not None:
            return seen
        try:
            with fetched(self.model, self.version) as folder:
                digest = f"sha256 {digest_of(folder)}"
        except Unreadable:
            digest = "its files could not be read"
        return {"tag": f"{self.because or 'by hand'}; {digest}"}

    def set(self, wanted: State, expected: State) -> None:  # noqa: ARG002  # MLflow has no conditional form of it
        """Set the tag, or take it away where there was none."""
        if wanted["tag"] is None:
            registry().delete_model_version_tag(self.model, str(self.version), TAG)
        else:
            registry().set_model_version_tag(self.model, str(self.version), TAG, str(wanted["tag"]))

    def summary(self, before: State, after: State) -> str:
        """Which version."""
        return f"{self.model} version {self.version} is quarantined" + ("" if before != after else " already")
