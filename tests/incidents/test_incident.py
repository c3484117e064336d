"""An incident is a fold over its events: every beginning of its story is a story too."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from incidents import events as e
from incidents.events import Body
from incidents.incident import Attempt, Incident, NoSuchIncident, find, fold
from incidents.ledger import Ledger
from incidents.models import Category, Health, Mode, Plan, Severity, Status, Verdict
from incidents.postmortem import questions
from incidents.timeline import phases, time_to_mitigate, timeline

Tell = Callable[[Iterable[tuple[float, Body]]], Incident]
Story = list[tuple[float, Body]]

OPENED = e.Opened(category=Category.data, severity=Severity.medium, asset="dataset:transactions", title="in cents")
PLANS = [
    Plan(
        action="rollback_dataset", parameters={"n": n}, target="dataset:t", before={"v": n}, after={"v": 0}, summary=""
    )
    for n in range(3)
]
VERDICTS = {health: Verdict(health=health, why="looked") for health in Health}
STATES = {
    "planned",
    "proposed",
    "nothing to do",
    "applying",
    "applied",
    "conflict",
    "undoing",
    "undone",
    *(health.value for health in Health),
}


def gated(plan: Plan, mode: Mode) -> e.Gated:
    """The gates' answer, where only the answer matters."""
    return e.Gated(plan=plan.hash, mode=mode, gates=(e.Gate(name="rule", says=mode, why="so"),), playbook="0" * 64)


def about(plan: Plan) -> list[Body]:
    """Everything that can be said of a plan once it is on the record."""
    return [
        *(gated(plan, mode) for mode in Mode),
        e.Applying(plan=plan.hash, token=1),
        e.Applied(plan=plan.hash),
        *(e.Verified(plan=plan.hash, verdict=verdict) for verdict in VERDICTS.values()),
        e.Conflicted(plan=plan.hash, why="somebody else"),
        e.Undoing(plan=plan.hash, why="it did not help", token=2),
        e.Undone(plan=plan.hash),
    ]


@st.composite
def stories(draw: st.DrawFn) -> Story:
    """What can be on an incident's record, in any order that has a plan before what is said of it."""
    known: list[Plan] = []
    story: Story = [(0, OPENED)]
    free: list[Body] = [
        e.Started(flow="data"),
        *(e.Checked(phase="confirm", verdict=verdict) for verdict in VERDICTS.values()),
        *(e.Checked(phase="watch", verdict=verdict) for verdict in VERDICTS.values()),
        e.NotPlanned(action="revert_model", target="model:fraud", why="no version was verified good"),
        e.Failed(step="data", error="TimeoutError: "),
        e.Escalated(to="data engineer", why="no safe plan"),
        e.Resolved(why="good again"),
        e.NotConfirmed(why="healthy"),
    ]
    for _ in range(draw(st.integers(0, 12))):
        said = [body for plan in known for body in about(plan)]
        body = draw(st.sampled_from([*free, *(e.Planned(plan=plan) for plan in PLANS), *said]))
        if isinstance(body, e.Planned):
            known.append(body.plan)
        story.append((draw(st.floats(0, 100)), body))
    return story


@given(story=stories())
def test_every_prefix_is_an_incident(tell: Tell, story: Story) -> None:
    """A flow that is entered again, the CLI and the post-mortem read whatever part of the story there is yet."""
    for end in range(1, len(story) + 1):
        incident = tell(story[:end])
        assert incident.status in Status
        assert (incident.closed_at is None) or incident.closed_at >= incident.opened_at
        assert {attempt.state for attempt in incident.attempts} <= STATES
        assert len(incident.attempts) == sum(isinstance(body, e.Planned) for _, body in story[:end])
        assert len(timeline(incident)) == end
        assert len(phases(incident)) == 5
        assert all(phase.took is None or phase.took.total_seconds() >= 0 for phase in phases(incident))
        assert (time_to_mitigate(incident) is not None) == any(isinstance(b, e.Resolved) for _, b in story[:end])
        assert isinstance(questions(incident), list)


def test_the_whole_story(tell: Tell, healed: Story) -> None:
    """The demo's story leaves a resolved incident with two healthy attempts."""
    incident = tell(healed)
    assert (incident.name, incident.status, incident.severity) == ("INC-7", Status.resolved, Severity.high)
    assert [attempt.state for attempt in incident.attempts] == ["healthy", "healthy"]
    assert incident.closed_at is not None
    assert incident.last(e.Told) is incident.events[-1]
    assert incident.last(e.Failed) is None
    rollback, revert = incident.attempts
    assert incident.latest("revert_model", dict(revert.plan.parameters)) is revert
    assert incident.latest("revert_model", {}) is None
    assert incident.attempt(rollback.plan.hash) is rollback


PLAN = PLANS[1]
LIVES: list[tuple[str, list[Body]]] = [
    ("planned", []),
    ("planned", [gated(PLAN, Mode.run)]),
    ("proposed", [gated(PLAN, Mode.ask)]),
    ("proposed", [gated(PLAN, Mode.never)]),
    ("applying", [gated(PLAN, Mode.run), e.Applying(plan=PLAN.hash, token=1)]),
    ("conflict", [e.Applying(plan=PLAN.hash, token=1), e.Conflicted(plan=PLAN.hash, why="moved")]),
    ("applied", [e.Applying(plan=PLAN.hash, token=1), e.Applied(plan=PLAN.hash)]),
    ("unhealthy", [e.Applied(plan=PLAN.hash), e.Verified(plan=PLAN.hash, verdict=VERDICTS[Health.unhealthy])]),
    ("undoing", [e.Applied(plan=PLAN.hash), e.Undoing(plan=PLAN.hash, why="no help", token=2)]),
    ("undone", [e.Undoing(plan=PLAN.hash, why="no help", token=2), e.Undone(plan=PLAN.hash)]),
]


@pytest.mark.parametrize(("state", "life"), LIVES)
def test_how_far_a_plan_has_come(tell: Tell, state: str, life: list[Body]) -> None:
    """After a crash the record alone says how far each plan has come."""
    story: Story = [(0, OPENED), (1, e.Planned(plan=PLAN)), *((1, body) for body in life)]
    assert [attempt.state for attempt in tell(story).attempts] == [state]


def test_a_plan_with_nothing_to_do(tell: Tell) -> None:
    """An action already in effect is told as such."""
    assert [attempt.state for attempt in tell([(0, OPENED), (1, e.Planned(plan=PLANS[0]))]).attempts] == [
        "nothing to do"
    ]


def test_the_newest_attempt_is_meant(tell: Tell) -> None:
    """Where the same plan was made twice, what happened last is told of the second."""
    story: Story = [(0, OPENED), (1, e.Planned(plan=PLAN)), (1, e.Planned(plan=PLAN)), (1, e.Applied(plan=PLAN.hash))]
    assert [attempt.applied for attempt in tell(story).attempts] == [False, True]
    assert isinstance(tell(story).attempt(PLAN.hash), Attempt)


def test_no_such_incident(ledger: Ledger, tell: Tell) -> None:
    """A name that the ledger does not have, and a record that does not begin with an opening, are no incident."""
    with pytest.raises(NoSuchIncident, match="lastgood incidents"):
        find(ledger, "INC-1")
    with pytest.raises(NoSuchIncident):
        fold([])
    with pytest.raises(NoSuchIncident):
        tell([(0, e.Started(flow="data"))])


def test_a_name_is_found_in_any_case(ledger: Ledger) -> None:
    """``inc-1`` is ``INC-1``."""
    with ledger.write() as writer:
        writer.open(OPENED, actor="intake:generic")
    assert find(ledger, "inc-1").title == "in cents"
