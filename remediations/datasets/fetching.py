"""Files of a version, downloaded all or none."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol, TypeVar

from remediations.datasets.base import Damaged
from remediations.datasets.side_by_side import side_by_side


class HasPath(Protocol):
    """Something that becomes a file."""

    @property
    def path(self) -> str:
        """Where it belongs in the folder."""


Wanted = TypeVar("Wanted", bound=HasPath)


def fetch_all(wanted: Sequence[Wanted], get: Callable[[Wanted, Path], None], into: Path) -> list[Path]:
    """``get`` each into a hidden place, and only when all went well put them into the folder ``into``.

    Raises:
        Damaged: a path leads out of the folder; nothing was put in place.
    """
    into.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=into, prefix=".fetching-") as folder:
        whole = [Path(folder) / str(number) for number in range(len(wanted))]
        side_by_side(get, wanted, whole)
        places = [into / one.path for one in wanted]
        for place in places:
            if not place.parent.resolve().is_relative_to(into.resolve()):
                raise Damaged(f"{place.relative_to(into)} would be written outside of {into}")
        for place, good in zip(places, whole, strict=True):
            place.parent.mkdir(parents=True, exist_ok=True)
            good.replace(place)
    return places
