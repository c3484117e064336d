"""An expectation's configuration, worked out once while a suite is asked: Great Expectations does it for every look.

It looks some twenty times an expectation, and each time goes through all of its fields; that was a quarter of the time
of validating 200,000 rows.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from typing import Any, NamedTuple


class _Known(NamedTuple):
    """What was worked out of an expectation, and of which values in its fields."""

    expectation: Any
    values: list[Any]
    configuration: Any


#: By the identity of the expectation; None: nothing is kept.
_known: ContextVar[dict[int, _Known] | None] = ContextVar("known configurations", default=None)


@contextmanager
def worked_out_once() -> Iterator[None]:
    """Meanwhile, in this thread, a configuration is worked out again only where a field was given another value."""
    _install()
    token = _known.set({})
    try:
        yield
    finally:
        _known.reset(token)


@cache
def _install() -> None:
    """Let all expectations ask here first."""
    from great_expectations.expectations.expectation import Expectation

    work_out = Expectation.configuration.fget

    def configuration(expectation: Any) -> Any:
        known = _known.get()
        if known is None:
            return work_out(expectation)
        found, values = known.get(id(expectation)), list(vars(expectation).values())
        if found is None or list(map(id, found.values)) != list(map(id, values)):
            found = known[id(expectation)] = _Known(expectation, values, work_out(expectation))
        own = copy.copy(found.configuration)  # whoever asked may write into it
        own.kwargs = {name: copy.copy(value) for name, value in own.kwargs.items()}
        return own

    Expectation.configuration = property(configuration)
