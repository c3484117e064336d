"""The post-mortem: one Markdown page, folded from the record, that nobody has to write at three in the morning.

Every value that the template prints goes through ``inert.markdown`` first, so what an alert says stays text. The
template's own words are the only Markdown on the page.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from datetime import datetime
from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template
from pydantic import JsonValue

from incidents import events as e
from incidents.events import Event
from incidents.incident import Incident
from incidents.inert import markdown
from incidents.ledger import number_of
from incidents.models import Health, Status, Verdict
from incidents.sentences import plans, sentence, value
from incidents.timeline import clock, phases, time_to_mitigate, timeline

#: More of one verdict's numbers, or of one alert's labels, than this stays on the record and off the page.
MOST = 20

#: A person is asked about each of these, in this order.
_OPEN = (e.Escalated, e.Conflicted, e.NotPlanned, e.Failed, e.SetAside)


def render(incident: Incident) -> str:
    """The page, as Markdown."""
    return _template().render(
        incident=incident,
        mitigated=time_to_mitigate(incident),
        phases=phases(incident),
        lines=timeline(incident),
        looks=list(_looks(incident)),
        traces=[event.body for event in incident.events if isinstance(event.body, e.Traced)],
        missing=[event.body for event in incident.events if isinstance(event.body, e.NotPlanned)],
        gated=[event for event in incident.events if isinstance(event.body, e.Gated)],
        known=plans(incident.events),
        who=who(incident),
        questions=questions(incident),
    )


def write(incident: Incident, folder: Path) -> Path:
    """Write the page to ``folder/INC-7.md``, whole or not at all, and say where it is.

    Raises:
        OSError: the folder cannot be made or written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"INC-{number_of(incident.name)}.md"
    handle, draft = tempfile.mkstemp(dir=folder, prefix=".draft-")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(render(incident))
        Path(draft).replace(path)
    except BaseException:
        Path(draft).unlink(missing_ok=True)
        raise
    return path


def who(incident: Incident) -> dict[str, int]:
    """Who wrote on the record, and how many events."""
    count: dict[str, int] = {}
    for event in incident.events:
        count[event.actor] = count.get(event.actor, 0) + 1
    return count


def questions(incident: Incident) -> list[str]:
    """What the record leaves open: what went to a person, what could not be told, who was not reached."""
    known = plans(incident.events)
    found = [sentence(event.body, known) for kind in _OPEN for event in incident.events if isinstance(event.body, kind)]
    found += [
        f"could not be told: {sentence(event.body, known)}"
        for event in _looks(incident)
        if (verdict := _verdict(event)) and verdict.health is Health.inconclusive
    ]
    for attempt in incident.attempts:
        if attempt.state in ("proposed", "applying", "applied", "undoing"):
            found.append(f"{attempt.plan.action} on {attempt.plan.target} was left {attempt.state}")
    told = [event.body for event in incident.events if isinstance(event.body, e.Told)]
    found += [sentence(body, known) for body in told if not body.delivered]
    found += [f"alert {alert.name}: {note}" for alert in incident.alerts for note in alert.notes]
    if incident.status in (Status.open, Status.waiting, Status.escalated):
        found.append(f"the incident is {incident.status}, nobody has closed it")
    return list(dict.fromkeys(found))


def numbers(verdict: Verdict) -> list[tuple[str, str]]:
    """A verdict's evidence as name and value, the outermost first, at most ``MOST`` of them."""
    flat = sorted(_flat("", verdict.evidence), key=lambda pair: pair[0].count("."))
    return [(name, value(found)) for name, found in flat[:MOST]]


def _looks(incident: Incident) -> Iterator[Event]:
    """Every look at the world, without those that repeat the verdict of the one before: a fix is verified by a look."""
    before = None
    for event in incident.events:
        verdict = _verdict(event)
        if verdict is not None and verdict != before:
            yield event
            before = verdict


def _verdict(event: Event) -> Verdict | None:
    return event.body.verdict if isinstance(event.body, e.Checked | e.Verified | e.Judged) else None


def _flat(name: str, found: JsonValue) -> Iterator[tuple[str, JsonValue]]:
    if isinstance(found, dict) and found:
        for key, inner in found.items():
            yield from _flat(f"{name}.{key}" if name else key, inner)
    elif isinstance(found, list) and any(isinstance(inner, dict | list) for inner in found):
        for place, inner in enumerate(found):
            yield from _flat(f"{name}.{place}", inner)
    else:
        yield name, found


def _moment(at: datetime) -> str:
    return at.strftime("%Y-%m-%d %H:%M:%S UTC")


@cache
def _template() -> Template:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        finalize=markdown,
        autoescape=False,  # noqa: S701  # it escapes for HTML; finalize above escapes every value for Markdown
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {"clock": clock, "moment": _moment, "numbers": numbers, "value": value}
    environment.globals["most"] = MOST
    return environment.get_template("postmortem.md.j2")
