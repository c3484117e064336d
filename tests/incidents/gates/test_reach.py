"""Whom it touches: here, the person who took a change of ours back."""

from __future__ import annotations

from datetime import timedelta

import pytest

from incidents import events as e
from incidents.events import Body
from incidents.facts import TakenBack
from incidents.gatekeeper import consult
from incidents.ledger import Ledger
from incidents.models import Mode, Plan
from incidents.playbook import Playbook
from tests.incidents.asking import AT, PLAN, asked, facts, gate, limited

GATE = "taken back"

#: How the pointer came to where a plan finds it, event after event with its actor; and what the gate says.
Story = list[tuple[str, Body]]
OURS: Story = [
    ("flow:data", e.Planned(plan=PLAN)),
    ("flow:data", e.Applying(plan=PLAN.hash, gates=(), playbook="p", action=PLAN.action, token=1)),
    ("flow:data", e.Applied(plan=PLAN.hash)),
]
SEEN = ("flow:monitor", e.Moved(before="v1", after="v2", by="anna"))
STORIES: dict[str, tuple[Story, Mode]] = {
    "a person moved it, and nobody else": ([("flow:monitor", e.Moved(before="v1", after="v2", by="anna"))], Mode.run),
    "ours was taken back by a person": ([*OURS, SEEN], Mode.ask),
    "ours was taken back, which whoever plans sees": (
        [*OURS, ("flow:model", e.Planned(plan=PLAN.model_copy(update={"summary": "once more"})))],
        Mode.ask,
    ),
    "another incident had planned the same before": (
        [OURS[0], ("flow:model", e.Planned(plan=PLAN.model_copy(update={"summary": "too"}))), *OURS[1:]],
        Mode.run,
    ),
    "a person had it undone": ([*OURS, ("person:anna", e.Undone(plan=PLAN.hash))], Mode.ask),
    "we undid it, as it did not help": ([*OURS, ("flow:data", e.Undone(plan=PLAN.hash))], Mode.run),
    "a crash kept the end of our undo from the record": (
        [*OURS, ("flow:monitor", e.Moved(before="v1", after="v2", by="flow:data"))],
        Mode.run,
    ),
    "taken back, and moved on since": (
        [*OURS, SEEN, ("flow:monitor", e.Moved(before="v2", after="v3")), ("m", e.Moved(before="v3", after="v2"))],
        Mode.run,
    ),
}


@pytest.mark.parametrize("name", STORIES)
def test_what_a_person_took_back_is_not_done_again_without_one(anywhere: Ledger, book: Playbook, name: str) -> None:
    """Only the very move that we made last and somebody else took back asks; a first move of theirs is an incident."""
    story, expected = STORIES[name]
    for actor, body in story:
        anywhere.append(body, actor=actor, incident="INC-1", subject=PLAN.target)
    sheet = consult(anywhere, limited(book, cool_down_seconds=0), asked(incident="INC-2")).gates
    [found] = [one for one in sheet if one.name == GATE]
    assert found.says is expected


def test_another_move_than_the_one_that_was_taken_back_runs(ledger: Ledger, book: Playbook) -> None:
    """They took back version v1: of another version they have said nothing."""
    for actor, body in [*OURS, SEEN]:
        ledger.append(body, actor=actor, incident="INC-1", subject=PLAN.target)
    other = Plan.model_validate(PLAN.model_dump(exclude={"hash"}) | {"after": {"version": "v0"}})
    sheet = consult(ledger, limited(book, cool_down_seconds=0), asked(incident="INC-2", plan=other)).gates
    assert [one.says for one in sheet if one.name == GATE] == [Mode.run]


def test_it_asks_for_as_long_as_the_playbook_says(book: Playbook) -> None:
    """It names who took it back, and until when; after that it may run again, and at 0 minutes at once."""
    tight = limited(book, taken_back_minutes=60)
    found = gate(GATE, asked(), tight, facts(taken_back=TakenBack(at=AT - timedelta(minutes=59), by="anna")))
    assert (found.says, found.until) == (Mode.ask, AT + timedelta(minutes=1))
    assert "anna took it back" in found.why
    over = facts(taken_back=TakenBack(at=AT - timedelta(minutes=60)))
    assert gate(GATE, asked(), tight, over).says is Mode.run
    assert gate(GATE, asked(), limited(book, taken_back_minutes=0), facts(taken_back=TakenBack(at=AT))).says is Mode.run
