"""One contract for every action, on servers that really run. A new action fills in its ``World`` in worlds.py."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, nullcontext
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from incidents import ledger as ledgers
from incidents import playbook as playbooks
from incidents import settings as all_settings
from incidents.models import Health, Plan
from remediations import ALL, Remediation
from remediations.base import CannotUndo, Conflict, verified
from tests.remediations.contract import Line, World
from tests.remediations.worlds import WORLDS

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Ready:
    """A world in which an action is needed, the action, and what it plans."""

    world: World
    action: Remediation
    plan: Plan
    before: Any
    line: Line


@pytest.fixture(params=WORLDS, ids=lambda world: world.__name__)
def ready(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Ready]:
    """Each action's world, built, with an empty record and a playbook that declares its asset."""
    fixtures = {name: request.getfixturevalue(name) for name in request.param.needs}
    monkeypatch.setenv("LASTGOOD_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("LASTGOOD_PLAYBOOK", str(tmp_path / "playbook.yaml"))
    cached = (ledgers.ledger, playbooks.playbook, all_settings.settings)
    for one in cached:
        one.cache_clear()
    with closing(request.param(ledgers.ledger(), fixtures)) as world:
        yaml = YAML(typ="safe")
        book = {**yaml.load((ROOT / "playbook.yaml").read_text()), "datasets": {}, "models": {}}
        world.declare(book)
        yaml.dump(book, tmp_path / "playbook.yaml")
        action = world.build()
        before = world.state()
        yield Ready(world, action, action.plan(), before, Line(monkeypatch))
    ledgers.ledger().engine.dispose()
    for one in cached:
        one.cache_clear()


def test_every_action_has_a_world() -> None:
    """No action escapes the contract, and no world is of an action that is gone."""
    assert {world.action for world in WORLDS} == set(ALL)


def test_plan_writes_nothing_and_says_the_same_again(ready: Ready) -> None:
    """A plan is the dry-run: the world stays byte for byte, and there is something to do in it."""
    assert not ready.plan.nothing_to_do
    assert ready.world.state() == ready.before
    assert Plan.model_validate_json(ready.plan.model_dump_json()).hash == ready.plan.hash
    assert ready.plan.parameters == ready.action.model_dump(mode="json")


def test_apply_twice_is_apply_once(ready: Ready) -> None:
    """The second apply, of the same plan or of one made from the record, finds it done; so does a new plan."""
    ready.action.apply(ready.plan)
    once = ready.world.state()
    assert once != ready.before
    ready.action.apply(ready.plan)
    again = type(ready.action).model_validate(ready.plan.parameters)
    again.apply(Plan.model_validate_json(ready.plan.model_dump_json()))
    assert ready.world.state() == once
    if ready.world.settles:
        assert again.plan().nothing_to_do


def test_undo_restores_byte_for_byte(ready: Ready) -> None:
    """Undo needs the record alone, and twice is once. What cannot come back says so, and changes nothing."""
    ready.action.apply(ready.plan)
    applied = ready.world.state()
    again = type(ready.action).model_validate(ready.plan.parameters)
    if not again.reversible:
        with pytest.raises(CannotUndo):
            again.undo(ready.plan)
        assert ready.world.state() == applied
        return
    for _ in range(2):
        again.undo(Plan.model_validate_json(ready.plan.model_dump_json()))
        assert ready.world.state() == ready.world.undone(ready.before, applied)


def test_apply_refuses_after_a_third_partys_change(ready: Ready) -> None:
    """Law 3: what somebody else set after the plan was made is left as it is."""
    ready.world.meddle()
    theirs = ready.world.state()
    assert theirs != ready.before
    with pytest.raises(Conflict):
        ready.action.apply(ready.plan)
    assert ready.world.state() == theirs


def test_undo_refuses_after_a_third_partys_change(ready: Ready) -> None:
    """Law 3, on the way back."""
    ready.action.apply(ready.plan)
    ready.world.meddle()
    theirs = ready.world.state()
    with nullcontext() if ready.world.stays else pytest.raises(Conflict if ready.action.reversible else CannotUndo):
        ready.action.undo(ready.plan)
    assert ready.world.state() == theirs


def test_a_kill_between_any_two_calls_recovers(ready: Ready) -> None:
    """Law 2: wherever apply dies, apply again finishes and undo takes back; wherever undo dies, undo again does."""
    world, line = ready.world, ready.line

    def anew() -> tuple[Remediation, Plan, Any]:
        action = world.build()
        return action, action.plan(), world.state()

    for calls in count(1):
        action, plan, before = anew()
        died = line.kills(calls, action.apply, plan)
        action.apply(plan)
        once = world.state()
        action.apply(plan)
        assert world.state() == once != before, f"killed after call {calls} of apply"
        assert verified(action, plan).health is Health.healthy
        if action.reversible:
            action.undo(plan)
            assert world.state() == world.undone(before, once), f"killed after call {calls} of apply"
            action, plan, before = anew()
            line.kills(calls, action.apply, plan)
            half = world.state()
            action.undo(plan)
            assert world.state() == world.undone(before, half), f"undone, killed after call {calls} of apply"
        if not died:
            break
    assert calls > 1
    for calls in count(1) if ready.action.reversible else ():
        action, plan, before = anew()
        action.apply(plan)
        applied = world.state()
        died = line.kills(calls, action.undo, plan)
        action.undo(plan)
        assert world.state() == world.undone(before, applied), f"killed after call {calls} of undo"
        if not died:
            break
    assert calls > 1 or world.stays


def test_verify_tells_healthy_unhealthy_and_inconclusive_apart(ready: Ready) -> None:
    """Law 4: not yet as planned is unhealthy, as planned is healthy, and a server that is away says neither."""
    assert verified(ready.action, ready.plan).health is Health.unhealthy
    ready.action.apply(ready.plan)
    assert verified(ready.action, ready.plan).health is Health.healthy
    with ready.world.hidden(ready.line):
        assert verified(ready.action, ready.plan).health is Health.inconclusive
    ready.world.spoil()
    assert verified(ready.action, ready.plan).health is Health.unhealthy
