"""``lastgood pause``, ``unpause``, ``thaw``, ``autonomy``, ``what-if``: what automation may do, as people say."""

from __future__ import annotations

from typing import Annotated

import typer

from incidents import events as e
from incidents.cli_run import person, reason
from incidents.cli_terminal import NEGATIVE, WRONG_USE, Trouble, moment, say, table
from incidents.facts import Deed, Request
from incidents.gatekeeper import consult
from incidents.gates.autonomy import standing
from incidents.gates.reach import reach
from incidents.history import AUTOMATION, History
from incidents.ledger import ledger
from incidents.models import Category, Mode, Plan, Risk, Severity, now
from incidents.playbook import Playbook, playbook
from incidents.schema import DEEDS

By = Annotated[str, typer.Option(metavar="NAME", help="Who says so; it stands on the record.")]
Because = Annotated[str, typer.Option(metavar="TEXT", help="Why; it stands on the record.")]
#: An asset's kind -> the category of incidents about it.
_CATEGORY = {"dataset": Category.data, "model": Category.model}


def pause(by: By, because: Because) -> None:
    """Pause automation: from now on every action asks, until `unpause`. A person may still act by hand."""
    _put(e.Paused(why=reason(because)), person(by))
    say("automation is paused: every action asks; `lastgood unpause` lifts it")


def unpause(by: By, because: Because) -> None:
    """Let automation go on, after a pause or after a crash that left a change in doubt."""
    _put(e.Unpaused(why=reason(because)), person(by))
    say("automation goes on")


def thaw(
    asset: Annotated[str, typer.Argument(metavar="ASSET", help="What an incident has frozen: dataset:transactions.")],
    by: By,
    because: Because,
) -> None:
    """Let automation change an asset again that an incident has frozen, because going back would have been worse."""
    if playbook().asset(asset) is None:
        raise Trouble(f"the playbook declares no asset {asset}; they are named like model:fraud", WRONG_USE)
    _put(e.Thawed(asset=asset, why=reason(because)), person(by))
    say(f"automation may change {asset} again")


def autonomy() -> None:
    """Show what each action has earned, for each category and severity."""
    book, past, cells = playbook(), History(), dict[tuple[str, Category, Severity], list[Deed]]()
    for event in ledger().events(kinds=[*DEEDS, "autonomy_reset"], since=now() - book.back):
        past.add(event)
    for deed in past.deeds:
        cells.setdefault((deed.action, deed.category, deed.severity), []).append(deed)
    if not cells:
        say("no action was ever run, so none has earned or lost anything: the rest of the playbook decides")
        return
    rows = []
    for (action, category, severity), deeds in sorted(cells.items()):
        found = standing(deeds, book.autonomy)
        counts = (found.runs, found.fixed, found.failed, f"{found.bound:.0%}")
        rows.append((action, category, int(severity), *counts, found.says, found.why))
    table(("Action", "Category", "Severity", "Runs", "Helped", "Failed", "At least", "May", "Why"), rows)


def reset_autonomy(
    action: Annotated[str, typer.Argument(metavar="ACTION", help="For instance revert_model.")],
    by: By,
    because: Because,
    category: Annotated[Category | None, typer.Option(help="Only there.")] = None,
    severity: Annotated[int | None, typer.Option(min=1, max=4, help="Only there.")] = None,
) -> None:
    """Say that an action's history up to now no longer counts, for instance because it was mended."""
    if action not in playbook().actions:
        raise Trouble(f"the playbook has no rule for {action}; it has {', '.join(playbook().actions)}", WRONG_USE)
    where = None if severity is None else Severity(severity)
    _put(e.AutonomyReset(action=action, category=category, severity=where, why=reason(because)), person(by))
    say(f"what {action} did before no longer counts")


def what_if(
    action: Annotated[str, typer.Option(metavar="ACTION", help="For instance revert_model.")],
    asset: Annotated[str, typer.Option(metavar="ASSET", help="What it would change: model:fraud.")],
    severity: Annotated[int, typer.Option(min=1, max=4)],
    *,
    at: Annotated[str, typer.Option(metavar="TIME", help="ISO 8601, UTC unless it says so; now by default.")] = "",
    category: Annotated[Category | None, typer.Option(help="Of the incident; by default as the asset says.")] = None,
    risk: Annotated[Risk | None, typer.Option(help="Of the action; by default as the record has it.")] = None,
    reversible: Annotated[bool | None, typer.Option(help="Likewise.")] = None,
) -> None:
    """Ask every gate whether an action would run by itself, and do nothing; exit 1 where it would not."""
    book = playbook()
    if book.asset(asset) is None:
        raise Trouble(f"the playbook declares no asset {asset}; they are named like model:fraud", WRONG_USE)
    known = _last_asked(action)
    if known is None and (risk is None or reversible is None):
        needs = "say --risk low|medium|high and --reversible or --no-reversible"
        raise Trouble(f"the record has no decision about {action} yet, so {needs}", WRONG_USE)
    moment_given = moment(at, "--at") if at else None
    about = category or _CATEGORY.get(asset.partition(":")[0])
    if about is None:
        raise Trouble(f"say --category: {asset} does not tell which incidents are about it", WRONG_USE)
    request = Request(
        plan=_no_plan(action, asset, book),
        category=about,
        severity=Severity(severity),
        risk=risk or (known.risk if known else Risk.high),
        reversible=known.reversible if known and reversible is None else bool(reversible),
        asset=asset,
        reach=reach(asset, book),
    )
    gated = consult(ledger(), book, request, moment_given)
    say(f"{action} on {asset} at severity {severity}: the gates would say {gated.mode}")
    say_gates(gated.gates)
    if gated.mode is not Mode.run:
        raise typer.Exit(NEGATIVE)


def say_gates(gates: tuple[e.Gate, ...], indent: int = 4) -> None:
    """Print what each gate said and why, a line each."""
    for gate in gates:
        say(f"{gate.name} gate: {gate.says}, {gate.why}", indent=indent)


def _put(body: e.Paused | e.Unpaused | e.Thawed | e.AutonomyReset, actor: str) -> None:
    ledger().append(body, actor=actor, subject=AUTOMATION)


def _last_asked(action: str) -> e.Asked | None:
    """What the gates were last asked about the action; its risk and way back stand there."""
    for event in reversed(ledger().events(kinds=["gated"], since=now() - playbook().back)):
        if isinstance(event.body, e.Gated) and event.body.action == action and event.body.asked:
            return event.body.asked
    return None


def _no_plan(action: str, asset: str, book: Playbook) -> Plan:
    """A plan that says no more than what it would change; only the action itself can look for the rest."""
    kind, _, name = asset.partition(":")
    target = f"models:/{name}@{book.models[name].alias}" if kind == "model" else asset
    return Plan(action=action, parameters={}, target=target, before={}, after={}, summary="what if")
