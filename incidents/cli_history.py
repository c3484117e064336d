"""``lastgood history``: what was in production when, was it good, and how is that known?"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import typer

from incidents import known_good
from incidents.cli_terminal import Trouble, moment, say, table
from incidents.events import Event, Judged
from incidents.ledger import Ledger, ledger
from incidents.models import Health
from incidents.serving import Answer, Span, asset_of, at, pointers, spans, verdict


def history(
    asset: Annotated[
        str, typer.Argument(metavar="ASSET", help="models:/fraud@champion, model:fraud or dataset:transactions.")
    ],
    moment_: Annotated[
        str, typer.Option("--at", metavar="TIME", help="Only what was in production then, ISO 8601; UTC by default.")
    ] = "",
) -> None:
    """Tell what was in production when, which versions were found good, and how each is known."""
    book, when = ledger(), moment(moment_, "--at") if moment_ else None
    targets = pointers(book, asset)
    known = [target for target in targets if spans(book, target)]
    if when is not None:
        if not known:
            raise Trouble(f"the record knows no move of {asset}; pointers are named like models:/fraud@champion")
        for target in known:
            _say_then(book, target, at(book, target, when))
        return
    for target in known:
        say(target)
        table(("Version", "From (UTC)", "Known", "Moved by", "Incident", "Why"), map(_row, spans(book, target)))
        say()
    judged = _judged(book, asset_of(asset))
    if not known and not judged:
        raise Trouble(f"the record knows no move of {asset}, and no version of it was ever judged")
    if judged:
        table(("Version", "Found", "At (UTC)", "Incident", "Why"), judged)


def _say_then(book: Ledger, target: str, answer: Answer) -> None:
    """One answer: the version or versions, how they came and went, and whether they were good."""
    when = _text(answer.at)
    if not answer.spans:
        first = spans(book, target)[0]
        say(f"{target} at {when}: unknown, the record first knows of it at {_text(first.began.at)}")
        return
    say(f"{target} at {when}: {' or '.join(_named(span.version) for span in answer.spans)}")
    if len(answer.spans) > 1:
        say("which of them it was then is not known: somebody else moved it between two looks", indent=2)
    for span in answer.spans:
        say(f"{_named(span.version)}: {_began(span)}, event {span.began.seq}", indent=2)
        say(_ended(span, answer.at), indent=4)
        if span.version is not None:
            for line in _goodness(book, asset_of(target), span.version, answer.at):
                say(line, indent=4)


def _began(span: Span) -> str:
    move = span.began
    who = f"moved by {move.by}" if move.by else "it is not known by whom"
    of = f" in {move.incident}" if move.incident else ""
    why = f" ({move.why})" if move.why else ""
    if move.how != "seen":
        return f"moved there at {_text(move.at)} by {move.by}{of}{why}"
    if span.elsewhere is None:
        return f"first seen there at {_text(move.at)}{of}, unknown before, {who}{why}"
    return f"seen there at {_text(move.at)}{of}, last seen elsewhere at {_text(span.elsewhere)}, {who}{why}"


def _ended(span: Span, then: datetime) -> str:
    if span.ended is None:
        late = ", and nothing is known since" if then > span.last_seen else ""
        return f"there it is still, as far as the record knows; last seen at {_text(span.last_seen)}{late}"
    of = f" in {span.ended.incident}" if span.ended.incident else ""
    if span.last_seen == span.ended.at:
        return f"until it was moved to {_named(span.ended.after)} at {_text(span.ended.at)}{of}"
    seen = f"last seen there at {_text(span.last_seen)}"
    return f"{seen}, and at {_named(span.ended.after)} at {_text(span.ended.at)}{of}"


def _goodness(book: Ledger, asset: str, version: str, then: datetime) -> list[str]:
    """What was known of a version's health then, and what was found out later."""
    known, last = verdict(book, asset, version, until=then), verdict(book, asset, version)
    lines = [f"good then: {_found(known)}" if known else "good then: unknown, it had not been judged"]
    if last is not None and last != known:
        lines.append(f"since then: {_found(last)}")
    return lines


def _found(event: Event) -> str:
    assert isinstance(event.body, Judged)
    said = event.body.verdict
    word = "yes" if said.health is Health.healthy else "no"
    of = f" in {event.incident}" if event.incident else ""
    return f"{word}, found {said.health} at {_text(event.at)} by {event.actor}{of}, event {event.seq}: {said.why}"


def _judged(book: Ledger, asset: str) -> list[tuple[str, ...]]:
    """The last word on each version, the newest first."""
    newest_first = sorted(known_good.verdicts(book, asset).values(), key=lambda event: event.seq, reverse=True)
    return [
        (event.body.version, event.body.verdict.health, _text(event.at), event.incident or "–", event.body.verdict.why)
        for event in newest_first
        if isinstance(event.body, Judged)
    ]


def _row(span: Span) -> tuple[str, ...]:
    move = span.began
    how = {"seen": "seen", "applied": "moved", "undone": "moved back"}[move.how]
    if move.how == "seen" and span.elsewhere is not None:
        how = f"seen, not yet at {_text(span.elsewhere)}"
    return span.version or "none", _text(move.at), how, move.by or "not known", move.incident or "–", move.why or "–"


def _named(version: str | None) -> str:
    return f"version {version}" if version else "no version"


def _text(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S}"
