"""Batches: what arrives meanwhile is done together, everybody gets their own outcome, and nobody waits in vain."""

from __future__ import annotations

import asyncio
import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from incidents.batches import Batches


class Work:
    """Doubles numbers, and keeps the batches that it was given; the first one waits until it may go on."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.began = threading.Event()
        self.may_go_on = threading.Event()

    def __call__(self, numbers: list[int]) -> list[int | Exception]:
        """Do one batch; a negative number is refused, and a zero breaks the whole batch."""
        self.batches.append(numbers)
        self.began.set()
        self.may_go_on.wait(10)
        return [1 // number * 0 + 2 * number if number >= 0 else ValueError(number) for number in numbers]


def do_all(work: Work, numbers: list[int], **limits: int) -> list[int | BaseException]:
    """Have all of them done at once, the first of them alone."""

    async def run() -> list[int | BaseException]:
        batches = Batches(work, **{"most": 100, **limits}, weigh=abs)  # type: ignore[arg-type]  # limits are numbers
        callers = [asyncio.create_task(batches.do(number)) for number in numbers]
        await asyncio.sleep(0.01)
        work.may_go_on.set()
        return await asyncio.gather(*callers, return_exceptions=True)

    return asyncio.run(run())


def test_what_arrives_meanwhile_is_done_together() -> None:
    """The first is done at once, and those that came while it was under way are one batch, in their order."""
    work = Work()

    async def run() -> list[int]:
        batches: Batches[int, int] = Batches(work, most=100)
        first = asyncio.create_task(batches.do(1))
        await asyncio.to_thread(work.began.wait, 10)
        others = [asyncio.create_task(batches.do(number)) for number in range(2, 50)]
        await asyncio.sleep(0.01)
        work.may_go_on.set()
        return await asyncio.gather(first, *others)

    assert asyncio.run(run()) == [2 * number for number in range(1, 50)]
    assert work.batches == [[1], list(range(2, 50))]


def test_one_that_fails_fails_alone() -> None:
    """An exception in the place of an outcome is raised for its own caller only."""
    found = do_all(Work(), [1, -2, 3], heaviest=100)
    assert (found[0], found[2]) == (2, 6)
    assert isinstance(found[1], ValueError)


def test_work_that_breaks_is_told_to_all_of_its_batch_and_the_next_goes_on() -> None:
    """Nobody waits for ever, and there is work after it."""
    work = Work()
    found = do_all(work, [5, 0, 7], most=2, heaviest=100)
    assert [type(one) for one in found[:2]] == [ZeroDivisionError] * 2
    assert found[2] == 14


def test_a_caller_that_gave_up_disturbs_nobody() -> None:
    """Its item may be done, and the outcome is dropped."""
    work = Work()

    async def run() -> int:
        batches: Batches[int, int] = Batches(work, most=100)
        gone, stays = (asyncio.create_task(batches.do(number)) for number in (1, 2))
        await asyncio.sleep(0.01)
        gone.cancel()
        work.may_go_on.set()
        with pytest.raises(asyncio.CancelledError):
            await gone
        return await stays

    assert asyncio.run(run()) == 4


@settings(max_examples=50, deadline=None)
@given(numbers=st.lists(st.integers(1, 9), min_size=1), most=st.integers(1, 5), heaviest=st.integers(1, 12))
def test_batches_keep_order_and_limits(numbers: list[int], most: int, heaviest: int) -> None:
    """All is done once and in order, in batches within the limits; what is too heavy is a batch of its own."""
    work = Work()
    assert do_all(work, numbers, most=most, heaviest=heaviest) == [2 * number for number in numbers]
    assert [number for batch in work.batches for number in batch] == numbers
    assert all(len(batch) <= most for batch in work.batches)
    assert all(len(batch) == 1 or sum(batch) <= heaviest for batch in work.batches)
