"""What a version of a dataset is compared with: the newest one before it that was verified good and can be read.

A version never changes, so what it looks like is worked out once and kept under lastgood's home.
"""

from __future__ import annotations

import contextlib
import logging
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
from remediations.datasets import DatasetStore, open_store

if TYPE_CHECKING:
    from expectations.reference import Reference

_log = logging.getLogger(__name__)

#: Of how a reference is made; another number makes every one anew.
_MADE_AS = 1
#: Where the newest version can't be read, so many are tried in all.
_TRIED = 5


def reference(dataset: str, before: str, columns: Collection[str]) -> Reference | None:
    """The newest version verified good before that one that can be read, in the columns named; None: there is none.

    Raises:
        CannotValidate: there are some, and none of the newest few can be read.
    """
    from expectations.engine import CannotValidate

    good = known_good.versions(ledger(), f"dataset:{dataset}", Health.healthy)
    earlier = sorted((one for one in good if one < before), reverse=True)  # a name begins with the time of publishing
    store = open_store(playbook().datasets[dataset].store, dataset)
    unread = list[tuple[str, Exception]]()
    for version in earlier[:_TRIED]:
        try:
            return _made(store, version, columns)
        except (CannotValidate, RemediationError) as error:
            _log.warning("%s of %s can't be read, to compare with it: %s", version, dataset, error)
            unread.append((version, error))
    if unread:
        newest, why = unread[0]
        nor = ", nor can older ones" if unread[1:] else ""
        raise CannotValidate(f"{newest}, which it is compared with, can't be read{nor}: {why}")
    return None


def _made(store: DatasetStore, version: str, columns: Collection[str]) -> Reference:
    """The reference that a version is, from its file where it was made before."""
    from expectations.reference import Reference, profile

    made_of = digest([_MADE_AS, store.uri, version, sorted(columns)])[:16]
    file = settings().home / "references" / f"{store.name}-{version}-{made_of}.json"
    with contextlib.suppress(FileNotFoundError, ValidationError):  # cut short by a crash, it is made anew
        return Reference.model_validate_json(file.read_text(encoding="utf-8"))
    with tempfile.TemporaryDirectory(prefix="lastgood-") as folder:
        made = profile(store.fetch(version, Path(folder)), version, columns)
    file.parent.mkdir(parents=True, exist_ok=True)
    whole = Path(tempfile.mkstemp(dir=file.parent)[1])
    whole.write_text(made.model_dump_json(), encoding="utf-8")
    whole.replace(file)
    return made
