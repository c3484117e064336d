"""What a version of a dataset is compared with: the newest one before it that was verified good.

A version never changes, so what it looks like is worked out once and kept under lastgood's home.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import ValidationError

from incidents import known_good
from incidents.ledger import ledger
from incidents.models import Health, digest
from incidents.playbook import playbook
from incidents.settings import settings
from remediations.base import RemediationError
from remediations.datasets import open_store

if TYPE_CHECKING:
    from expectations.reference import Reference

#: Of how a reference is made; another number makes every one anew.
_MADE_AS = 1


def reference(dataset: str, before: str, columns: Collection[str]) -> Reference | None:
    """The newest version verified good before that one, in the columns named; None where there is none.

    Raises:
        CannotValidate: there is one, and it can't be read.
    """
    from expectations.engine import CannotValidate
    from expectations.reference import Reference, profile

    good = known_good.versions(ledger(), f"dataset:{dataset}", Health.healthy)
    version = max((one for one in good if one < before), default=None)  # a name begins with the time of publishing
    if version is None:
        return None
    store = open_store(playbook().datasets[dataset].store, dataset)
    made_of = digest([_MADE_AS, store.uri, version, sorted(columns)])[:16]
    file = settings().home / "references" / f"{dataset}-{version}-{made_of}.json"
    with contextlib.suppress(FileNotFoundError, ValidationError):  # cut short by a crash, it is made anew
        return Reference.model_validate_json(file.read_text(encoding="utf-8"))
    with tempfile.TemporaryDirectory(prefix="lastgood-") as folder:
        try:
            made = profile(store.fetch(version, Path(folder)), version, columns)
        except RemediationError as error:
            raise CannotValidate(f"{version}, which it is compared with, can't be read: {error}") from error
    file.parent.mkdir(parents=True, exist_ok=True)
    whole = Path(tempfile.mkstemp(dir=file.parent)[1])
    whole.write_text(made.model_dump_json(), encoding="utf-8")
    whole.replace(file)
    return made
