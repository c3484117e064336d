"""lakeFS's API as its vendor describes it, to hold a stand-in against: the client that is made of api/swagger.yml.

A request is made again with that client (``lakefs-sdk``), which must come to the same method, path, query and body.
An answer must be one that the client has for its status, with every field of the kind that it says.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, unquote, urlsplit

BASE = "/api/v1"
#: What of a query is not text.
TYPES: dict[str, Callable[[str], object]] = {
    "amount": int,
    "first_parent": lambda text: text.lower() == "true",
    "user_metadata": lambda text: text.lower() == "true",
}
#: Method, path, the vendor's name of the operation, and what its client calls the body.
ROUTES = (
    ("POST", "", "create_repository", "repository_creation"),
    ("DELETE", "/{repository}", "delete_repository", ""),
    ("GET", "/{repository}/branches/{branch}", "get_branch", ""),
    ("GET", "/{repository}/branches", "list_branches", ""),
    ("POST", "/{repository}/branches", "create_branch", "branch_creation"),
    ("DELETE", "/{repository}/branches/{branch}", "delete_branch", ""),
    ("GET", "/{repository}/refs/{ref}/commits", "log_commits", ""),
    ("GET", "/{repository}/commits/{commit_id}", "get_commit", ""),
    ("GET", "/{repository}/refs/{ref}/objects/ls", "list_objects", ""),
    ("GET", "/{repository}/refs/{ref}/objects", "get_object", ""),
    ("POST", "/{repository}/branches/{branch}/objects", "upload_object", ""),
    ("POST", "/{repository}/branches/{branch}/objects/copy", "copy_object", "object_copy_creation"),
    ("POST", "/{repository}/branches/{branch}/objects/delete", "delete_objects", "path_list"),
    ("POST", "/{repository}/branches/{branch}/commits", "commit", "commit_creation"),
    ("POST", "/{repository}/refs/{source_ref}/merge/{destination_branch}", "merge_into_branch", "merge"),
    ("POST", "/{repository}/branches/{branch}/revert", "revert_branch", "revert_creation"),
    ("GET", "/{repository}/tags/{tag}", "get_tag", ""),
    ("POST", "/{repository}/tags", "create_tag", "tag_creation"),
    ("DELETE", "/{repository}/tags/{tag}", "delete_tag", ""),
)


class Undocumented(Exception):
    """lakeFS's API does not have this."""


class Operation(NamedTuple):
    """A request that is documented."""

    name: str
    #: What the path and the query give.
    given: dict[str, Any]
    #: By status, what the answer is.
    answers: dict[str, str | None]


class _Connection:
    """In place of the vendor's: keeps what the vendor's client would have sent."""

    def select_header_accept(self, accepts: list[str]) -> str:
        return accepts[0]

    select_header_content_type = select_header_accept

    def call_api(self, path: str, method: str, places: dict[str, str], query: list[Any], *_: Any, **more: Any) -> None:
        self.asked = method, path.format(**places), dict(query)
        self.body, self.answers = more["body"], more["response_types_map"]


def documented(method: str, target: str, sent: dict[str, Any]) -> Operation:
    """The operation of a request, whose body is ``sent``.

    Raises:
        Undocumented: there is none, or the vendor's client would not have asked it so.
    """
    parts = urlsplit(target)
    path = parts.path.removeprefix(BASE)
    query = {name: TYPES.get(name, str)(text) for name, text in parse_qsl(parts.query, keep_blank_values=True)}
    for at, pattern, name, argument in _routes():
        found = pattern.fullmatch(path)
        if at != method or not found:
            continue
        given = {place: unquote(text) for place, text in found.groupdict().items()} | query
        connection, body = _Connection(), {argument: sent} if argument else {}
        try:
            getattr(_api(name)(connection), f"{name}_with_http_info")(**given, **body)
        except (TypeError, ValueError) as error:  # pydantic's are ValueErrors
            raise Undocumented(f"{name}: {error}") from error
        if connection.asked != (method, unquote(path), query):
            raise Undocumented(f"{name} is {connection.asked}, not {(method, path, query)}")
        understood = connection.body.to_dict() if argument else {}
        if lost := {key for key, value in sent.items() if understood.get(key) != value}:
            raise Undocumented(f"{name} has no {', '.join(sorted(lost))} of such a kind")
        return Operation(name, given, connection.answers)
    raise Undocumented(f"no test needs {method} {path} yet")


def check(operation: Operation, status: int, body: Any) -> None:
    """Hold an answer against what is documented for its status.

    Raises:
        Undocumented: it is not one of these.
    """
    import lakefs_sdk

    nothing = {"204": None}  # where nothing comes back, the client knows of no answers
    kind = (operation.answers or nothing).get(str(status), "Error" if not operation.answers else "")
    if isinstance(body, dict) and kind:
        understood = getattr(lakefs_sdk, kind).from_dict(body).to_dict()
        if all(understood.get(key) == value for key, value in body.items()):
            return
    if not isinstance(body, dict) and kind == {str: "str", bytes: "bytearray", type(None): None}[type(body)]:
        return
    raise Undocumented(f"{operation.name} has no such answer {status}: {body!r}")


@cache
def _routes() -> list[tuple[str, re.Pattern[str], str, str]]:
    return [
        (method, re.compile("/repositories" + re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", path)), name, argument)
        for method, path, name, argument in ROUTES
    ]


@cache
def _api(operation: str) -> Any:
    """The vendor's class that has the operation."""
    import lakefs_sdk

    named = [one for name, one in vars(lakefs_sdk).items() if name.endswith("Api")]
    return next(one for one in named if hasattr(one, operation))
