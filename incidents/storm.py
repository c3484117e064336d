"""When too much happens at once, people get one message instead of many."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import func, select

from incidents.channels import Ask, announce
from incidents.events import Gated, Stormed, Told
from incidents.history import AUTOMATION
from incidents.ledger import Writer
from incidents.models import Mode, Severity, now
from incidents.playbook import Playbook
from incidents.schema import events


def watch(writer: Writer, playbook: Playbook, gated: Gated, *, actor: str, incident: str) -> None:
    """Where the storm's gate says that there is one: put it on the record and tell people, once while it lasts."""
    said = next((gate for gate in gated.gates if gate.name == "storm"), None)
    if said is None or said.says is Mode.run or raging(writer, playbook):
        return
    writer.append(Stormed(why=said.why), actor=actor, subject=AUTOMATION)
    text = f"{said.why}. Until it is over every action asks; `lastgood incidents` lists what is open."
    title = "Storm: everything asks, and this is the one message about it"
    announce(writer, playbook, incident, Severity.critical, title, text)


def tell(  # noqa: PLR0917  # a sentence with seven parts, always said in the same order
    writer: Writer,
    playbook: Playbook,
    incident: str,
    severity: Severity,
    title: str,
    text: str,
    ask: Ask | None = None,
) -> None:
    """Tell people about an incident; in a storm put on the record that they were told of that, and not of this."""
    if severity is Severity.critical or not raging(writer, playbook):
        announce(writer, playbook, incident, severity, title, text, ask)
        return
    for channel in playbook.tell.get(severity, ()):
        withheld = Told(channel=channel, title=title, delivered=False, why="in a storm there is one message for all")
        writer.append(withheld, actor=f"channel:{channel}", incident=incident)


def raging(writer: Writer, playbook: Playbook) -> bool:
    """Whether a storm was put on the record within the storm's own window."""
    query = select(func.max(events.c.at)).where(events.c.subject == AUTOMATION, events.c.kind == "stormed")
    last = writer.connection.scalar(query)
    return last is not None and datetime.fromisoformat(last) > now() - playbook.limits.storm.window
