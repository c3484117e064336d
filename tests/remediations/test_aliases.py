"""An alias in MLflow is moved by one request; what a person does meanwhile stays, whatever becomes of the answer."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from mlflow.exceptions import MlflowException

from demo.servers import Server
from remediations import aliases
from remediations.base import Conflict
from remediations.clients import registry
from remediations.lineage import serving
from tests.chaos.proxy import Forward, Proxy, Request, plain

MODEL = "aliased"


class Spoiled:
    """MLflow behind a proxy that does something at every request which moves an alias, and loses the answer."""

    def __init__(self) -> None:
        self.moves = 0
        self.lands = True
        self.then: Callable[[], object] = bool

    def __call__(self, request: Request, forward: Forward) -> bytes:
        """Send it on, or spoil it."""
        if not request.path.endswith("/alias") or request.method != "POST":
            return forward()
        self.moves += 1
        if self.lands:
            forward()
        self.then()
        return plain(503, "busy")


@pytest.fixture
def spoiled(
    mlflow_server: Server, monkeypatch: pytest.MonkeyPatch, forget_clients: Callable[[], None]
) -> Iterator[tuple[Spoiled, Any]]:
    """The proxy and a person's own client, with the alias at 2 of 3 versions."""
    person = registry()
    try:
        person.create_registered_model(MODEL)
        made = person.create_run("0").info
        for _ in range(3):
            person.create_model_version(MODEL, f"{made.artifact_uri}/model", made.run_id, await_creation_for=0)
    except MlflowException as error:
        assert error.error_code == "RESOURCE_ALREADY_EXISTS"  # noqa: PT017  # made by the test before
    person.set_registered_model_alias(MODEL, "champion", "2")
    around = Spoiled()
    with Proxy(mlflow_server.url, around) as proxy:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", proxy.url)
        monkeypatch.setenv("MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR", "0")
        forget_clients()
        yield around, person
    forget_clients()


def test_a_lost_answer_is_settled_by_a_look(spoiled: tuple[Spoiled, Any]) -> None:
    """It landed, and that is seen; nothing is sent again."""
    aliases.move(MODEL, "champion", expect=2, to=1)
    assert spoiled[0].moves == 1
    assert serving(MODEL, "champion") == 1


@pytest.mark.parametrize("lands", [True, False])
@pytest.mark.parametrize("where", ["2", "3"])
def test_a_person_who_moves_it_meanwhile_is_not_overwritten(
    spoiled: tuple[Spoiled, Any], lands: bool, where: str
) -> None:
    """Law 3: also where they put it back to where it was, and nobody can tell whether ours had landed."""
    around, person = spoiled
    around.lands, around.then = lands, lambda: person.set_registered_model_alias(MODEL, "champion", where)
    with pytest.raises(MlflowException):
        aliases.move(MODEL, "champion", expect=2, to=1)
    assert around.moves == 1
    assert str(serving(MODEL, "champion")) == where


def test_only_from_where_it_is_expected(spoiled: tuple[Spoiled, Any]) -> None:
    """Somewhere else is a conflict, and there already is a success; neither sends anything."""
    with pytest.raises(Conflict, match="is version 2, and not 3"):
        aliases.move(MODEL, "champion", expect=3, to=1)
    aliases.move(MODEL, "champion", expect=3, to=2)
    assert spoiled[0].moves == 0
