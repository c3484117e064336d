"""What every action of containment promises, on the real servers: S3, AWS's other services, MLflow."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from demo.servers import Server
from incidents.models import Health
from remediations.base import Conflict
from tests.remediations.security_scenes import CONTAINMENT, DECLARED, SCENES, Killed, Scene, away, killed


@pytest.fixture(params=SCENES, ids=lambda kind: kind.__name__)
def scene(  # noqa: PLR0917  # every server of the scenes, and how to reach them
    request: pytest.FixtureRequest,
    aws: Callable[[str], Any],
    aws_server: Server,
    mlflow_server: Server,
    forget_clients: Callable[[], None],
    declare: Callable[[str], None],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Scene]:
    """One scene, made anew, with a playbook that declares it and an empty ledger."""
    made: Scene = request.param()
    made.folder = tmp_path / "files"
    if made.whole_s3:
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", aws_server.url)
        forget_clients()
    declare(DECLARED.replace("BUCKET", made.bucket).replace("KEY", made.key))
    made.set_up()
    yield made
    if made.whole_s3:
        monkeypatch.undo()
        forget_clients()


def test_every_scene_is_of_an_action_that_counts_as_held_here(scene: Scene) -> None:
    """The list that the shared contract counts on names what has a scene."""
    assert scene.action().name() in CONTAINMENT


def test_a_plan_says_what_would_change_and_changes_nothing(scene: Scene) -> None:
    """Planned twice it is the same plan, to the hash, because nothing was changed in between."""
    before = scene.state()
    plan = scene.action().plan()
    assert not plan.nothing_to_do
    assert scene.action().plan().hash == plan.hash
    assert scene.state() == before


def test_applied_twice_is_applied_once_and_undone_is_as_before(scene: Scene) -> None:
    """The second time does nothing, a plan made then has nothing to do, and what was there comes back byte for byte."""
    action, before = scene.action(), scene.state()
    plan = action.plan()
    assert action.verify(plan).health is Health.unhealthy
    action.apply(plan)
    changed = scene.state()
    assert changed != before
    action.apply(plan)
    assert scene.state() == changed
    assert action.verify(plan).health is Health.healthy
    assert action.plan().nothing_to_do
    for _ in range(2):
        action.undo(plan)
        assert scene.state() == before
    assert action.verify(plan).health is Health.unhealthy


def test_what_somebody_else_set_is_left_as_it_is(scene: Scene) -> None:
    """Law 3: neither apply nor undo writes over what somebody set in between, and what they set is no success."""
    action = scene.action()
    plan = action.plan()
    action.apply(plan)
    scene.meddle()
    theirs = scene.state()
    for refused in (action.undo, action.apply):
        with pytest.raises(Conflict):
            refused(plan)
        assert scene.state() == theirs
    assert action.verify(plan).health is Health.unhealthy


def test_killed_between_any_two_calls_it_goes_on(scene: Scene) -> None:
    """Law 2: wherever the process dies, in apply or in undo, doing it again is doing it once."""
    action, before = scene.action(), scene.state()
    plan = action.plan()
    died = 0
    for work, other, health in ((action.apply, action.undo, Health.healthy), (action.undo, action.apply, None)):
        for number in range(30):
            with killed(after=number) as sent:
                try:
                    work(plan)
                except Killed:
                    died += 1
            alive = sent() < number
            work(plan)
            assert (action.verify(plan).health is Health.healthy) is (health is Health.healthy)
            if alive:
                break
            other(plan)
        else:
            raise AssertionError("it sends more requests than this test thinks of")
    assert scene.state() == before
    assert died >= 4


def test_a_server_that_is_away_is_no_verdict(scene: Scene) -> None:
    """Law 4: not seen is neither healthy nor unhealthy."""
    action = scene.action()
    plan = action.plan()
    action.apply(plan)
    with away():
        assert action.verify(plan).health is Health.inconclusive
