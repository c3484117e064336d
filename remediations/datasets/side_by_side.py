"""Many small requests at once, in as many threads as the S3 client has connections."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from remediations.clients import S3_THREADS

Out = TypeVar("Out")


def side_by_side(function: Callable[..., Out], *items: Sequence[Any]) -> list[Out]:
    """``function`` over the items, several at once, in their order; the first failure drops those not yet begun."""
    with ThreadPoolExecutor(S3_THREADS) as pool:
        waiting = [pool.submit(function, *each) for each in zip(*items, strict=True)]
        try:
            return [future.result() for future in waiting]
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


@contextlib.contextmanager
def progress(what: str, total: int) -> Iterator[Callable[[int], object]]:
    """A bar on the terminal, where there is one; yields how to say that so many more are done."""
    from rich.console import Console
    from rich.progress import MofNCompleteColumn, Progress, TimeRemainingColumn

    console = Console(stderr=True)
    columns = (*Progress.get_default_columns()[:2], MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task(what, total=total)
        yield lambda more: bar.advance(task, more)
