"""The loader of a serving process, on a real registry: what is shut away or unsafe is never built."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from demo.servers import Server
from incidents.events import Contested
from incidents.ledger import ledger
from incidents.models import Health, Verdict
from remediations import PromoteModel, QuarantineModel, scanning
from remediations.base import CannotPlan
from remediations.loading import Loader, NotLoaded
from remediations.scanning import scan
from tests.remediations.model_kit import MODEL, registered

Declare = Callable[[str], None]


class Payload:
    """What runs when it is loaded: it leaves a folder."""

    def __init__(self, leaves: Path) -> None:
        self.leaves = leaves

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.leaves),)


def build(files: Path) -> Any:
    """Load it as so many services do."""
    return pickle.loads((files / "model.pkl").read_bytes())  # noqa: S301  # what this test is about


@pytest.fixture
def models(mlflow_server: Server, declare: Declare, tmp_path: Path) -> Callable[..., None]:
    """Register versions of the model, each one pickle."""
    declare("models: {scored: {learns_from: []}}")
    return lambda *contents: registered(tmp_path / "files", *contents, name="model.pkl")


def test_a_version_is_built_until_it_or_its_content_is_quarantined(models: Callable[..., None]) -> None:
    """Also one that was built before, and one that was registered again under another number."""
    bad, good = pickle.dumps(["bad"]), pickle.dumps(["good"])
    models(bad, good, bad)
    loader = Loader(MODEL, build)
    assert [loader.load(1), loader.load(2)] == [["bad"], ["good"]]
    action = QuarantineModel(model=MODEL, version=3, because="INC-7")
    plan = action.plan()
    action.apply(plan)
    with pytest.raises(NotLoaded, match="3 is quarantined: INC-7"):
        loader.load(3)
    for one in (loader, Loader(MODEL, build)):
        with pytest.raises(NotLoaded, match="that of scored 3"):
            one.load(1)
        assert one.load(2) == ["good"]
    action.undo(plan)
    assert loader.load(1) == ["bad"]


def test_what_runs_something_is_not_built(models: Callable[..., None], tmp_path: Path) -> None:
    """Its files are looked through first, and a pickle that can't be read to its end was not found safe."""
    models(pickle.dumps(Payload(tmp_path / "it ran")), pickle.dumps(["cut off"])[:-3])
    for version in (1, 2):
        with pytest.raises(NotLoaded, match="is not loaded"):
            Loader(MODEL, build).load(version)
    assert not (tmp_path / "it ran").exists()
    Loader(MODEL, build, trusted=True).load(1)
    assert (tmp_path / "it ran").exists()


def test_what_runs_something_is_not_promoted(models: Callable[..., None], tmp_path: Path) -> None:
    """It has won on the rows, and is refused all the same."""
    models(pickle.dumps(Payload(tmp_path / "it ran")), pickle.dumps(["champion"]))
    won = Contested(champion=2, challenger=1, verdict=Verdict(health=Health.healthy, why="compared"))
    ledger().append(won, actor="test", subject=f"model:{MODEL}")
    with pytest.raises(CannotPlan, match="unsafe to load"):
        PromoteModel(model=MODEL, to=1, because="a test").plan()
    assert not (tmp_path / "it ran").exists()


def test_of_a_version_that_is_too_large_nothing_is_fetched(
    models: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Inconclusive, and it says how large it is: unknown means no."""
    models(pickle.dumps(["x" * 100]))
    monkeypatch.setattr(scanning, "MOST_BYTES", 100)
    monkeypatch.setattr(scanning, "fetched", None)
    found = scan(MODEL, 1)
    assert (found.digest, found.verdict.health) == ("", Health.inconclusive)
    assert "more than 100" in found.verdict.why
