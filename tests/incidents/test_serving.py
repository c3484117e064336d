"""What was in production when: our moves to the moment, others' between two looks, and nothing before the first."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from typer.testing import Result

from incidents import audit, moves, serving
from incidents import events as e
from incidents import writer as writers
from incidents.leases import lease
from incidents.ledger import Ledger
from incidents.models import Category, Health, Plan, Severity, Verdict
from incidents.moves import Sight

CHAMPION = "models:/fraud@champion"
START = datetime(2026, 11, 20, 0, tzinfo=UTC)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], datetime]:
    """A way to set the hour at which the next events are written."""

    def at(hours: float) -> datetime:
        moment = START + timedelta(hours=hours)
        monkeypatch.setattr(writers, "now", lambda: moment)
        return moment

    return at


def see(ledger: Ledger, version: str | None, by: str = "", target: str = CHAMPION) -> e.Event | None:
    """What the monitor does when it finds the pointer there."""
    return moves.see(ledger, lambda: Sight(target=target, version=version, by=by), actor="flow:monitor")[1]


def judge(ledger: Ledger, version: str, health: Health, incident: str | None = None) -> None:
    """What the monitor says of a version, or a flow in an incident."""
    actor = "flow:model" if incident else "flow:monitor"
    body = e.Judged(version=version, verdict=Verdict(health=health, why=f"recall of {version}"))
    ledger.append(body, actor=actor, subject="model:fraud", incident=incident)


def plan(before: int, after: int) -> Plan:
    """A plan that moves the champion."""
    return Plan(
        action="revert_model",
        parameters={"model": "fraud", "because": f"{before} to {after}"},
        target=CHAMPION,
        before={"version": before},
        after={"version": after},
        summary=f"fraud@champion: version {before} -> {after}",
    )


def opened(ledger: Ledger) -> str:
    """An incident about the model."""
    body = e.Opened(category=Category.model, severity=Severity.high, asset="model:fraud", title="recall")
    with ledger.write() as writer:
        return writer.open(body, actor="intake:alertmanager")


def tell(ledger: Ledger, incident: str, *bodies: e.Body) -> None:
    """What the flow puts on the record about the champion."""
    for body in bodies:
        ledger.append(body, actor="flow:model", incident=incident, subject=CHAMPION)


def apply(ledger: Ledger, incident: str, made: Plan) -> None:
    """What stands on the record of a plan that was applied."""
    tell(ledger, incident, e.Planned(plan=made), e.Applying(plan=made.hash, token=1), e.Applied(plan=made.hash))


@pytest.fixture
def week(ledger: Ledger, clock: Callable[[float], datetime]) -> Ledger:
    """Hour 1: first seen at 3. Hour 2: 3 is healthy. Hour 4: seen at 4, which is bad. Hour 5: we go back to 3."""
    clock(1)
    see(ledger, "3")
    clock(2)
    judge(ledger, "3", Health.healthy)
    clock(4)
    see(ledger, "4")
    judge(ledger, "4", Health.unhealthy)
    clock(5)
    apply(ledger, opened(ledger), plan(4, 3))
    clock(6)
    judge(ledger, "3", Health.unhealthy, "INC-1")
    return ledger


def versions(ledger: Ledger, hours: float) -> list[str | None]:
    """What it can have been then."""
    return [span.version for span in serving.at(ledger, CHAMPION, START + timedelta(hours=hours)).spans]


def test_each_answer_is_as_sure_as_the_record(week: Ledger) -> None:
    """Unknown before the first look; one version where it was seen or moved by us; two between two looks."""
    assert versions(week, 0.9) == []
    assert versions(week, 1) == ["3"]
    assert versions(week, 2) == ["3"]
    assert versions(week, 3) == ["3", "4"]
    assert versions(week, 4) == ["4"]
    assert versions(week, 4.9) == ["4"], "our move compared and then set, so it was there until then"
    assert versions(week, 5) == ["3"]
    assert versions(week, 99) == ["3"]


def test_the_command_answers_with_evidence(week: Ledger, run: Callable[..., Result]) -> None:
    """What was serving then, how that is known, whether it was good, what was found out since, and where it stands."""
    text = run("history", CHAMPION, "--at", "2026-11-20T01:30Z").stdout.splitlines()
    assert text == [
        "models:/fraud@champion at 2026-11-20 01:30:00: version 3",
        "  version 3: first seen there at 2026-11-20 01:00:00, unknown before, it is not known by whom, event 1",
        "    last seen there at 2026-11-20 02:00:00, and at version 4 at 2026-11-20 04:00:00",
        "    good then: unknown, it had not been judged",
        "    since then: no, found unhealthy at 2026-11-20 06:00:00 by flow:model in INC-1, event 9: recall of 3",
    ]
    text = run("history", CHAMPION, "--at", "2026-11-20T12:00+09:00").stdout.splitlines()
    assert text[0] == "models:/fraud@champion at 2026-11-20 03:00:00: version 3 or version 4"
    assert "is not known" in text[1]
    assert "    good then: yes, found healthy at 2026-11-20 02:00:00 by flow:monitor, event 2: recall of 3" in text
    assert any("last seen elsewhere at 2026-11-20 02:00:00, it is not known by whom" in line for line in text)
    text = run("history", "model:fraud", "--at", "2026-11-20T05:30").stdout.splitlines()
    assert text[1] == (
        "  version 3: moved there at 2026-11-20 05:00:00 by flow:model in INC-1 "
        "(revert_model: fraud@champion: version 4 -> 3), event 8"
    )
    assert "unknown, the record first knows" in run("history", CHAMPION, "--at", "2026-11-19").stdout
    whole = run("history", "model:fraud").stdout
    assert [line.split()[0] for line in whole.splitlines() if line[:1] in ("3", "4")] == ["3", "4", "3", "3", "4"]
    assert "seen, not yet at 2026-11-20 02:00:00" in whole
    refused = run("history", "dataset:other", "--at", "2026-11-20")
    assert (refused.exit_code, refused.stdout) == (1, "")
    assert run("history", CHAMPION, "--at", "yesterday").exit_code == 2


def test_what_did_not_move_is_not_recorded_again(week: Ledger) -> None:
    """The monitor looks every hour for years; only what changed stands on the record."""
    before = len(week.events())
    assert [see(week, "3") for _ in range(3)] == [None] * 3
    assert len(week.events()) == before
    assert audit.verify(week).broken == ()


def test_our_own_moves_are_recorded_once(anywhere: Ledger) -> None:
    """What we applied or undid is known from that, and the monitor adds nothing to it."""
    incident = opened(anywhere)
    made = plan(4, 3)
    apply(anywhere, incident, made)
    assert see(anywhere, "3") is None
    tell(anywhere, incident, e.Undoing(plan=made.hash, why="no help", token=2), e.Undone(plan=made.hash))
    assert see(anywhere, "4") is None
    told = [(move.how, move.before, move.after) for move in moves.moves(anywhere, CHAMPION)]
    assert told == [("seen", None, "4"), ("applied", "4", "3"), ("undone", "3", "4")]


def test_a_plan_is_a_look(anywhere: Ledger) -> None:
    """Somebody moved it unseen, and then we planned from where it was: that is when it was seen there."""
    see(anywhere, "3")
    tell(anywhere, opened(anywhere), e.Planned(plan=plan(5, 2)))
    assert [move.after for move in moves.moves(anywhere, CHAMPION)] == ["3", "5"]
    assert see(anywhere, "5") is None


def test_a_move_under_way_is_not_somebody_elses(anywhere: Ledger) -> None:
    """The alias is set, and that it was is not on the record yet: whoever holds the lease will say so."""
    incident, made = opened(anywhere), plan(4, 3)
    tell(anywhere, incident, e.Planned(plan=made))
    with lease(anywhere, CHAMPION, incident):
        tell(anywhere, incident, e.Applying(plan=made.hash, token=1))
        assert see(anywhere, "3") is None
        tell(anywhere, incident, e.Applied(plan=made.hash))
    assert see(anywhere, "3") is None


def test_a_look_that_a_move_overtook_says_nothing(anywhere: Ledger) -> None:
    """We looked, and before we wrote it down the pointer was moved: the old sight is no news."""
    incident = opened(anywhere)

    def look() -> Sight:
        apply(anywhere, incident, plan(4, 3))
        return Sight(target=CHAMPION, version="4")

    assert moves.see(anywhere, look, actor="flow:monitor")[1] is None
    assert moves.moves(anywhere, CHAMPION)[-1].after == "3"


def test_a_crash_between_the_move_and_the_record_is_explained(anywhere: Ledger) -> None:
    """The intent is on the record and the pointer is where it wanted it: that was us, and it counts once."""
    incident, made = opened(anywhere), plan(4, 3)
    tell(anywhere, incident, e.Planned(plan=made), e.Applying(plan=made.hash, token=1))
    event = see(anywhere, "3")
    assert event is not None
    assert isinstance(event.body, e.Moved)
    assert (event.body.by, event.body.before) == ("flow:model", "4")
    assert f"{incident} was about to" in event.body.why
    tell(anywhere, incident, e.Applied(plan=made.hash))
    assert [move.after for move in moves.moves(anywhere, CHAMPION)] == ["4", "3"]


def test_a_pointer_that_is_gone_is_a_move(anywhere: Ledger) -> None:
    """Somebody deleted the alias: from then on nothing was in production, as far as it says."""
    see(anywhere, "3", by="anna")
    see(anywhere, None)
    told = moves.moves(anywhere, CHAMPION)
    assert [(move.before, move.after, move.by) for move in told] == [(None, "3", "anna"), ("3", None, "")]


def test_two_who_look_at_once_record_one_move(anywhere: Ledger) -> None:
    """Monitor and confirmation may look at the same time; the comparison and the record are one transaction."""
    start = threading.Barrier(4)

    def work() -> None:
        start.wait()
        see(anywhere, "3")

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(moves.moves(anywhere, CHAMPION)) == 1
    assert len(anywhere.events()) == 1


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.sampled_from(["1", "2", "3", None]), max_size=12))
def test_the_history_is_what_was_seen(ledger: Ledger, seen: list[str | None]) -> None:
    """Whatever was seen in whatever order: the last sight is where it is, and no move goes nowhere."""
    target = f"models:/m{len(ledger.events())}@champion"
    for version in seen:
        see(ledger, version, target=target)
    told = moves.moves(ledger, target)
    assert [move.before for move in told[1:]] == [move.after for move in told[:-1]]
    assert all(move.before != move.after for move in told)
    assert (told[-1].after if told else None) == (seen[-1] if seen else None)
