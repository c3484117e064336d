"""The commands about the gates: pause and unpause, what-if, autonomy and its reset, and what why says of them."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from typer.testing import Result

from incidents import events as e
from incidents.gatekeeper import Refused, ask, intend
from incidents.gates import GATES
from incidents.history import AUTOMATION
from incidents.ledger import Ledger
from incidents.models import Category, Health, Mode, Severity, Verdict
from incidents.playbook import Playbook
from tests.incidents.asking import PLAN, asked
from tests.incidents.test_decide import NAMES

Run = Callable[..., Result]
BY = ("--by", "anna", "--because", "a deployment")
OPENED = e.Opened(category=Category.data, severity=Severity.high, asset="dataset:transactions", title="in cents")
WHAT_IF = ("what-if", "--action", "rollback_dataset", "--severity", "2", "--asset", "dataset:transactions")
KNOWN = ("--risk", "medium", "--reversible")


def ran(ledger: Ledger, book: Playbook, health: Health) -> None:
    """An incident in which the action ran."""
    with ledger.write() as writer:
        name = writer.open(OPENED.model_copy(update={"asset": None}), actor="intake:generic")
    request = asked(incident=name)
    ledger.append(e.Planned(plan=PLAN), actor="flow:data", incident=name, subject=PLAN.target)
    assert ask(ledger, book, request, "flow:data").mode is Mode.run
    intend(ledger, book, request, "flow:data", 1)
    verdict = Verdict(health=health, why="looked")
    for body in (e.Applied(plan=PLAN.hash), e.Verified(plan=PLAN.hash, verdict=verdict)):
        ledger.append(body, actor="flow:data", incident=name, subject=PLAN.target)


def test_what_if_prints_every_gate_and_does_nothing(run: Run, ledger: Ledger) -> None:
    """Each gate is a line in plain words, the exit code is the answer, and the record stays as it was."""
    result = run(*WHAT_IF, *KNOWN)
    assert result.exit_code == 0, result.output
    head, *lines = result.stdout.splitlines()
    assert head == "rollback_dataset on dataset:transactions at severity 2: the gates would say run"
    assert [line.split(" gate: ")[0].strip() for line in lines] == list(NAMES)
    touched = "it touches 2 assets, the limit is 5: dataset:transactions, model:fraud"
    assert f"    blast radius gate: run, {touched}. Blast radius: 1 dataset, 1 model, 1 service" in lines
    assert ledger.events() == []
    low = run(*WHAT_IF[:4], "4", *WHAT_IF[5:], *KNOWN)
    assert (low.exit_code, "the gates would say ask" in low.stdout) == (1, True)


def test_what_if_at_a_time(run: Run, ledger: Ledger, book: Playbook) -> None:
    """Of a time before the last run, no gate knows of it; risk and way back come from the record."""
    ran(ledger, book, Health.healthy)
    assert "action budget gate: run, rollback_dataset has begun once" in run(*WHAT_IF).stdout
    before = run(*WHAT_IF, "--at", "2026-01-01T12:00")
    assert (before.exit_code, "rollback_dataset has begun 0 times" in before.stdout) == (0, True)
    assert run(*WHAT_IF, "--risk", "high").exit_code == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (WHAT_IF, "say --risk low|medium|high and --reversible"),
        ((*WHAT_IF[:-1], "dataset:absent", *KNOWN), "declares no asset dataset:absent"),
        ((*WHAT_IF, *KNOWN, "--at", "soon"), "--at 'soon' is not a date or time"),
        ((*WHAT_IF[:4], "5", *WHAT_IF[5:]), "severity"),
        (("reset-autonomy", "rollback_datset", *BY), "the playbook has no rule for rollback_datset"),
        (("reset-autonomy", "rollback_dataset", *BY, "--category", "weather"), "category"),
        (("pause", "--by", "a", "--because", "reason"), "--by must be a name"),
        (("unpause", "--by", "anna", "--because", ""), "--because must say why"),
        (("thaw", "dataset:absent", *BY), "declares no asset dataset:absent"),
    ],
)
def test_wrong_use(run: Run, ledger: Ledger, arguments: tuple[str, ...], said: str) -> None:
    """What was not understood ends with 2 and one line, and nothing is put on the record."""
    result = run(*arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    [line] = result.stderr.splitlines()
    assert said in line
    assert ledger.events() == []


def test_thaw(run: Run, ledger: Ledger) -> None:
    """An asset that an incident has frozen asks, until a person lifts it, with a reason."""
    froze = e.Froze(asset="dataset:transactions", why="it is bad")
    ledger.append(froze, actor="flow:data", subject=AUTOMATION, incident="INC-3")
    frozen = run(*WHAT_IF, *KNOWN)
    assert (frozen.exit_code, "frozen gate: ask, dataset:transactions is frozen, INC-3" in frozen.stdout) == (1, True)
    assert run("thaw", "dataset:transactions", *BY).exit_code == 0
    assert run(*WHAT_IF, *KNOWN).exit_code == 0


def test_pause_and_unpause(run: Run, ledger: Ledger) -> None:
    """Both are events with a person and a reason, and the gates follow them at once."""
    assert run("pause", *BY).exit_code == 0
    paused = run(*WHAT_IF, *KNOWN)
    assert (paused.exit_code, "pause gate: ask, automation is paused, anna: a deployment" in paused.stdout) == (1, True)
    assert run("unpause", *BY).exit_code == 0
    assert run(*WHAT_IF, *KNOWN).exit_code == 0
    assert [(event.actor, event.body.kind) for event in ledger.events()] == [
        ("person:anna", "paused"),
        ("person:anna", "unpaused"),
    ]


def test_autonomy_is_shown_and_reset(run: Run, ledger: Ledger, book: Playbook) -> None:
    """A line for each action, category and severity; a person's word clears it, and stands on the record."""
    assert "the rest of the playbook decides" in run("autonomy").stdout
    ran(ledger, book, Health.unhealthy)
    heading, line = run("autonomy").stdout.splitlines()
    assert heading.split()[:3] == ["Action", "Category", "Severity"]
    assert line.split()[:8] == ["rollback_dataset", "data", "2", "1", "0", "1", "0%", "ask"]
    assert run("reset-autonomy", "rollback_dataset", *BY, "--category", "data", "--severity", "2").exit_code == 0
    assert run("autonomy").stdout.splitlines()[1].split()[3:8] == ["0", "0", "0", "0%", "run"]
    last = ledger.events()[-1]
    assert (last.actor, last.body.kind) == ("person:anna", "autonomy_reset")


def test_why_tells_the_look_right_before_the_change(run: Run, ledger: Ledger, book: Playbook) -> None:
    """A change that was let through twice says so, and one that was stopped at the last moment says by which gate."""
    ran(ledger, book, Health.healthy)
    text = run("why", "INC-1").stdout
    assert f"- right before the change all {len(GATES)} gates were asked once more, and let it through" in text
    with ledger.write() as writer:
        name = writer.open(OPENED, actor="intake:generic")
    other = PLAN.model_copy(update={"after": {"version": "v0"}})
    request = asked(incident=name, subject="dataset:other", plan=other)
    ledger.append(e.Planned(plan=other), actor="flow:data", incident=name, subject=PLAN.target)
    assert ask(ledger, book, request, "flow:data").mode is Mode.run
    assert run("pause", *BY).exit_code == 0
    with pytest.raises(Refused):
        intend(ledger, book, request, "flow:data", 1)
    text = run("why", name).stdout
    assert text.count("    matrix gate: run, ") == 2
    assert text.count("    pause gate: ask, automation is paused, anna: a deployment") == 1
    assert text.count("    a person may run it: lastgood run rollback_dataset") >= 1
