"""What every action must hold. An action's author fills in one small ``World``; ``test_contract`` does the rest."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

import httpx
import pytest

from incidents.ledger import Ledger
from remediations.base import Remediation


class Killed(BaseException):
    """The process dies here: nothing that catches errors catches this, as nothing catches a SIGKILL."""


class World(ABC):
    """The part of production that one action touches, in servers that really run."""

    #: The action that it is the world of.
    action: ClassVar[type[Remediation]]
    #: The fixtures that it needs: ``mlflow_server``, ``aws``.
    needs: ClassVar[tuple[str, ...]] = ()
    #: Whether what it published stays after an undo, where nobody reads it: done again it takes fewer calls.
    leaves: ClassVar[bool] = False

    def __init__(self, ledger: Ledger, fixtures: dict[str, Any]) -> None:
        self.ledger, self.fixtures = ledger, fixtures

    @abstractmethod
    def declare(self, book: dict[str, Any]) -> None:
        """Put the asset that the action is about into a playbook, as YAML would have it."""

    @abstractmethod
    def build(self) -> Remediation:
        """Make the world anew, as it is when the action is needed, and the action. May be called many times."""

    @abstractmethod
    def state(self) -> Any:
        """All of what the action may change, read from outside of it, byte for byte; not when it was changed."""

    @abstractmethod
    def meddle(self) -> None:
        """Change the target as a third party would: neither as the plan found it nor as it wants it."""

    @contextmanager
    def hidden(self, line: Line) -> Iterator[None]:
        """Inside, what the action looks at can't be looked at: by default, no server answers."""
        with line.cut():
            yield


class Line:
    """The line to production: counts what goes over it, dies after so many calls, or lets nothing through.

    Every client of ``remediations.clients`` sends through one of three classes, so it does not matter whose it is. A
    file that is deleted counts as a call as well.
    """

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.calls = 0
        self._last: int | None = None
        self._open = True
        from botocore.httpsession import URLLib3Session
        from requests.adapters import HTTPAdapter

        for kind, name, away in [
            (URLLib3Session, "send", ConnectionRefusedError),
            (HTTPAdapter, "send", ConnectionRefusedError),
            (httpx.HTTPTransport, "handle_request", httpx.ConnectError),
        ]:
            patch.setattr(kind, name, self._through(getattr(kind, name), away))
        patch.setattr(Path, "unlink", self._through(Path.unlink, PermissionError))

    def _through(self, send: Any, away: type[Exception]) -> Any:
        def counted(*arguments: Any, **named: Any) -> Any:
            if not self._open:
                raise away("the server is away")
            answer = send(*arguments, **named)
            self.calls += 1
            if self._last is not None and self.calls >= self._last:
                raise Killed
            return answer

        return counted

    @contextmanager
    def dies_after(self, calls: int) -> Iterator[None]:
        """Inside, the process dies as soon as so many calls have reached production."""
        self.calls, self._last = 0, calls
        try:
            yield
        finally:
            self._last = None

    @contextmanager
    def cut(self) -> Iterator[None]:
        """Inside, no server answers."""
        self._open = False
        try:
            yield
        finally:
            self._open = True
