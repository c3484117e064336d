"""The backtest makes recorded decisions again: with the same playbook the same, with another one what it would say."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from typer.testing import Result

from incidents import events as e
from incidents import history
from incidents.backtest import Report, backtest
from incidents.gatekeeper import Refused, ask, intend
from incidents.history import AUTOMATION
from incidents.leases import lease
from incidents.ledger import Ledger
from incidents.models import Category, Health, Mode, Plan, Risk, Severity, Verdict, now
from incidents.playbook import Playbook, load
from tests.incidents import asking
from tests.incidents.asking import limited, trusting

SHIPPED = (Path(__file__).parents[2] / "playbook.yaml").read_text(encoding="utf-8")
Run = Callable[..., Result]
LONG_AGO = now() - timedelta(days=1)
#: The shipped row for severity 3, and what it could be instead.
CAREFUL, BOLD = "3: {low: run, medium: ask, high: ask}", "3: {low: run, medium: run, high: ask}"


def live(ledger: Ledger, book: Playbook, number: int, severity: int, *, end: str = "helped", person: str = "") -> None:
    """One incident from its opening to its end, as the flows would have it."""
    asset = f"dataset:d{number}"
    with ledger.write() as writer:
        body = e.Opened(category=Category.data, severity=Severity(severity), asset=asset, title="trouble")
        name = writer.open(body, actor="intake:generic")
    plan = asking.PLAN.model_copy(update={"parameters": {"dataset": f"d{number}"}, "target": asset})
    request = asking.asked(
        plan=plan, severity=Severity(severity), asset=asset, incident=name, risk=Risk.medium, person=person
    )

    def put(*bodies: e.Body) -> None:
        for body in bodies:
            ledger.append(body, actor="flow:data", incident=name, subject=asset)

    put(e.Planned(plan=plan))
    if ask(ledger, book, request, "flow:data").mode is Mode.run:
        try:
            intend(ledger, book, request, "flow:data", 1)
        except Refused:
            return
        health = Health.healthy if end == "helped" else Health.unhealthy
        verdict = Verdict(health=health, why="looked")
        put(e.Applied(plan=plan.hash), e.Verified(plan=plan.hash, verdict=verdict))
        put(*([e.Undone(plan=plan.hash)] if end == "harmed" else [e.Resolved(why="good")]))


def changed(book: Playbook, mode: Mode) -> Playbook:
    """The shipped playbook with another word on medium risk at severity 3."""
    matrix = {severity: dict(row) for severity, row in book.gates.items()}
    matrix[Severity.medium][Risk.medium] = mode
    return book.model_copy(update={"gates": matrix})


@pytest.mark.parametrize("seed", range(5))
def test_the_same_playbook_decides_the_same(ledger: Ledger, book: Playbook, seed: int) -> None:
    """Whatever happened, and however the gates stood in between: facts as of each moment give the recorded answer."""
    switches: list[e.Body] = [e.Paused(why="stop"), e.Unpaused(why="go"), e.Unpaused(why="go on")]
    switches += [e.Froze(asset="dataset:d1", why="it is bad"), e.Thawed(asset="dataset:d1", why="looked at it")]
    book = limited(book, cool_down_seconds=3600 * (seed % 2))
    dice = random.Random(seed)  # noqa: S311  # no secret, and the same each time
    for number in range(15):
        end, person = dice.choice(["helped", "harmed"]), dice.choice(["", "anna"])
        live(ledger, book, number % 4, dice.randint(1, 4), end=end, person=person)
        ledger.append(dice.choice(switches), actor="person:anna", subject=AUTOMATION)
        over, asset = e.Resolved(why="over"), f"dataset:d{number % 4}"
        ledger.append(over, actor="person:anna", incident=f"INC-{number + 1}", subject=asset)
    report = backtest(ledger, book, LONG_AGO)
    assert len(report.decisions) >= 15
    assert len({(decision.was, decision.now) for decision in report.decisions}) > 1
    assert report.changed == ()
    assert report.skipped == 0
    assert said(report) == recorded(ledger)


def said(report: Report) -> dict[str, str]:
    """Incident -> what stands in the way, as the decision made again has it."""
    return {decision.incident: decision.why for decision in report.decisions}


def recorded(ledger: Ledger) -> dict[str, str]:
    """Incident -> what stood in the way, as the record has it."""
    found = {}
    for event in ledger.events(kinds=["gated"]):
        assert isinstance(event.body, e.Gated)
        in_the_way = [f"{gate.name}: {gate.why}" for gate in event.body.gates if gate.says is not Mode.run]
        found[event.incident or ""] = "; ".join(in_the_way)
    return found


@pytest.mark.parametrize("dead", [False, True])
def test_what_is_under_way_is_told_from_what_crashed(
    ledger: Ledger, book: Playbook, monkeypatch: pytest.MonkeyPatch, dead: bool
) -> None:
    """Leases are gone by the time of a backtest: an intent younger than a lease lives was at work, an older one not."""
    with ledger.write() as writer:
        body = e.Opened(category=Category.data, severity=Severity.high, asset=None, title="trouble")
        first = asking.asked(incident=writer.open(body, actor="intake:generic"))
    with lease(ledger, first.plan.target, first.incident):
        intend(ledger, book, first, "flow:data", 1)
        if not dead:
            live(ledger, book, 1, 2)
    if dead:
        live(ledger, book, 1, 2)
        monkeypatch.setattr(history, "LIFETIME", timedelta(0))
    report = backtest(ledger, book, LONG_AGO)
    assert said(report) == recorded(ledger)
    assert ("a crash left in doubt" in report.decisions[0].why) is dead


def test_what_another_playbook_would_do(ledger: Ledger, book: Playbook) -> None:
    """More runs, fewer asks, and what came of it where a person ran it; nothing is put on the record."""
    for number in range(3):
        live(ledger, book, number, 3)
    live(ledger, book, 3, 3, end="harmed", person="anna")
    live(ledger, book, 4, 2)
    before = len(ledger.events())
    report = backtest(ledger, changed(book, Mode.run), LONG_AGO)
    assert len(ledger.events()) == before
    assert [decision.more for decision in report.decisions] == [True, True, True, True, False]
    assert [decision.worse for decision in report.decisions] == [False, False, False, True, False]
    assert report.summary() == (
        "would now run 4 more by itself, ask 4 times less, refuse 0 that made things worse, "
        "run 1 by itself that made things worse"
    )


def test_what_would_have_been_refused(ledger: Ledger, book: Playbook) -> None:
    """A stricter playbook is credited with what did harm, and charged with what helped."""
    live(ledger, book, 0, 2, end="harmed")
    ledger.append(e.AutonomyReset(action="rollback_dataset", why="x"), actor="person:anna", subject=AUTOMATION)
    live(ledger, book, 1, 2)
    strict = trusting(book, strict=True)
    report = backtest(ledger, strict, LONG_AGO)
    assert report.summary() == (
        "would now run 0 more by itself, no longer run 2, ask 2 times more, refuse 1 that made things worse, "
        "not run 1 that helped"
    )
    assert [decision.worse for decision in report.decisions] == [False, True]
    assert "autonomy: " in report.decisions[0].why


def test_what_the_record_does_not_say(ledger: Ledger, book: Playbook) -> None:
    """A decision from before the request was kept is counted and not guessed at; one before the time is left out."""
    live(ledger, book, 0, 2)
    plan = Plan(action="a", parameters={}, target="t", before={}, after={}, summary="")
    for body in (e.Planned(plan=plan), e.Gated(plan=plan.hash, mode=Mode.ask, gates=(), playbook="")):
        ledger.append(body, actor="flow:data", incident="INC-1")
    report = backtest(ledger, book, LONG_AGO)
    assert (len(report.decisions), report.skipped) == (1, 1)
    assert backtest(ledger, book, now()).decisions == ()


@pytest.mark.parametrize(
    ("end", "fail_on", "code"),
    [
        ("helped", "more-runs", 1),
        ("helped", "worse", 0),
        ("helped", "any", 1),
        ("harmed", "worse", 1),
        ("harmed", None, 0),
    ],
)
def test_in_ci(
    run: Run, ledger: Ledger, book: Playbook, tmp_path: Path, *, end: str, fail_on: str | None, code: int
) -> None:
    """The exit code says whether the change is one that the team wants to see; the table says which."""
    live(ledger, book, 0, 3, end=end, person="anna")
    other = tmp_path / "new.yaml"
    assert SHIPPED.count(CAREFUL) == 1
    other.write_text(SHIPPED.replace(CAREFUL, BOLD), encoding="utf-8")
    load(other, {})
    result = run("backtest", "--playbook", str(other), *(["--fail-on", fail_on] if fail_on else []))
    assert result.exit_code == code, result.output
    first, *_, row = result.stdout.splitlines()
    assert first.startswith("of 1 decisions since 90d, ")
    assert "would now run 1 more by itself, ask 1 times less" in first
    assert {"INC-1", "rollback_dataset", "dataset:d0"} < set(row.split())
    assert run("backtest", "--playbook", str(other), "--since", "tomorrow").exit_code == 2
    same = run("backtest", "--playbook", str(Path(__file__).parents[2] / "playbook.yaml"), "--fail-on", "any")
    assert (same.exit_code, len(same.stdout.splitlines())) == (0, 1), json.dumps(same.stdout)
