"""The timeline: a plain sentence for every kind of event, and how long each phase took."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from typing import get_args

import pytest

from incidents import events as e
from incidents.events import Body
from incidents.incident import Incident
from incidents.models import Alert, Category, Health, Mode, Plan, Severity, Verdict
from incidents.sentences import change, plans, sentence
from incidents.timeline import clock, phases, time_to_mitigate, timeline

Tell = Callable[[Iterable[tuple[float, Body]]], Incident]
Story = list[tuple[float, Body]]

ALERT = Alert(
    source="alertmanager",
    fingerprint="f",
    episode="1",
    starts_at=datetime(2026, 11, 23, 6, 59, 48, tzinfo=UTC),
    firing=True,
    name="DatasetBroken",
)
PLAN = Plan(
    action="rollback_dataset",
    parameters={"dataset": "transactions"},
    target="dataset:transactions",
    before={"version": "20261123T065800Z", "rows": 3},
    after={"version": "20261122T060000Z", "rows": 3},
    summary="back to 20261122T060000Z",
)
BAD = Verdict(health=Health.unhealthy, why="amount is in cents")
GATES = (
    e.Gate(name="matrix", says=Mode.run, why="severity 2 (high) x medium risk: run"),
    e.Gate(name="rule", says=Mode.ask, why="the playbook has no rule for rollback_dataset"),
)
OPENED = e.Opened(category=Category.data, severity=Severity.high, asset="dataset:transactions", title="broken")

SENTENCES: list[tuple[Body, str]] = [
    (OPENED, "data incident of severity 2 about dataset:transactions: broken"),
    (e.Alerted(alert=ALERT), "alertmanager alert DatasetBroken joined"),
    (e.AlertEnded(alert=ALERT), "alertmanager says that alert DatasetBroken is over"),
    (
        e.SetAside(sender="generic", delivery="0" * 64, index=3, why="no route matches"),
        "alert 3 of a delivery from generic was set aside: no route matches",
    ),
    (e.Started(flow="data", run="4f0c"), "flow data took it up (run 4f0c)"),
    (e.Checked(phase="confirm", verdict=BAD), "looked: unhealthy, amount is in cents"),
    (e.Judged(version="v2", verdict=BAD), "version v2 is unhealthy, amount is in cents"),
    (
        e.Traced(dataset="transactions", version="v2", models={"fraud": ["2", "3"], "churn": []}),
        "transactions v2 taught fraud 2, 3",
    ),
    (
        e.Traced(dataset="d", version="v2", models={"a": ["1"], "b": ["2"]}, in_production=("a", "b"), services=("s",)),
        "d v2 taught a 1; b 2. Blast radius: 1 dataset, 2 models, 1 service",
    ),
    (
        e.Triaged(evidence={"copies": 2}, missing={"quotas": "AccessDenied"}),
        "looked first at copies; could not see quotas",
    ),
    (
        e.Planned(plan=PLAN),
        "rollback_dataset: dataset:transactions version 20261123T065800Z -> 20261122T060000Z",
    ),
    (
        e.NotPlanned(action="revert_model", target="model:fraud", why="no version was verified good"),
        "revert_model: no safe plan for model:fraud: no version was verified good",
    ),
    (
        e.Gated(plan=PLAN.hash, mode=Mode.ask, gates=GATES, playbook=""),
        "gates say ask to rollback_dataset on dataset:transactions: "
        "rule ask (the playbook has no rule for rollback_dataset); 1 more say run",
    ),
    (
        e.AskedFor(
            plan=PLAN.hash,
            world="",
            proposal="",
            severity=Severity.critical,
            needed=2,
            expires_at=datetime(2026, 11, 23, 11, tzinfo=UTC),
            gates=("matrix",),
        ),
        "asked 2 people about rollback_dataset on dataset:transactions, until 2026-11-23 11:00 UTC",
    ),
    (e.Answered(plan=PLAN.hash, yes=False, why="no"), "no to rollback_dataset on dataset:transactions: no"),
    (e.Approved(plan=PLAN.hash, by=("anna", "ben")), "anna, ben approved rollback_dataset on dataset:transactions"),
    (
        e.ApprovalVoid(plan=PLAN.hash, why="the world has moved"),
        "what was asked about rollback_dataset on dataset:transactions no longer holds: the world has moved",
    ),
    (e.Applying(plan=PLAN.hash, token=1), "about to apply rollback_dataset on dataset:transactions"),
    (e.Applied(plan=PLAN.hash), "applied rollback_dataset on dataset:transactions"),
    (
        e.Verified(plan=PLAN.hash, verdict=BAD),
        "after rollback_dataset on dataset:transactions: unhealthy, amount is in cents",
    ),
    (
        e.Conflicted(plan=PLAN.hash, why="current is v9"),
        "left rollback_dataset on dataset:transactions alone, somebody else was there: current is v9",
    ),
    (
        e.Undoing(plan=PLAN.hash, why="it did not help", token=2),
        "about to undo rollback_dataset on dataset:transactions: it did not help",
    ),
    (e.Undone(plan=PLAN.hash), "undid rollback_dataset on dataset:transactions"),
    (e.Moved(before=None, after="3"), "seen at version 3; nothing was known before, it is not known by whom"),
    (e.Moved(before="3", after="4", by="anna"), "seen at version 4; it was 3, moved by anna"),
    (e.Moved(before="4", after=None), "seen to be gone; it was 4, it is not known by whom"),
    (
        e.Reloading(model="fraud", version="2", url="http://127.0.0.1/reload"),
        "told http://127.0.0.1/reload to load version 2 of fraud, which it does not serve",
    ),
    (
        e.Contested(champion=2, challenger=3, verdict=BAD),
        "version 3 may not take the place of 2: amount is in cents",
    ),
    (
        e.Joined(incident="INC-8", severity=Severity.critical),
        "INC-8, of severity 1, has the same cause and waits for this",
    ),
    (e.Deferred(to="INC-7"), "waits for INC-7, which is about its cause"),
    (e.Released(by="INC-7", why="good again"), "looks again, for INC-7 has ended: good again"),
    (e.Failed(step="data", error="TimeoutError: "), "data broke: TimeoutError: "),
    (e.Escalated(to="data engineer", why="no safe plan"), "handed over to the data engineer: no safe plan"),
    (e.Resolved(why="good again"), "resolved: good again"),
    (e.NotConfirmed(why="it is healthy"), "closed, not confirmed: it is healthy"),
    (
        e.Told(channel="pager", title="INC-7", delivered=False, why="LASTGOOD_CHANNEL_PAGER is not set"),
        "could not tell pager: INC-7 (LASTGOOD_CHANNEL_PAGER is not set)",
    ),
    (e.Froze(asset="dataset:transactions", why="it is bad"), "dataset:transactions frozen: it is bad"),
    (e.Thawed(asset="model:fraud", why="mended"), "model:fraud may be changed again: mended"),
    (e.Paused(why="a deployment"), "automation paused: a deployment"),
    (e.Unpaused(why="it is through"), "automation goes on: it is through"),
    (
        e.AutonomyReset(action="revert_model", category=Category.model, severity=Severity.high, why="it was mended"),
        "what revert_model did before in model incidents at severity 2 no longer counts: it was mended",
    ),
    (
        e.Scanned(version="3", digest="d" * 64, verdict=Verdict(health=Health.unhealthy, why="it imports os.system")),
        "the files of version 3 are unhealthy, it imports os.system",
    ),
    (e.Suspected(version="3"), "version 3 is in production and may be hit"),
    (
        e.UndoAgreed(plan=PLAN.hash, why="anna: it was clean", needed=2),
        "asked to take back rollback_dataset on dataset:transactions, which takes 2 people: anna: it was clean",
    ),
    (e.Stormed(why="too much at once"), "storm: too much at once"),
]
SAID: dict[type[object], tuple[Body, str]] = {type(body): (body, text) for body, text in SENTENCES}
KINDS = get_args(get_args(Body)[0])


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_every_kind_has_a_sentence(kind: type[object]) -> None:
    """Whatever can stand on the record is told in one concrete sentence; a new kind needs one as well."""
    body, text = SAID[kind]
    assert sentence(body, {PLAN.hash: PLAN}) == text


def test_a_plan_that_is_not_on_the_record() -> None:
    """A sentence about a plan that is not there says so, and does not break."""
    assert sentence(e.Applied(plan="f" * 64), {}) == "applied a plan that is not on this record"


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ({"version": 2}, {"version": 1}, "version 2 -> 1"),
        ({"version": 2, "at": "a"}, {"version": 2, "at": "b"}, "at a -> b"),
        ({"a": 1, "b": 2.123456789}, {"a": None, "b": True}, "a 1 -> nothing, b 2.12346 -> true"),
        ({}, {"list": [1, {"x": "y"}]}, 'list nothing -> [1,{"x":"y"}]'),
        ({"version": 1}, {"version": 1}, "already is as it should be"),
    ],
)
def test_what_changes(before: dict[str, object], after: dict[str, object], said: str) -> None:
    """Only what changes is told."""
    assert change(PLAN.model_copy(update={"before": before, "after": after})) == said


def test_the_whole_story(tell: Tell, healed: Story) -> None:
    """Every event is a line, in order, with its phase, its actor and the time since the line before."""
    incident = tell(healed)
    lines = timeline(incident)
    assert [line.at for line in lines] == [event.at for event in incident.events]
    assert [line.after.total_seconds() for line in lines] == [seconds for seconds, _ in healed]
    assert lines[0].actor == "intake:alertmanager"
    assert [line.phase for line in lines] == [
        *("detect", "detect", "confirm", "confirm", "decide"),
        *("decide", "decide", "act", "act", "verify", "verify") * 2,
        *("verify",) * 3,
    ]
    assert len(plans(incident.events)) == 2


def took(incident: Incident) -> dict[str, float | None]:
    """Seconds of each phase."""
    return {phase.name: None if phase.took is None else phase.took.total_seconds() for phase in phases(incident)}


def test_the_phases_of_the_whole_story(tell: Tell, healed: Story) -> None:
    """The phases follow one another without a gap, from the alert's beginning until it was resolved."""
    incident = tell(healed)
    assert took(incident) == {"detect": 30, "confirm": 4.5, "decide": 1.5, "act": 6.5, "verify": 4}
    assert time_to_mitigate(incident) == timedelta(seconds=16.5)
    assert sum(filter(None, took(incident).values())) == 30 + 16.5


GATED = e.Gated(plan=PLAN.hash, mode=Mode.ask, gates=GATES, playbook="")
CONFIRMED = e.Checked(phase="confirm", verdict=BAD)
WATCHED = e.Checked(phase="watch", verdict=BAD)
ESCALATED = e.Escalated(to="data engineer", why="no safe plan")
PARTS: dict[str, tuple[Story, dict[str, float | None], float | None]] = {
    "just opened": ([], {"confirm": None, "decide": None, "act": None, "verify": None}, None),
    "not confirmed": (
        [(2, e.Checked(phase="confirm", verdict=BAD)), (1, e.NotConfirmed(why=""))],
        {"confirm": 2, "decide": None, "act": None, "verify": None},
        None,
    ),
    "proposed, and a person closes it": (
        [(2, CONFIRMED), (1, e.Planned(plan=PLAN)), (1, GATED), (1, ESCALATED), (3600, e.Resolved(why="by hand"))],
        {"confirm": 2, "decide": 2, "act": None, "verify": None},
        3605,
    ),
    "no safe plan": (
        [(2, CONFIRMED), (4, e.NotPlanned(action="a", target="t", why="")), (1, ESCALATED)],
        {"confirm": 2, "decide": 4, "act": None, "verify": None},
        None,
    ),
    "it did not help": (
        [
            (1, CONFIRMED),
            (1, e.Planned(plan=PLAN)),
            (1, GATED),
            (1, e.Applying(plan=PLAN.hash, token=1)),
            (2, e.Applied(plan=PLAN.hash)),
            (5, e.Verified(plan=PLAN.hash, verdict=BAD)),
            (1, e.Undoing(plan=PLAN.hash, why="", token=1)),
            (1, e.Undone(plan=PLAN.hash)),
            (1, ESCALATED),
            (7200, e.Resolved(why="by hand")),
        ],
        {"confirm": 1, "decide": 2, "act": 3, "verify": 8},
        7214,
    ),
    "still verifying": (
        [(1, CONFIRMED), (1, e.Planned(plan=PLAN)), (1, GATED), (3, e.Applied(plan=PLAN.hash)), (5, WATCHED)],
        {"confirm": 1, "decide": 2, "act": 3, "verify": 5},
        None,
    ),
    "nothing was to be done": (
        [(1, CONFIRMED), (2, WATCHED), (1, e.Resolved(why=""))],
        {"confirm": 1, "decide": None, "act": None, "verify": 3},
        4,
    ),
}


@pytest.mark.parametrize(("rest", "expected", "mitigated"), PARTS.values(), ids=PARTS.keys())
def test_a_phase_that_did_not_happen(
    tell: Tell, rest: Story, expected: dict[str, float | None], mitigated: float | None
) -> None:
    """A story that took another way has no duration for what did not happen."""
    incident = tell([(0, OPENED), *rest])
    assert took(incident) == {"detect": None} | expected
    found = time_to_mitigate(incident)
    assert (found and found.total_seconds()) == mitigated


def test_a_clock_that_goes_wrong(tell: Tell) -> None:
    """An alert that claims to begin later than it was received took no time to detect, and never a negative one."""
    later = ALERT.model_copy(update={"starts_at": datetime(2026, 11, 23, 8, tzinfo=UTC)})
    assert took(tell([(0, OPENED.model_copy(update={"alert": later}))]))["detect"] == 0


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (None, "–"),
        (0, "0.00 s"),
        (0.4239, "0.42 s"),
        (12.34, "12.3 s"),
        (245, "4 min 5 s"),
        (59.99, "60.0 s"),
        (3599.9, "1 h 0 min"),
        (3 * 3600 + 125, "3 h 2 min"),
        (47 * 3600, "47 h 0 min"),
        (75 * 3600, "3 d 3 h"),
    ],
)
def test_durations_for_people(seconds: float | None, said: str) -> None:
    """Few digits, and the units that help."""
    assert clock(None if seconds is None else timedelta(seconds=seconds)) == said
