"""The loader for a process that serves a model: only what is not shut away, and whose files are safe, is built.

It asks MLflow alone, because such a process holds no record and no playbook: ``quarantine_model`` leaves why, and the
SHA-256 of the content, in a version's tag. Whoever takes the tag away in MLflow lets the version be served again; as a
target of an action it stays refused, by the record.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeVar

from incidents.models import Health
from remediations.artifacts import digest_of, fetched
from remediations.base import RemediationError
from remediations.clients import registry
from remediations.refusals import TAG
from remediations.scanning import look_through

T = TypeVar("T")

#: Versions that stay built, so that going back to the one before takes no download.
KEPT = 2

_SHA256 = re.compile(r"sha256 ([0-9a-f]{64})")


class NotLoaded(RemediationError):
    """The version is quarantined, or not known to be safe; nothing of it was loaded."""


class Loader(Generic[T]):
    """Builds versions of one registered model from their files: ``Loader("fraud", build).load(3)``.

    The files that are built from are the very ones that were looked at. ``trusted`` lets a model's own pickles pass
    (``unsafe_pickles: allow`` in the playbook); what is quarantined never passes. The folder that ``build`` is given is
    gone afterwards.
    """

    def __init__(self, model: str, build: Callable[[Path], T], *, trusted: bool = False) -> None:
        self.model, self.build, self.trusted = model, build, trusted
        self._built: OrderedDict[int, tuple[str, T]] = OrderedDict()

    def load(self, version: int) -> T:
        """The version, built now or before. Whether it is shut away is asked each time.

        Raises:
            NotLoaded: it is quarantined, or has the content of what is; or a pickle in it is not known to be safe.
            remediations.artifacts.Unreadable: its files could not be read.
            mlflow.exceptions.MlflowException: MLflow does not answer.
        """
        shut = quarantined()
        if (self.model, version) in shut:
            raise NotLoaded(f"{self.model} {version} is quarantined: {shut[self.model, version]}")
        if version not in self._built:
            with fetched(self.model, version) as folder:
                digest = digest_of(folder)
                self._refuse(version, digest, shut)
                seen = look_through(folder)
                if seen.health is not Health.healthy and not self.trusted:
                    raise NotLoaded(f"{self.model} {version} is not loaded: {seen.why}")
                self._built[version] = digest, self.build(folder)
            while len(self._built) > KEPT:
                self._built.popitem(last=False)
        digest, built = self._built[version]
        self._refuse(version, digest, shut)
        self._built.move_to_end(version)
        return built

    def _refuse(self, version: int, digest: str, shut: dict[tuple[str, int], str]) -> None:
        for (name, number), why in shut.items():
            if digest in _SHA256.findall(why):
                raise NotLoaded(f"the content of {self.model} {version} is that of {name} {number}, quarantined: {why}")


def quarantined() -> dict[tuple[str, int], str]:
    """Every version of whatever model that is tagged as quarantined, and what its tag says."""
    client, found, token = registry(), dict[tuple[str, int], str](), None
    while True:
        page = client.search_model_versions(f"tags.`{TAG}` LIKE '%'", page_token=token)
        found |= {(one.name, int(one.version)): one.tags[TAG] for one in page}
        token = page.token
        if not token:
            return found
