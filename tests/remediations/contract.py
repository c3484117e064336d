"""What every action must hold. An action's author fills in one small ``World``; ``test_contract`` does the rest."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import ContextVar, copy_context
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import urlsplit

import httpx
import pytest

from incidents.ledger import Ledger
from incidents.models import Plan
from remediations.base import Remediation
from remediations.datasets.git_branch import GitBranch

#: Set by what stands for another machine: its calls are not the action's.
ELSEWHERE: ContextVar[bool] = ContextVar("elsewhere", default=False)

#: What changes nothing, of the libraries that don't speak HTTP.
LOOKS = ("__init__", "fetch", "load_table")

#: How the paths end that are asked by POST and change nothing.
QUERIES = ("/filter", "/count")


class Killed(BaseException):
    """The process dies here: nothing that catches errors catches this, as nothing catches a SIGKILL."""


class World(ABC):
    """The part of production that one action touches, in servers that really run."""

    #: The action that it is the world of.
    action: ClassVar[type[Remediation]]
    #: The fixtures that it needs: ``mlflow_server``, ``aws``.
    needs: ClassVar[tuple[str, ...]] = ()
    #: Whether a plan made after it was applied has nothing to do. One step more is never the last.
    settles: ClassVar[bool] = True
    #: Whether undoing leaves what it added, as with evidence, so that nobody can be in its way.
    stays: ClassVar[bool] = False

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

    def spoil(self) -> None:
        """Change the target so that it is no longer as the action wants it; as ``meddle`` does, unless it says so."""
        self.meddle()

    def undone(self, before: Any, applied: Any) -> Any:  # noqa: ARG002  # for those that leave something
        """The state that undo leaves: as it was, unless the action says what stays."""
        return before

    def whole(self, plan: Plan) -> bool:  # noqa: ARG002  # for those that go on without what they may not do
        """Whether it did all of it, and left out nothing that it may not do."""
        return True

    def close(self) -> None:  # noqa: B027  # most start nothing
        """End what it started."""

    @contextmanager
    def hidden(self, line: Line) -> Iterator[None]:
        """Inside, what the action looks at can't be looked at: by default, no server answers."""
        with line.cut():
            yield


class Line:
    """The line to production: counts what may change it, dies after so many such calls, or lets nothing through.

    Every client of ``remediations.clients`` sends through one of three classes, and Prefect's through a fourth, so it
    does not matter whose it is. A file that is deleted counts as well, and so does a commit by Git, or by the library
    of a table's format. A look (GET, HEAD, a filter, a fetch, a table that is loaded) leaves nothing behind: dying
    after it is dying before it.
    """

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.calls = 0
        self._last: int | None = None
        self._open = True
        from botocore.httpsession import URLLib3Session
        from deltalake import DeltaTable
        from pyiceberg.catalog.sql import SqlCatalog
        from requests.adapters import HTTPAdapter

        for kind, name, away in [
            (URLLib3Session, "send", ConnectionRefusedError),
            (HTTPAdapter, "send", ConnectionRefusedError),
            (httpx.HTTPTransport, "handle_request", httpx.ConnectError),
            (DeltaTable, "__init__", ConnectionRefusedError),
            (DeltaTable, "restore", ConnectionRefusedError),
            (GitBranch, "fetch", ConnectionRefusedError),
            (GitBranch, "push", ConnectionRefusedError),
            (SqlCatalog, "load_table", ConnectionRefusedError),
            (SqlCatalog, "commit_table", ConnectionRefusedError),
            (Path, "unlink", PermissionError),
        ]:
            patch.setattr(kind, name, self._through(getattr(kind, name), away, looks=name in LOOKS))
        sends = httpx.AsyncHTTPTransport.handle_async_request
        patch.setattr(httpx.AsyncHTTPTransport, "handle_async_request", self._through_later(sends, httpx.ConnectError))
        patch.setattr(ThreadPoolExecutor, "submit", _in_the_same_place(ThreadPoolExecutor.submit))

    def _through(self, send: Any, away: type[Exception], *, looks: bool) -> Any:
        def counted(*arguments: Any, **named: Any) -> Any:
            if ELSEWHERE.get():
                return send(*arguments, **named)
            self._begin(away)
            answer = send(*arguments, **named)
            self._end(looks=looks or bool(arguments[1:] and _looks(arguments[1])))
            return answer

        return counted

    def _through_later(self, send: Any, away: type[Exception]) -> Any:
        async def counted(transport: Any, request: httpx.Request) -> Any:
            if ELSEWHERE.get():
                return await send(transport, request)
            self._begin(away)
            answer = await send(transport, request)
            self._end(looks=_looks(request))
            return answer

        return counted

    def _begin(self, away: type[Exception]) -> None:
        if not self._open:
            raise away("the server is away")

    def _end(self, *, looks: bool) -> None:
        if looks:
            return
        self.calls += 1
        if self._last is not None and self.calls >= self._last:
            raise Killed

    def kills(self, calls: int, work: Callable[[Plan], None], plan: Plan) -> bool:
        """Work, and die as soon as so many calls have changed production; False: there were fewer."""
        self.calls, self._last = 0, calls
        try:
            work(plan)
        except BaseException:  # also what a library makes of it on the way out, in a thread that goes on for a moment
            if self.calls < calls:
                raise
            return True
        finally:
            self._last = None
        return False

    @contextmanager
    def cut(self) -> Iterator[None]:
        """Inside, no server answers."""
        self._open = False
        try:
            yield
        finally:
            self._open = True


def _in_the_same_place(submit: Any) -> Any:
    """The threads of what is elsewhere are elsewhere as well."""
    return lambda pool, *work, **named: submit(pool, copy_context().run, *work, **named)


def _looks(request: Any) -> bool:
    """Whether a request changes nothing: by its method or, where AWS has one method for all, by its operation."""
    method = getattr(request, "method", None)
    if method in ("GET", "HEAD") or (method == "POST" and urlsplit(str(request.url)).path.endswith(QUERIES)):
        return True
    target, body = getattr(request, "headers", {}).get("X-Amz-Target", b""), getattr(request, "body", b"")
    named = target if isinstance(target, bytes) else target.encode()
    return (
        re.search(rb"(?:\.|^Action=)(?:Describe|Get|List)\w+", named or (body if isinstance(body, bytes) else b""))
        is not None
    )
