"""How much the intake holds in memory at once, over all requests. Whoever comes on top is told to come again."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from incidents.intake.request import Busy

#: So many deliveries, and so many bytes of their bodies.
MOST_HELD, MOST_BYTES = 500, 64 * 1024 * 1024


class Room:
    """What is held in memory at once, over all requests."""

    def __init__(self) -> None:
        self.held = 0
        self.size = 0

    @contextmanager
    def place(self) -> Iterator[Place]:
        """A place for one delivery, given back at the end.

        Raises:
            Busy: there is none.
        """
        if self.held >= MOST_HELD:
            raise Busy
        self.held += 1
        place = Place(self)
        try:
            yield place
        finally:
            self.held -= 1
            self.size -= place.size


class Place:
    """One delivery's share of the room."""

    def __init__(self, room: Room) -> None:
        self._room = room
        self.size = 0

    def grow(self, size: int) -> None:
        """Hold so many bytes more.

        Raises:
            Busy: there is no room for them.
        """
        if self._room.size + size > MOST_BYTES:
            raise Busy
        self._room.size += size
        self.size += size
