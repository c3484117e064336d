"""``lastgood run``, ``serve`` and ``work``: start a flow by name, take alerts in, and turn into the worker.

The first two hold no credential of production; the worker needs those of what its flows may change.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import secrets
import sys
from datetime import datetime
from ipaddress import ip_address
from typing import Annotated, Any

import typer

from incidents import events as e
from incidents.cli_terminal import WRONG_USE, Trouble, incident_name, say, say_timeline
from incidents.incident import find
from incidents.inert import one_line
from incidents.ledger import ledger
from incidents.models import now
from incidents.playbook import Playbook, playbook
from incidents.redaction import redact, redact_tree

#: The shortest token that may guard an intake which others than this machine can reach, in characters.
SHORTEST_TOKEN = 16

#: The names of the states in which a run did not do what it was asked for.
NOT_WELL = ("Failed", "Crashed", "Cancelled", "TimedOut", "Escalated")


def run(
    action: Annotated[str, typer.Argument(metavar="ACTION", help="For instance revert_model.")],
    *,
    by: Annotated[str, typer.Option(metavar="NAME", help="Who asks; it stands on the record.")],
    because: Annotated[str, typer.Option(metavar="TEXT", help="Why; it stands on the record.")],
    field: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="FIELD=VALUE", help="A field as text; FIELD:=VALUE for a number or other JSON."),
    ] = None,
    plan: Annotated[bool, typer.Option("--plan", help="Only say what would change.")] = False,
    apply: Annotated[bool, typer.Option("--apply", help="Plan it, ask the gates, do it, verify it.")] = False,
    undo: Annotated[bool, typer.Option("--undo", help="Bring back what was there before.")] = False,
    incident: Annotated[str, typer.Option(metavar="INCIDENT", help="The incident it belongs to.")] = "",
    wait: Annotated[float, typer.Option(min=1, max=86_400, help="Seconds to wait for the end.")] = 600,
) -> None:
    """Run one action by hand. The flow does it, this command only asks for it and waits."""
    asked = [name for name, given in (("plan", plan), ("apply", apply), ("undo", undo)) if given]
    if len(asked) != 1:
        raise Trouble("give exactly one of --plan, --apply and --undo", WRONG_USE)
    if not re.fullmatch(r"[a-z][a-z0-9_]*", action):
        raise Trouble(f"{action!r} is not an action's name; it looks like revert_model", WRONG_USE)
    who = person(by)
    given = fields(field or [])
    if "because" in given:
        raise Trouble("say why with --because, not with --set", WRONG_USE)
    parameters: dict[str, Any] = {
        "action": redact_tree({**given, "because": reason(because)}),
        "do": asked[0],
        "asked_by": who.removeprefix("person:"),
        "incident": find(ledger(), incident_name(incident)).name if incident else None,
    }
    started = now()
    run_id, state = start(f"by_hand/{action}", parameters, f"{action} {asked[0]}, {who}", wait)
    _say_record(run_id, who, started)
    if state in NOT_WELL:
        raise Trouble(f"{action} {asked[0]}: {state}")
    say(f"{action} {asked[0]}: {state}")


def serve(
    host: Annotated[str, typer.Option(help="Anything but loopback needs a good token for every sender.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65_535)] = 8750,
) -> None:
    """Take alerts in, and start the flows that answer them."""
    book = playbook()
    if not _is_loopback(host):
        weak = weak_tokens(book)
        if weak:
            raise Trouble(
                f"{host} is reachable from elsewhere, so each of {', '.join(weak)} must hold a token "
                f"of at least {SHORTEST_TOKEN} characters",
                WRONG_USE,
            )
    from incidents.intake import app

    with ledger().write():  # a record that can't be written is told now, and not to the first sender
        pass
    app.server(app.create_app(ledger(), book), host, port).run()


def work(context: typer.Context) -> None:
    """Run the flows that Prefect asks for, each in a process that was ready before; `lastgood work --help` tells more.

    It is started where the credentials of production are, and this command turns into it.
    """
    os.execv(sys.executable, [sys.executable, "-P", "-m", "flows.warm", *context.args])  # noqa: S606  # no shell wanted


def fields(given: list[str]) -> dict[str, Any]:
    """The action's fields: ``model=fraud`` is text, ``version:=3`` is JSON."""
    found: dict[str, Any] = {}
    for one in given:
        name, equals, text = one.partition("=")
        as_json, name = name.endswith(":"), name.removesuffix(":")
        if not equals or not name.isidentifier():
            raise Trouble(f"--set {one!r} is not FIELD=VALUE", WRONG_USE)
        if name in found:
            raise Trouble(f"--set {name} is given twice", WRONG_USE)
        try:
            found[name] = json.loads(text) if as_json else text
        except ValueError:
            raise Trouble(f"--set {one!r}: after := there must be JSON", WRONG_USE) from None
    return found


def person(name: str) -> str:
    """Who, as an actor on the record: ``person:anna``."""
    line = redact(one_line(name))
    if not 2 <= len(line) <= 60:
        raise Trouble("--by must be a name of 2 to 60 characters", WRONG_USE)
    return f"person:{line}"


def reason(text: str) -> str:
    """Why, as it is put on the record."""
    line = redact(one_line(text))
    if len(line) < 3:
        raise Trouble("--because must say why", WRONG_USE)
    return line


def weak_tokens(book: Playbook) -> list[str]:
    """The variables of senders whose token is missing or too short to be seen from elsewhere."""
    return [one.token_env for one in book.senders.values() if len(os.environ.get(one.token_env, "")) < SHORTEST_TOKEN]


def start(deployment: str, parameters: dict[str, Any], name: str, seconds: float) -> tuple[str, str]:
    """Ask Prefect for a run, wait for it, and return its id and the name of the state that it ended in."""
    return asyncio.run(_start(deployment, parameters, name, seconds))


async def _start(deployment: str, parameters: dict[str, Any], name: str, seconds: float) -> tuple[str, str]:
    from incidents import launch as prefect

    try:
        run_id = await prefect.launch(deployment, parameters, key=f"cli:{secrets.token_hex(16)}", name=name)
        say(f"asked for it: run {run_id}")
        return run_id, await prefect.wait(run_id, seconds)
    except (prefect.NotLaunched, TimeoutError) as error:
        raise Trouble(str(error)) from None


def _say_record(run_id: str, who: str, since: datetime) -> None:
    """Print the record of the incident that the run worked on. A mere plan leaves none, because nothing happens."""
    for event in reversed(ledger().events(kinds=["started"], since=since)):
        ours = isinstance(event.body, e.Started) and event.actor == who and event.body.run in ("", run_id)
        if ours and event.incident:
            found = find(ledger(), event.incident)
            say(f"{found.name}: {found.title}")
            say_timeline(found)
            return


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
