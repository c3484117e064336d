"""``lastgood audit`` and ``lastgood playbook``: is the record whole, and is the playbook valid?"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from incidents import audit as proof
from incidents import bundle, cli_run
from incidents.anchors import Anchor, AnchorFile, AnchorsUnreadable, contradictions, open_file
from incidents.cli_terminal import WRONG_USE, Commands, Trouble, moment, say
from incidents.ledger import ledger
from incidents.playbook import AnchorPlace, Playbook, load
from incidents.settings import settings

audit = typer.Typer(cls=Commands, no_args_is_help=True, help="Prove that the record is whole, and take it along.")
playbook = typer.Typer(cls=Commands, no_args_is_help=True, help="Check the playbook before it is needed.")


@audit.command()
def verify(
    anchors: Annotated[
        Path | None, typer.Option(help="Compare with the anchors in this file as well, one JSON a line.")
    ] = None,
) -> None:
    """Walk the whole chain and compare it with the anchors; exit 1 and name the events that are not as they were."""
    report = proof.verify(ledger())
    if report.broken:
        raise Trouble("\n".join(report.broken))
    if not report.events:
        raise Trouble("the ledger holds no event, so there is nothing that could be proven")
    agrees = [_agrees(store) for store in _anchor_files(anchors)]
    say(f"whole: {report.events} events, head {report.head}")
    for line in agrees:
        say(line)
    for store in _elsewhere():
        say(f"not compared with {store}, for which this process has no credentials: `lastgood audit anchor` does it")


@audit.command()
def anchor(wait: Annotated[float, typer.Option(min=1, max=86_400, help="Seconds to wait for the end.")] = 600) -> None:
    """Have the head of the record kept outside now. The flow does it, after it compared; this command asks for it."""
    _, state = cli_run.start("anchor/anchor", {}, "anchor, asked for by hand", wait)
    if state in cli_run.NOT_WELL:
        raise Trouble(f"anchor: {state}; its run says why, and what was found is in `lastgood incidents`")
    say(f"anchor: {state}")


@audit.command()
def export(
    since: Annotated[str, typer.Option(help="Only events from this moment on, ISO 8601; UTC unless it says so.")] = "",
    out: Annotated[Path | None, typer.Option(help="The bundle to write. Without: the bare events to stdout.")] = None,
) -> None:
    """Write the events as JSON lines; with --out as a bundle with manifest and signature, that proves itself."""
    start = moment(since, "--since") if since else None
    if out is None:
        proof.export(ledger(), sys.stdout, since=start)
        return
    path = settings().signing_key
    try:
        key = None if path is None else bundle.load_key(path)
    except bundle.NoKey as error:
        raise Trouble(str(error), WRONG_USE) from None
    kept = [anchor for store in _anchor_files(None) for anchor in _kept(store)]
    with out.open("wb") as file:
        made = bundle.write(ledger(), file, since=start, anchors=kept, key=key)
    signed = f"signed by {made.signed_by}" if made.signed_by else "not signed: LASTGOOD_SIGNING_KEY names no key"
    say(f"{made.count} events in {out}, {signed}")


@playbook.command()
def check(file: Annotated[Path | None, typer.Argument(help="LASTGOOD_PLAYBOOK by default.")] = None) -> None:
    """Load the playbook; exit 1 with a line for each finding."""
    path = file or settings().playbook
    found = load(path)
    say(f"{path} is valid: {len(found.routes)} routes, {len(found.datasets)} datasets, {len(found.models)} models")
    say(f"sha256 {found.digest}")


@playbook.command()
def schema() -> None:
    """Print the JSON Schema of the playbook, for editors."""
    sys.stdout.write(json.dumps(Playbook.model_json_schema(), indent=2) + "\n")


def _anchor_files(given: Path | None) -> list[AnchorFile]:
    """The anchors that this process can read: what is given, and the files that the playbook names."""
    if given is not None and not given.exists():
        raise Trouble(f"{given} is not there, so there is nothing to compare with")
    named = [file for place in _places() if (file := open_file(place.store)) is not None]
    return [*([AnchorFile(given)] if given else []), *named]


def _elsewhere() -> list[str]:
    return [place.store for place in _places() if open_file(place.store) is None]


def _places() -> tuple[AnchorPlace, ...]:
    """What the playbook names. An auditor who has the database alone has no playbook, and may give the anchors."""
    path = settings().playbook
    return load(path).anchors if path.exists() else ()


def _kept(store: AnchorFile) -> list[Anchor]:
    try:
        return store.all()
    except AnchorsUnreadable as error:
        raise Trouble(str(error)) from None


def _agrees(store: AnchorFile) -> str:
    kept = _kept(store)
    found = contradictions(ledger(), kept, store.uri)
    if found:
        raise Trouble("\n".join(found))
    if not kept:
        return f"no anchor is in {store.uri} yet"
    newest = kept[-1]
    when = f"{newest.at:%Y-%m-%d %H:%M:%S}"
    return f"as anchored in {store.uri}: {len(kept)}, the last of event {newest.seq} at {when}"
