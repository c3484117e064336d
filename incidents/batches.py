"""What arrives while a batch is under way is done by the next one, all of it together: group commit, for instance."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from typing import Generic, TypeVar

Item = TypeVar("Item")
Outcome = TypeVar("Outcome")


class Batches(Generic[Item, Outcome]):
    """Does blocking work for many callers in a thread, one batch at a time, in the order in which they came."""

    def __init__(
        self,
        work: Callable[[list[Item]], Sequence[Outcome | Exception]],
        *,
        most: int,
        weigh: Callable[[Item], int] = lambda _item: 0,
        heaviest: int = 0,
        thread: Executor | None = None,
    ) -> None:
        """``work`` gives an outcome or an exception for each item of a batch, in order; what it raises is for all.

        A batch is full at ``most`` items, or before ``heaviest`` is passed; a heavier item is a batch of its own.
        """
        self._work, self._most, self._weigh, self._heaviest, self._thread = work, most, weigh, heaviest, thread
        self._waiting: deque[tuple[Item, asyncio.Future[Outcome]]] = deque()
        self._working: asyncio.Task[None] | None = None

    async def do(self, item: Item) -> Outcome:
        """Have one item done; returns its outcome when its batch is through, or raises it."""
        outcome = asyncio.get_running_loop().create_future()
        self._waiting.append((item, outcome))
        if self._working is None:
            self._working = asyncio.create_task(self._run())
        result: Outcome = await outcome
        return result

    async def _run(self) -> None:
        """Do batches until nobody waits any more."""
        try:
            while self._waiting:
                batch = self._next()
                work = asyncio.get_running_loop().run_in_executor(self._thread, self._done, [one for one, _ in batch])
                for (_, future), outcome in zip(batch, await work, strict=True):
                    if future.done():  # its caller has given up
                        continue
                    if isinstance(outcome, Exception):
                        future.set_exception(outcome)
                    else:
                        future.set_result(outcome)
        finally:
            self._working = None

    def _next(self) -> list[tuple[Item, asyncio.Future[Outcome]]]:
        batch = [self._waiting.popleft()]
        weight = self._weigh(batch[0][0])
        while self._waiting and len(batch) < self._most:
            weight += self._weigh(self._waiting[0][0])
            if weight > self._heaviest:
                break
            batch.append(self._waiting.popleft())
        return batch

    def _done(self, items: list[Item]) -> Sequence[Outcome | Exception]:
        try:
            return self._work(items)
        except Exception as error:
            return [error] * len(items)
