"""The command line: what it says, how it ends, that it starts at once, and that nothing it prints does anything."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner, Result

from demo.servers import free_port
from incidents import audit
from incidents import events as e
from incidents.cli import app
from incidents.events import Body
from incidents.ledger import Ledger
from incidents.models import Alert, Category, Health, Mode, Plan, Severity, Verdict, now
from incidents.playbook import Playbook

SHIPPED = Path(__file__).parents[2] / "playbook.yaml"
LASTGOOD = Path(sys.executable).with_name("lastgood")
Run = Callable[..., Result]


@pytest.fixture
def healed_ledger(ledger: Ledger, healed: list[tuple[float, Body]]) -> Ledger:
    """A ledger on which the demo's whole story stands, as INC-1."""
    record(ledger, [body for _, body in healed])
    return ledger


def record(ledger: Ledger, bodies: list[Body], actor: str = "flow:data") -> str:
    """Put an incident on the record, and return its name."""
    with ledger.write() as writer:
        assert isinstance(bodies[0], e.Opened)
        name = writer.open(bodies[0], actor="intake:alertmanager")
        for body in bodies[1:]:
            subject = "dataset:transactions" if isinstance(body, e.Judged) else None
            writer.append(body, actor=actor, incident=name, subject=subject)
    return name


OPENED = e.Opened(category=Category.data, severity=Severity.medium, asset="dataset:transactions", title="in cents")
PLAN = Plan(
    action="rollback_dataset",
    parameters={"dataset": "transactions", "version": 3, "because": "INC-1"},
    target="dataset:transactions",
    before={"version": "v2"},
    after={"version": "v1"},
    summary="transactions v2 -> v1",
)
GATES = (
    e.Gate(name="matrix", says=Mode.ask, why="severity 3 (medium) x medium risk: ask"),
    e.Gate(name="way back", says=Mode.run, why="it can be undone"),
)
PROPOSED: list[Body] = [
    OPENED,
    e.Checked(phase="confirm", verdict=Verdict(health=Health.unhealthy, why="amount is in cents")),
    e.NotPlanned(action="revert_model", target="model:fraud", why="no version was verified good"),
    e.Planned(plan=PLAN),
    e.Gated(plan=PLAN.hash, mode=Mode.ask, gates=GATES, playbook="0" * 64),
    e.Escalated(to="data engineer", why="proposed, and it may not run by itself"),
]


def said(result: Result, code: int) -> str:
    """The one line on stderr with which a command ended, without a traceback and with nothing on stdout."""
    assert (result.exit_code, result.stdout) == (code, ""), result.output
    assert result.exception is None or isinstance(result.exception, SystemExit)
    [line] = result.stderr.splitlines()
    assert line.startswith("lastgood: ")
    return line.removeprefix("lastgood: ")


def test_incidents(run: Run, ledger: Ledger) -> None:
    """The newest first, as many as were asked for, with a severity that an alert made worse since."""
    assert run("incidents").stdout == "no incident is on the record\n"
    for number in range(3):
        record(ledger, [OPENED.model_copy(update={"title": f"title {number}", "asset": None})])
    alert = Alert(source="generic", fingerprint="f", episode="1", starts_at=now(), firing=True, name="x", severity=1)
    ledger.append(e.Alerted(alert=alert), actor="intake:generic", incident="INC-3")
    heading, *lines = run("incidents", "--limit", "2").stdout.splitlines()
    assert heading.split() == ["Incident", "Opened", "(UTC)", "Severity", "Status", "Category", "Asset", "Title"]
    assert [line.split()[0] for line in lines] == ["INC-3", "INC-2"]
    assert "1 critical  open" in lines[0]
    assert "3 medium" in lines[1]


def test_alerts_that_were_set_aside_are_shown(run: Run, ledger: Ledger) -> None:
    """What opened no incident waits for a person, who must see it somewhere."""
    for index in range(5):
        body = e.SetAside(sender="generic", delivery="0" * 64, index=index, why="no route matches")
        ledger.append(body, actor="intake:generic")
    lines = run("incidents").stdout.splitlines()
    assert lines[1] == "5 alerts of the last 7 days opened none and wait for a person; the newest:"
    assert lines[-1].endswith("alert 4 of a delivery from generic was set aside: no route matches")
    assert len(lines) == 5


def test_show(run: Run, healed_ledger: Ledger) -> None:
    """Every phase with its duration, and every event as a line."""
    result = run("show", "inc-1")
    assert result.exit_code == 0
    assert result.stdout.startswith("INC-1 DatasetBroken transactions\nresolved, data, severity 2 (high)")
    lines = result.stdout.splitlines()
    for phase in ("detect", "confirm", "decide", "act", "verify"):
        assert any(line.startswith(phase) for line in lines)
    for text in (
        "rollback_dataset: dataset:transactions version 20261123T065800Z -> 20261122T060000Z",
        "gates say run to revert_model",
        "could not tell pager",
    ):
        assert text in result.stdout
    assert "resolved" in lines[1]
    assert "after it was opened" in lines[2]


def test_show_leads_to_the_runs(run: Run, ledger: Ledger) -> None:
    """Each flow run that took the incident up is one click away; a record from before runs had pages shows none."""
    url = "http://127.0.0.1:4200/runs/flow-run/4f0c"
    record(ledger, [OPENED, e.Started(flow="data", run="4f0b"), e.Started(flow="data", run="4f0c", url=url)])
    lines = run("show", "INC-1").stdout.splitlines()
    assert [line for line in lines if line.startswith("run of")] == [f"run of data: {url}"]


def test_why(run: Run, ledger: Ledger) -> None:
    """A decision not to act is explained like any other: what was seen, each gate, and what a person may do now."""
    record(ledger, PROPOSED)
    text = run("why", "INC-1").stdout
    for line in (
        "- looked: unhealthy, amount is in cents",
        "- revert_model: no safe plan for model:fraud: no version was verified good",
        "- gates say ask to rollback_dataset, transactions v2 -> v1",
        "    matrix gate: ask, severity 3 (medium) x medium risk: ask",
        "    way back gate: run, it can be undone",
        "    it came to: proposed",
        "    a person may run it: lastgood run rollback_dataset --set dataset=transactions --set version:=3 "
        "--apply --incident INC-1 --by YOU --because WHY",
        "- handed over to the data engineer: proposed, and it may not run by itself",
    ):
        assert line in text.splitlines(), line
    assert "no plan came before the gates" not in text
    record(ledger, [OPENED.model_copy(update={"asset": None}), e.NotConfirmed(why="it is healthy")])
    text = run("why", "INC-2").stdout
    assert "- closed, not confirmed: it is healthy" in text
    assert "- no plan came before the gates" in text


def test_close(run: Run, ledger: Ledger) -> None:
    """A person closes what was handed over, once, with name and reason on the record."""
    record(ledger, PROPOSED)
    result = run("close", "inc-1", "--by", "anna", "--because", "rolled back by hand")
    assert result.stdout == "INC-1 is resolved, closed by person:anna\n"
    last = ledger.events()[-1]
    assert (last.actor, last.incident, last.subject) == ("person:anna", "INC-1", "dataset:transactions")
    assert last.body == e.Resolved(why="rolled back by hand")
    again = run("close", "INC-1", "--by", "bob", "--because", "me too")
    assert said(again, 1) == "INC-1 was closed before: resolved"
    assert ledger.events()[-1] == last
    assert audit.verify(ledger).broken == ()
    assert said(run("close", "INC-9", "--by", "anna", "--because", "why not"), 1).startswith("the ledger has no INC-9")
    for by, because in (("", "a reason"), ("a", "a reason"), ("a" * 61, "a reason"), ("anna", " "), ("anna", "x")):
        said(run("close", "INC-1", "--by", by, "--because", because), 2)


def test_postmortem(run: Run, healed_ledger: Ledger, tmp_path: Path) -> None:
    """As Markdown on stdout, or as a file."""
    page = run("postmortem", "INC-1").stdout
    assert page.startswith("# Post-mortem: INC-1, DatasetBroken transactions\n")
    result = run("postmortem", "INC-1", "--out", str(tmp_path / "pages"))
    assert result.stdout.strip() == str(tmp_path / "pages" / "INC-1.md")
    assert (tmp_path / "pages" / "INC-1.md").read_text(encoding="utf-8") == page


def test_history_tells_what_was_known_good(run: Run, ledger: Ledger) -> None:
    """Which versions were found healthy or not, the newest word first."""
    for version, health in (("v1", Health.healthy), ("v2", Health.unhealthy), ("v1", Health.inconclusive)):
        body = e.Judged(version=version, verdict=Verdict(health=health, why=f"because of {version}"))
        ledger.append(body, actor="flow:monitor", subject="dataset:transactions")
    _, *lines = run("history", "dataset:transactions").stdout.splitlines()
    assert [line.split()[:2] for line in lines] == [["v2", "unhealthy"], ["v1", "healthy"]]
    assert "because of v1" in lines[1]
    assert said(run("history", "model:fraud"), 1).endswith("and no version of it was ever judged")


def test_audit(run: Run, healed_ledger: Ledger, tmp_path: Path) -> None:
    """A whole record passes with its head; an empty one proves nothing; the export is the record."""
    head = audit.verify(healed_ledger).head
    assert run("audit", "verify").stdout == f"whole: 20 events, head {head}\n"
    lines = run("audit", "export").stdout.splitlines()
    assert [json.loads(line)["seq"] for line in lines] == list(range(1, 21))
    out = tmp_path / "bundle.jsonl"
    unsigned = f"20 events in {out}, not signed: LASTGOOD_SIGNING_KEY names no key\n"
    assert run("audit", "export", "--out", str(out)).stdout == unsigned
    assert out.read_text(encoding="utf-8").splitlines()[:-2] == lines
    assert run("audit", "export", "--since", "2999-01-01").stdout == ""
    assert len(run("audit", "export", "--since", json.loads(lines[7])["at"]).stdout.splitlines()) == 13
    assert "is not a date or time" in said(run("audit", "export", "--since", "yesterday"), 2)


def test_an_empty_ledger_proves_nothing(run: Run) -> None:
    """No data is not health: a mistyped address must not pass for a whole record."""
    assert said(run("audit", "verify"), 1) == "the ledger holds no event, so there is nothing that could be proven"


@settings(max_examples=60, deadline=None)
@given(where=st.floats(0, 1, exclude_max=True), mask=st.integers(1, 255))
def test_any_altered_byte_ends_in_one_line(
    tmp_path_factory: pytest.TempPathFactory, forget: Callable[[], None], where: float, mask: int
) -> None:
    """Wherever the database file was altered, the audit ends with a yes or with findings, and never in a traceback."""
    path = tmp_path_factory.getbasetemp() / "altered.db"
    whole = tmp_path_factory.getbasetemp() / "whole.db"
    if not whole.exists():
        ledger = Ledger(f"sqlite:///{whole}")
        record(ledger, PROPOSED)
        ledger.engine.dispose()
    altered = bytearray(whole.read_bytes())
    altered[int(where * len(altered))] ^= mask
    for left in path.parent.glob("altered.db*"):
        left.unlink()
    path.write_bytes(altered)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LASTGOOD_DATABASE_URL", f"sqlite:///{path}")
        forget()
        result = CliRunner().invoke(app, ["audit", "verify"])
        forget()
    assert result.exception is None or isinstance(result.exception, SystemExit)
    if result.exit_code:
        assert result.exit_code == 1
        assert all(line.startswith("lastgood: ") for line in result.stderr.splitlines())
    else:
        assert result.stdout.startswith("whole: 6 events")


def test_an_altered_event_is_named(run: Run, ledger: Ledger) -> None:
    """The finding names the event, and the exit code says no."""
    record(ledger, PROPOSED)
    path = Path(str(ledger.engine.url.database))
    ledger.engine.dispose()
    content = path.read_bytes()
    path.write_bytes(content.replace(b"no version was verified good", b"a version was verified good "))
    assert content != path.read_bytes()
    assert said(run("audit", "verify"), 1).startswith("event 3: altered: it is not as it was written")


def test_playbook_check(run: Run, book: Playbook, tmp_path: Path) -> None:
    """A valid one is said to be so; otherwise each finding is a line with the line in the file."""
    counts = f"{len(book.routes)} routes, {len(book.datasets)} datasets, {len(book.models)} models"
    assert run("playbook", "check").stdout == f"{SHIPPED} is valid: {counts}\nsha256 {book.digest}\n"
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text(SHIPPED.read_text(encoding="utf-8").replace("suite:", "siute:").replace("metric:", "meter:"))
    result = run("playbook", "check", str(wrong))
    assert (result.exit_code, result.stdout) == (1, "")
    assert len(result.stderr.splitlines()) >= 2
    assert all(line.startswith(f"lastgood: {wrong}:") for line in result.stderr.splitlines())
    assert "cannot be read" in said(run("playbook", "check", str(tmp_path / "absent.yaml")), 1)


def test_playbook_schema(run: Run) -> None:
    """The schema is JSON on stdout, and knows every section of the shipped playbook."""
    schema = json.loads(run("playbook", "schema").stdout)
    from ruamel.yaml import YAML

    sections = YAML(typ="safe").load(SHIPPED)
    assert set(sections) <= set(schema["properties"])
    assert schema["additionalProperties"] is False


WRONG_USE = [
    ("show", "7"),
    ("why", "INC-x"),
    ("postmortem", ""),
    ("close", "x", "--by", "anna", "--because", "reason"),
    ("show",),
    ("nonsense",),
    ("incidents", "--limit", "0"),
    ("run", "revert_model", "--by", "anna", "--because", "reason"),
    ("run", "revert_model", "--by", "anna", "--because", "reason", "--plan", "--apply"),
    ("run", "../x", "--plan", "--by", "anna", "--because", "reason"),
    ("run", "revert_model", "--plan", "--by", "anna", "--because", "reason", "--set", "model"),
    ("run", "revert_model", "--plan", "--by", "anna", "--because", "reason", "--set", "version:=three"),
    ("run", "revert_model", "--plan", "--by", "anna", "--because", "reason", "--set", "a=1", "--set", "a=2"),
    ("run", "revert_model", "--plan", "--by", "anna", "--because", "reason", "--set", "because=x"),
    ("run", "revert_model", "--plan", "--by", "anna", "--because", "reason", "--incident", "x"),
    ("run", "revert_model", "--plan", "--by", "anna"),
    ("serve", "--host", "0.0.0.0"),  # noqa: S104  # it must be refused
]


@pytest.mark.parametrize("arguments", WRONG_USE, ids=" ".join)
def test_wrong_use_is_told_in_one_line(run: Run, arguments: tuple[str, ...]) -> None:
    """What was not understood ends with 2 and one line, and without anything on the record."""
    said(run(*arguments), 2)


@pytest.mark.parametrize("command", ["show", "why", "postmortem"])
def test_no_such_incident(run: Run, command: str) -> None:
    """An incident that is not there is a no, and where to look is said."""
    assert "`lastgood incidents`" in said(run(command, "INC-4"), 1)


def test_a_database_that_is_away(
    run: Run, forget: Callable[[], None], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A server that does not answer, a folder that is not there, a file that is none, no address: one line each."""
    noise = tmp_path / "noise.db"
    noise.write_bytes(b"this is no database, " * 100)
    for url, code in (
        (f"postgresql+psycopg://lastgood:hush-hush@127.0.0.1:{free_port()}/lastgood", 1),
        (f"sqlite:///{tmp_path}/absent/ledger.db", 1),
        (f"sqlite:///{noise}", 1),
        ("nonsense://x:hush-hush@y", 2),
        ("nonsense", 2),
    ):
        monkeypatch.setenv("LASTGOOD_DATABASE_URL", url)
        forget()
        assert "hush" not in said(run("incidents"), code)


def test_an_event_that_is_none(run: Run, ledger: Ledger) -> None:
    """A stored event that cannot be read as one sends to the audit, and does not break the command."""
    record(ledger, PROPOSED)
    path = Path(str(ledger.engine.url.database))
    ledger.engine.dispose()
    path.write_bytes(path.read_bytes().replace(b'"kind":"escalated"', b'"kind":"escalatex"'))
    assert "`lastgood audit verify`" in said(run("show", "INC-1"), 1)
    assert said(run("audit", "verify"), 1).startswith("event 6: ")


HOSTILE = [
    "\x1b]0;owned\x07\x1b[31mred\x1b[0m\x9b2J",
    "[bold red]markup[/] [link=https://evil.example]x[/link] [/]",
    ":smile: \u202egnp.exe\u2028next line\nanother\r\x08\x7f",
]


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_nothing_printed_does_anything(run: Run, ledger: Ledger, text: str) -> None:
    """Escape sequences, markup and emoji codes in what an alert says stay text in every command that prints it."""
    opened = OPENED.model_copy(update={"title": text, "asset": None})
    verdict = Verdict(health=Health.unhealthy, why=text, evidence={text: text})
    plan = PLAN.model_copy(update={"summary": text, "parameters": {"dataset": text}})
    judged = e.Judged(version=text, verdict=verdict)
    gated = e.Gated(plan=plan.hash, mode=Mode.ask, gates=(e.Gate(name="rule", says=Mode.ask, why=text),), playbook="")
    record(ledger, [opened, e.Checked(phase="confirm", verdict=verdict), judged, e.Planned(plan=plan), gated], text)
    for arguments in (
        ("incidents",),
        ("show", "INC-1"),
        ("why", "INC-1"),
        ("postmortem", "INC-1"),
        ("history", "dataset:transactions"),
        ("history", text),
    ):
        result = run(*arguments)
        printed = result.stdout + result.stderr
        assert not [char for char in printed if char != "\n" and (ord(char) < 32 or 127 <= ord(char) < 160)]
        assert not set("\u202e\u2028") & set(printed)
        if "[bold red]" in text and arguments[0] != "postmortem":
            assert "[bold red]markup[/]" in printed
        if ":smile:" in text and arguments[0] != "postmortem":
            assert ":smile:" in printed


def test_it_starts_at_once() -> None:
    """Help and the record load none of the heavy libraries, which cost seconds."""
    heavy = ("prefect", "mlflow", "great_expectations", "boto3", "duckdb", "pandas", "sklearn", "apprise", "uvicorn")
    code = f"""
import sys
from typer.testing import CliRunner
from incidents.cli import app
assert CliRunner().invoke(app, ["--help"]).exit_code == 0
assert CliRunner().invoke(app, ["incidents"]).exit_code == 0
print([name for name in {heavy} if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_the_installed_command(tmp_path: Path) -> None:
    """The command is installed, and its output can be cut off by a pipe."""
    environment = os.environ | {"LASTGOOD_HOME": str(tmp_path / "home")}
    done = subprocess.run([LASTGOOD, "incidents"], capture_output=True, text=True, check=True, env=environment)
    assert done.stdout == "no incident is on the record\n"
    assert (tmp_path / "home" / "ledger.db").exists()
    cut = subprocess.run(f"{LASTGOOD} playbook schema | head -c 10", shell=True, capture_output=True, check=True)  # noqa: S602  # a pipe is what is tested
    assert b"Traceback" not in cut.stderr
