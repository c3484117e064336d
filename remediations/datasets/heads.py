"""Stores whose pointer is the head of somebody else's history: a table's, or a branch's.

A move is one commit there, made only on top of the very state that was looked at, so a writer who is faster is never
overwritten. Other writers commit without asking us: what they leave has a pointer of its own.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Generic, TypeVar

from remediations.base import Conflict
from remediations.datasets.base import DatasetStore, Pointer, told

Seen = TypeVar("Seen")


class HeadStore(DatasetStore, Generic[Seen]):
    """A history of commits that the store's own tool keeps."""

    atomic = True
    snapshot_reads = True
    reversible = True

    def current(self) -> Pointer:
        """The pointer: the one set last, or one made up for what another writer committed since.

        Raises:
            NotPublished: there is nothing there yet.
        """
        return self._pointer_at(self._look())

    def move(self, to: Pointer, expect: Pointer | None) -> None:
        """Commit the content of ``to`` on top of ``expect``. A commit whose answer was lost is known by its nonce.

        Raises:
            Conflict: somebody else committed; theirs stays.
            NoSuchVersion: the format no longer keeps that version.
        """
        seen = self._look()
        found = self._pointer_at(seen)
        if found == to:
            return
        if found != expect:
            raise Conflict(f"{self} is at {told(found)}, not at {told(expect)} as expected; it was left so")
        try:
            self._commit(seen, to)
        except Exception as error:
            try:
                found = self.current()
            except Exception:
                raise error from None
            if found == to:
                return
            if found != expect:
                raise Conflict(f"{self}: somebody else was faster, and set it to {told(found)}") from error
            raise

    @abstractmethod
    def _look(self) -> Seen:
        """The head as it is now."""

    @abstractmethod
    def _pointer_at(self, seen: Seen) -> Pointer:
        """The pointer of the head as it was looked at."""

    @abstractmethod
    def _commit(self, seen: Seen, to: Pointer) -> None:
        """Commit the content of ``to``, with the pointer in the commit, only where the head still is as given."""
