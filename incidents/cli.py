"""``lastgood``: read the record, run an action by hand, serve the intake. It never touches production itself."""

from __future__ import annotations

import shlex
import sys
from datetime import timedelta
from pathlib import Path
from typing import Annotated

import typer
from pydantic import JsonValue
from sqlalchemy import select

from incidents import cli_answers, cli_audit, cli_backtest, cli_expectations, cli_gates, cli_history, cli_run, family
from incidents import events as e
from incidents import postmortem as pages
from incidents.cli_terminal import Commands, Trouble, incident_name, say, say_timeline, table
from incidents.events import Event
from incidents.incident import Attempt, Incident, find
from incidents.ledger import ledger, number_of
from incidents.models import Mode, Severity, Status, canonical, now
from incidents.schema import incidents as found_by
from incidents.sentences import plans, sentence
from incidents.timeline import clock, phases, time_to_mitigate

app = typer.Typer(
    cls=Commands,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Bring an ML system back to its last good state, and keep the record of it.",
)
app.add_typer(cli_audit.audit, name="audit")
app.add_typer(cli_audit.playbook, name="playbook")
app.add_typer(cli_expectations.expectations, name="expectations")
app.command()(cli_history.history)
app.command()(cli_run.run)
app.command()(cli_run.serve)
_PASSED_ON = {"ignore_unknown_options": True, "allow_extra_args": True, "help_option_names": []}
app.command(context_settings=_PASSED_ON)(cli_run.work)
app.command()(cli_answers.approve)
app.command()(cli_answers.reject)
app.command()(cli_gates.pause)
app.command()(cli_gates.unpause)
app.command()(cli_gates.thaw)
app.command()(cli_gates.autonomy)
app.command("reset-autonomy")(cli_gates.reset_autonomy)
app.command("what-if")(cli_gates.what_if)
app.command()(cli_backtest.backtest)

Name = Annotated[str, typer.Argument(metavar="INCIDENT", help="For instance INC-7.")]

#: How far back ``incidents`` looks for alerts that were set aside.
ASIDE = timedelta(days=7)

#: What a decision is made of, for ``why``.
_DECISIVE = (
    e.Opened,
    e.SetAside,
    e.Checked,
    e.NotPlanned,
    e.AskedFor,
    e.Answered,
    e.Approved,
    e.ApprovalVoid,
    e.Verified,
    e.Conflicted,
    e.Undoing,
    e.Failed,
    e.Escalated,
    e.Resolved,
    e.NotConfirmed,
)


@app.command()
def incidents(limit: Annotated[int, typer.Option(min=1, max=10_000, help="The newest so many.")] = 20) -> None:
    """List the incidents, the newest first."""
    rows = [
        (
            f"INC-{row.number}",
            row.opened_at[:19].replace("T", " "),
            f"{row.severity} {Severity(row.severity).name}",
            row.status,
            row.category,
            row.asset or "–",
            row.title,
        )
        for row in ledger().incidents(limit=limit)
    ]
    if not rows:
        say("no incident is on the record")
    else:
        table(("Incident", "Opened (UTC)", "Severity", "Status", "Category", "Asset", "Title"), rows)
    aside = ledger().events(kinds=["set_aside"], since=now() - ASIDE)
    if aside:
        say(f"{len(aside)} alerts of the last {ASIDE.days} days opened none and wait for a person; the newest:")
    for event in aside[-3:]:
        say(f"{_at(event)} {sentence(event.body, {})}", indent=2)


@app.command()
def show(incident: Name) -> None:
    """Show what happened when, and how long each phase took."""
    found = _find(incident)
    _head(found)
    for event in found.events:
        if isinstance(event.body, e.Started) and event.body.url:
            say(f"run of {event.body.flow}: {event.body.url}")
    say()
    table(("Phase", "Took"), [(phase.name, clock(phase.took)) for phase in phases(found)])
    say()
    say_timeline(found)


@app.command()
def why(incident: Name) -> None:
    """Explain every decision, also those not to act: what was seen, and what each gate said."""
    found = _find(incident)
    _head(found)
    known = plans(found.events)
    for event in found.events:
        if isinstance(event.body, e.Gated):
            _explain(found, event.body)
        elif isinstance(event.body, e.Applying) and event.body.gates:
            say(f"- right before the change all {len(event.body.gates)} gates were asked once more, and let it through")
        elif isinstance(event.body, _DECISIVE):
            say(f"- {sentence(event.body, known)}")
    if not any(isinstance(event.body, e.Gated) for event in found.events):
        say("- no plan came before the gates")


@app.command()
def close(
    incident: Name,
    by: Annotated[str, typer.Option(metavar="NAME", help="Who closes it; it stands on the record.")],
    because: Annotated[str, typer.Option(metavar="TEXT", help="Why it is over.")],
) -> None:
    """Close an incident as the person who took it over."""
    person, reason, name = cli_run.person(by), cli_run.reason(because), incident_name(incident)
    with ledger().write() as writer:  # looked at and closed in one transaction, so nobody closes it in between
        row = writer.connection.execute(select(found_by).where(found_by.c.number == number_of(name))).first()
        if row is None:
            raise Trouble(f"the ledger has no {name}; `lastgood incidents` lists those it has")
        if row.status not in (Status.open, Status.waiting, Status.escalated):
            raise Trouble(f"{name} was closed before: {row.status}")
        writer.append(e.Resolved(why=reason), actor=person, incident=name, subject=row.asset)
        family.release(writer, name, reason, person)
    say(f"{name} is resolved, closed by {person}")


@app.command()
def postmortem(
    incident: Name,
    out: Annotated[Path | None, typer.Option(metavar="FOLDER", help="Write FOLDER/INC-7.md instead.")] = None,
) -> None:
    """Print the post-mortem as Markdown, folded from the record."""
    found = _find(incident)
    if out is None:
        sys.stdout.write(pages.render(found))
    else:
        say(pages.write(found, out))


def _find(incident: str) -> Incident:
    return find(ledger(), incident_name(incident))


def _head(incident: Incident) -> None:
    say(f"{incident.name} {incident.title}")
    about = incident.asset or "no declared asset"
    say(
        f"{incident.status}, {incident.category}, severity {int(incident.severity)} ({incident.severity.name}), {about}"
    )
    took = time_to_mitigate(incident)
    if took is not None:
        say(f"resolved {clock(took)} after it was opened")


def _explain(incident: Incident, gated: e.Gated) -> None:
    attempt = next((attempt for attempt in incident.attempts if attempt.plan.hash == gated.plan), None)
    about = f"{attempt.plan.action}, {attempt.plan.summary}" if attempt else "a plan that is not on this record"
    say(f"- gates say {gated.mode} to {about}")
    cli_gates.say_gates(gated.gates)
    if attempt is not None:
        say(f"it came to: {attempt.state}", indent=4)
        if gated.mode is Mode.ask and not attempt.applying:
            say(f"a person may run it: {_by_hand(incident, attempt)}", indent=4)


def _by_hand(incident: Incident, attempt: Attempt) -> str:
    """The command that runs a proposed action by hand."""
    given = {name: found for name, found in attempt.plan.parameters.items() if name != "because"}
    fields = [f"--set {shlex.quote(_field(name, found))}" for name, found in given.items()]
    end = f"--apply --incident {incident.name} --by YOU --because WHY"
    return " ".join(["lastgood run", attempt.plan.action, *fields, end])


def _field(name: str, found: JsonValue) -> str:
    return f"{name}={found}" if isinstance(found, str) else f"{name}:={canonical(found)}"


def _at(event: Event) -> str:
    return f"{event.at:%Y-%m-%d %H:%M:%S}"
