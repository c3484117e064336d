"""What can be asked of a service, and told to it, wherever it runs."""

from __future__ import annotations

from abc import ABC, abstractmethod

from incidents.models import Frozen
from remediations.base import CannotPlan
from remediations.permissions import Statement


class Metric(Frozen):
    """A metric of CloudWatch that says how busy a service is."""

    namespace: str
    name: str
    dimensions: dict[str, str]


class Running(ABC):
    """One service where it runs. Errors of its API are raised as they come, and mean that nothing is known.

    Of these APIs only Kubernetes' has a compare-and-set. Elsewhere the caller, who holds the lease on the target,
    reads right before and right after it writes.
    """

    #: The metric that shows how busy it is; None where there is none.
    metric: Metric | None = None
    #: The service-quotas that end its growth: (service code, quota code).
    quotas: tuple[tuple[str, str], ...] = ()

    @abstractmethod
    def count(self) -> int:
        """How many of it are wanted."""

    @abstractmethod
    def set_count(self, count: int, expected: int) -> None:
        """Want so many, where so many are expected to be wanted now. Who calls has just read ``expected``."""

    def most(self) -> int | None:
        """The most that its own settings allow; None: no limit but the playbook's."""
        return None

    def version(self) -> str:
        """The version that is wanted."""
        raise CannotPlan(f"{type(self).__name__} has no versions that can be rolled back")

    def settled(self) -> bool:
        """Whether what runs is what is wanted, so that what it answers says something about it."""
        return True

    def exists(self, version: str) -> bool:
        """Whether a version can still be brought back."""
        raise CannotPlan(f"{type(self).__name__} has no versions that can be rolled back, {version} for one")

    def set_version(self, version: str) -> None:
        """Want this version."""
        raise CannotPlan(f"{type(self).__name__} has no versions that can be rolled back, to {version} for one")

    def deployment(self) -> str:
        """The identity of the deployment that is wanted: another one after every restart."""
        raise CannotPlan(f"{type(self).__name__} can't be restarted")

    def restart(self) -> None:
        """Replace everything that runs, in the same version and number."""
        raise CannotPlan(f"{type(self).__name__} can't be restarted")

    def recent(self) -> list[str]:
        """What was deployed or scaled lately, the newest first, one line each."""
        return []

    def to_look(self) -> tuple[Statement, ...]:
        """What it takes to look."""
        return ()

    def to_scale(self) -> tuple[Statement, ...]:
        """What it takes to scale."""
        return ()

    def to_change_version(self) -> tuple[Statement, ...]:
        """What it takes to set the version, or to restart."""
        return ()
