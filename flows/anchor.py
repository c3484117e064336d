"""Keep the head of the record outside of the database, after it was compared with what is kept there."""

from __future__ import annotations

from contextlib import suppress

from prefect import flow, get_run_logger

from flows.case import KEEPS_NOTHING, step
from incidents import audit, events
from incidents.anchors import Anchor, AnchorsUnreadable, contradictions
from incidents.channels import announce
from incidents.ledger import ledger
from incidents.models import Alert, Category, Severity, now
from incidents.playbook import AnchorPlace, playbook
from incidents.tail import BrokenTail
from remediations.anchors import open_anchors

#: What the incident is about, so that there is one of it at a time.
FINDING = "RecordNotWhole"


class RecordNotWhole(Exception):
    """The record is not what it was; the message has a line a finding."""


@flow(**KEEPS_NOTHING)
async def anchor() -> list[str]:
    """Is the record still what it was, and how long is it now?

    1. Walk the whole chain.
    2. Compare it with every anchor that is kept outside: a cut-off tail leaves a chain that is whole in itself.
    3. Where either finds something, open an incident, hand it to the security officer, and anchor nothing.
    4. Otherwise keep number and hash of the last event in every place that the playbook names.
    """
    report = await step("walk the chain", audit.verify, ledger())
    findings = list(report.broken)
    places = playbook().anchors
    if not findings:
        for place in places:
            findings += await step(f"compare with {place.store}", _compare, place)
    if findings:
        await step("hand over", _hand_over, findings)
        raise RecordNotWhole("\n".join(findings))
    head = Anchor(seq=report.events, hash=report.head, at=now()) if report.events else None
    for place in places if head else ():
        await step(f"anchor in {place.store}", open_anchors(place).put, head)
    where = [f"event {report.events} in {place.store}" for place in places]
    get_run_logger().info("anchored: %s", ", ".join(where) or "nowhere, the playbook names no place")
    return where


def _compare(place: AnchorPlace) -> list[str]:
    try:
        return contradictions(ledger(), open_anchors(place).all(), place.store)
    except AnchorsUnreadable as error:
        return [str(error)]


def _hand_over(findings: list[str]) -> None:
    """Put it on what is left of the record, and tell people, once while nobody has closed it.

    A record that is broken at its very end takes nothing more; then it is this run's failure that tells.
    """
    worst = Severity.critical
    with suppress(BrokenTail), ledger().write() as writer:
        if writer.live(Category.security, None, FINDING):
            return
        title = f"the record is not what it was: {findings[0]}"
        alert = Alert(
            source="lastgood",
            fingerprint=FINDING,
            episode="",
            starts_at=now(),
            firing=True,
            name=FINDING,
            severity=worst,
        )
        opened = events.Opened(category=Category.security, severity=worst, asset=None, title=title, alert=alert)
        incident = writer.open(opened, actor="flow:anchor")
        owner, why = playbook().owners[Category.security], "; ".join(findings)
        writer.append(events.Escalated(to=owner, why=why), actor="flow:anchor", incident=incident)
        announce(writer, playbook(), incident, worst, f"{incident} needs the {owner}: {title}", why)
