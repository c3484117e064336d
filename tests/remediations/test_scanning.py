"""Unsafe models on a real registry: found without being loaded, and no target of anything."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from demo.servers import Server
from incidents import events as e
from incidents.events import Judged, Scanned
from incidents.ledger import ledger
from incidents.models import Health, Verdict
from remediations import IsolateService, QuarantineModel, RevertModel, scanning
from remediations.base import CannotPlan, Remediation
from remediations.clients import registry
from remediations.refusals import refused
from remediations.scanning import look_through, scan
from tests.remediations.model_kit import MODEL, registered

Declare = Callable[[str], None]
CLEAN = pickle.dumps({"weights": [1.0, 2.0]})


def clean(text: str) -> bytes:
    """Another pickle that runs nothing."""
    return pickle.dumps({"weights": text})


class Payload:
    """What runs when it is loaded: it leaves a file."""

    def __init__(self, leaves: Path) -> None:
        self.leaves = leaves

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.leaves),)


@pytest.fixture
def payload(tmp_path: Path) -> bytes:
    """A pickle that runs something."""
    return pickle.dumps(Payload(tmp_path / "it ran"))


@pytest.fixture
def models(mlflow_server: Server, declare: Declare, tmp_path: Path) -> Callable[..., None]:
    """Register versions of the model and put on the record that each was verified good; none learned from anything."""
    declare("models: {scored: {learns_from: [], fallback: 1}}")

    def make(*contents: bytes) -> None:
        registered(tmp_path / "files", *contents, name="model.pkl")
        for number in range(1, len(contents) + 1):
            good = Judged(version=str(number), verdict=Verdict(health=Health.healthy, why="seen"))
            ledger().append(good, actor="test", subject=f"model:{MODEL}")

    return make


@pytest.mark.parametrize(
    ("name", "content", "health"),
    [
        ("model.pkl", CLEAN, Health.healthy),
        ("model.skops", b"anything", Health.healthy),
        ("conda.yaml", b"channels:\n- conda-forge\ndependencies:\n", Health.healthy),
        ("model.anything", CLEAN[:-3], Health.inconclusive),
        ("model.pkl", b"no pickle at all", Health.inconclusive),
        ("model.pkl", CLEAN[:-3], Health.inconclusive),
        ("model.pkl", None, Health.unhealthy),
        ("model.anything", None, Health.unhealthy),
    ],
)
def test_what_is_found_in_a_file(
    name: str, content: bytes | None, health: Health, payload: bytes, tmp_path: Path
) -> None:
    """Whatever a file is called, what it would import is read; what can't be read to its end was not found safe."""
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / name).write_bytes(payload if content is None else content)
    assert look_through(folder).health is health
    assert not (tmp_path / "it ran").exists(), "the scanner has loaded it"


def test_an_unsafe_version_is_no_target(models: Callable[..., None], payload: bytes, tmp_path: Path) -> None:
    """Verified good or not: what runs something when it is loaded is passed over, and the plan says why."""
    models(CLEAN, payload, clean("now"))
    plan = RevertModel(model=MODEL, even_if_good=True).plan()
    assert plan.after == {"version": 1}
    assert any("version 2" in why and "posix.mkdir" in why for why in plan.because)
    assert not (tmp_path / "it ran").exists()


def test_a_team_may_allow_its_pickles(models: Callable[..., None], declare: Declare, payload: bytes) -> None:
    """Cloudpickled functions look like that too: the playbook can say that this model's pickles are its own."""
    models(CLEAN, payload, clean("now"))
    declare("models: {scored: {learns_from: [], unsafe_pickles: allow}}")
    assert refused(MODEL, 2) is None


def test_a_version_without_files_is_not_found_safe(models: Callable[..., None]) -> None:
    """An artifact that can't be read is inconclusive, and unknown means no."""
    models(CLEAN, clean("now"))
    run = registry().create_run("0").info.run_id
    made = registry().create_model_version(MODEL, f"runs:/{run}/model", run_id=run)
    assert scan(MODEL, made.version).verdict.health is not Health.healthy
    assert refused(MODEL, int(made.version)) is not None


def test_what_nobody_could_read_is_refused_even_where_pickles_are_allowed(
    models: Callable[..., None], declare: Declare, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Allowed is what a team's own pickles do; of content without a digest nobody knows whether it is quarantined."""
    models(CLEAN, clean("now"))
    declare("models: {scored: {learns_from: [], unsafe_pickles: allow}}")
    monkeypatch.setattr(scanning, "MOST_BYTES", 1)
    found = scan(MODEL, 1)
    assert (found.digest, refused(MODEL, 1, look=True)) == ("", found.verdict.why)


def test_a_quarantined_version_is_refused_by_name_by_content_and_without_its_tag(models: Callable[..., None]) -> None:
    """Registered again under another number, or with its tag taken away, it is the same bad version."""
    models(clean("bad"), clean("good"), clean("bad"), clean("now"))
    _do(QuarantineModel(model=MODEL, version=3, because="INC-7"))
    assert "quarantined" in str(refused(MODEL, 3))
    assert "scored 3, which is quarantined" in str(refused(MODEL, 1))
    registry().delete_model_version_tag(MODEL, "3", "lastgood.quarantined")
    assert "quarantined" in str(refused(MODEL, 3))
    assert RevertModel(model=MODEL, even_if_good=True).plan().after == {"version": 2}
    with pytest.raises(CannotPlan, match="quarantined"):
        RevertModel(model=MODEL, to=3).plan()
    with pytest.raises(CannotPlan, match="which is quarantined"):
        IsolateService(model=MODEL).plan()


def test_the_version_in_production_is_left_when_it_is_quarantined(models: Callable[..., None]) -> None:
    """Good on the record, and shut away since: staying with it is no plan."""
    models(CLEAN, clean("now"))
    assert RevertModel(model=MODEL).plan().nothing_to_do
    _do(QuarantineModel(model=MODEL, version=2, because="INC-7"))
    assert RevertModel(model=MODEL).plan().after == {"version": 1}


def test_files_changed_since_they_were_scanned_are_no_target(models: Callable[..., None]) -> None:
    """After a breach the bytes are read again, and compared with what was on the record before."""
    models(CLEAN, clean("now"))
    healthy = Verdict(health=Health.healthy, why="clean")
    ledger().append(Scanned(version="1", digest="f" * 64, verdict=healthy), actor="test", subject=f"model:{MODEL}")
    assert refused(MODEL, 1) is None
    assert refused(MODEL, 1, look=True) == "its files were changed since they were scanned"


def _do(action: Remediation) -> None:
    """Apply an action as the flows do, as far as the record goes."""
    plan = action.plan()
    for body in (e.Planned(plan=plan), e.Applying(plan=plan.hash, token=1)):
        ledger().append(body, actor="test", subject=plan.target)
    action.apply(plan)
    ledger().append(e.Applied(plan=plan.hash), actor="test", subject=plan.target)
