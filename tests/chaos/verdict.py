"""The laws, read from the real parts and from the record: what was broken in one trial, each with the law's name."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from sqlalchemy import select

from incidents import events as e
from incidents.gates import GATES
from incidents.incident import Incident, find
from incidents.ledger import Ledger
from incidents.models import Health, Plan, Severity, Status
from incidents.schema import episodes
from tests.chaos.world import ALIAS, Change, state

LOST, TWICE, OVERWRITTEN, ENDLESS = "alerts lost", "actions applied twice", "changes overwritten", "without an end"
NO_INTENT, UNFENCED, UNAPPROVED = "changed without an intent", "changed after the lease", "changed without approval"
HEALED, LEFT, ACTED = "resolved though still broken", "of no help, and not undone", "acted though it was over"
UNVERIFIED, UNGATED = "went back to what nobody verified", "a gate not on the record"

#: What is looked for, and the number of the law that it would break.
LAWS = {
    LOST: 1,
    NO_INTENT: 2,
    TWICE: 2,
    OVERWRITTEN: 3,
    HEALED: 4,
    LEFT: 4,
    ACTED: 5,
    UNVERIFIED: 6,
    UNGATED: 8,
    UNAPPROVED: 9,
    UNFENCED: 10,
    ENDLESS: 10,
}

#: The laws that no trial can break: what keeps them is in the code's text, or is decided before anything runs.
HELD_ELSEWHERE = {
    7: ("tests/incidents/test_playbook.py", "tests/incidents/test_decide.py"),
    11: ("tests/flows/test_end_to_end.py", "pyproject.toml"),
    12: ("tests/test_one_word.py",),
}

#: Every gate by its name on the record, in words.
GATES_ASKED = {"asset" if gate.__name__ == "declared" else gate.__name__.replace("_", " ") for gate in GATES}

ENDED = (Status.resolved, Status.not_confirmed, Status.escalated)


@dataclass
class Judged:
    """What one trial amounts to."""

    #: A law, and what broke it.
    broken: list[tuple[str, str]] = field(default_factory=list)
    #: How each incident ended.
    endings: Counter[str] = field(default_factory=Counter)
    applied: int = 0
    undone: int = 0
    people: int = 0
    #: Changes of a person that nobody can see, as MLflow can neither compare and set nor tell what was set before:
    #: between our last look and our write; and back to what was before a write whose process died with it.
    gaps: int = 0


def judge(ledger: Ledger, journal: list[Change], acknowledged: set[str], *, died: bool) -> Judged:
    """Hold a trial against every law."""
    found = Judged(people=sum(change.who == "person" for change in journal))
    incidents = [find(ledger, f"INC-{row.number}") for row in ledger.incidents(limit=1000)]
    found.broken += [(LOST, f"fingerprint {lost}") for lost in _lost(ledger, incidents, acknowledged)]
    for incident in incidents:
        undone = any(attempt.undone for attempt in incident.attempts)
        found.endings["undone" if undone and incident.status is Status.escalated else incident.status.value] += 1
        if incident.status not in ENDED:
            found.broken.append((ENDLESS, f"{incident.name} is {incident.status} after {incident.events[-1].body}"))
        found.broken += [(LEFT, f"{incident.name}: {plan.summary}") for plan in _left(incident)]
        found.broken += [(UNVERIFIED, what) for what in _unverified(ledger, incident)]
        found.broken += [(UNGATED, what) for what in _ungated(incident)]
    plans = {attempt.plan.hash: attempt.plan for incident in incidents for attempt in incident.attempts}
    for place, change in enumerate(journal):
        if change.who == "ours":
            found.broken += list(_change(found, journal[:place], change, plans, incidents, died=died))
            found.broken += list(_unapproved(change, incidents))
    return found


def _lost(ledger: Ledger, incidents: list[Incident], acknowledged: set[str]) -> Iterator[str]:
    """The acknowledged alerts that are not on the record, or are there more than once."""
    told = Counter(alert.fingerprint for incident in incidents for alert in incident.alerts)
    with ledger.engine.connect() as connection:
        known = set(connection.scalars(select(episodes.c.fingerprint)))
    for fingerprint in acknowledged:
        if told[fingerprint] != 1 or fingerprint not in known:
            yield f"{fingerprint} is on the record {told[fingerprint]} times"


def _change(
    found: Judged, past: list[Change], change: Change, plans: dict[str, Plan], incidents: list[Incident], *, died: bool
) -> Iterator[tuple[str, str]]:
    """Hold one change of ours against laws 2, 3 and 10."""
    if change.stale:
        yield UNFENCED, f"{change.target}: {change.before} -> {change.after} by a process whose lease had run out"
    intended = [(word.split()[0], plans[word.split()[1]]) for word in change.intents if word.split()[1] in plans]
    sides = {"apply": ("before", "after"), "undo": ("after", "before")}
    fitting = [(what, plan) for what, plan in intended if state(plan, sides[what][1]) == change.after]  # type: ignore[arg-type]  # one of two words
    if not fitting:
        yield NO_INTENT, f"{change.target}: {change.before} -> {change.after}, and the record says nothing of it"
        return
    what, plan = fitting[-1]
    if change.before == change.after and "nonce" not in plan.after:
        return  # the alias was set once more to where it was: nobody can tell
    found.applied += what == "apply"
    found.undone += what == "undo"
    mine = [one for one in past if one.who == "ours" and one.target == change.target]
    if what == "apply" and any(one.after == change.after for one in mine) and not _undone_since(mine, change):
        if change.target == ALIAS and died and not change.stale and _taken_back(past, change):
            found.gaps += 1
        elif not (_taken_back(past, change) and _decided_anew(mine, change, plan) and _with_a_reason(incidents, plan)):
            yield TWICE, f"{change.target}: -> {change.after} for the second time"
    if change.before not in {state(each, sides[done][0]) for done, each in fitting}:  # type: ignore[arg-type]  # one of two words
        last = next((one for one in reversed(past) if one.target == change.target and one.who != "person"), None)
        if last is not None and last.who == "look" and last.after in {state(one, "before") for _, one in fitting}:
            found.gaps += 1
        else:
            yield OVERWRITTEN, f"{change.target}: {change.before} was set by a person, we set {change.after} over it"


def _taken_back(past: list[Change], change: Change) -> bool:
    """Whether a person has put the target back to where it was before our first change."""
    last = next((one for one in reversed(past) if one.target == change.target and one.who != "look"), None)
    return last is not None and (last.who, last.before, last.after) == ("person", change.after, change.before)


def _decided_anew(mine: list[Change], change: Change, plan: Plan) -> bool:
    """Whether it is by a plan that none of our changes to the same state was by: made where a person had left it."""
    return not any(plan.hash in word for one in mine if one.after == change.after for word in one.intents)


def _with_a_reason(incidents: list[Incident], plan: Plan) -> bool:
    """Whether a person said yes to it, or it was made when no change of ours to that state was on the record yet."""
    events = [event for incident in incidents for event in incident.events]
    same = {
        event.body.plan.hash
        for event in events
        if isinstance(event.body, e.Planned) and state(event.body.plan, "after") == state(plan, "after")
    }
    if any(isinstance(event.body, e.Answered) and event.body.yes and event.body.plan == plan.hash for event in events):
        return True
    made = min(event.seq for event in events if isinstance(event.body, e.Planned) and event.body.plan.hash == plan.hash)
    applied = [event.seq for event in events if isinstance(event.body, e.Applied) and event.body.plan in same]
    return made < min(applied, default=made + 1)


def _undone_since(mine: list[Change], change: Change) -> bool:
    """Whether the last thing that we did to the target was to take this back."""
    return bool(mine) and mine[-1].before == change.after


def _unapproved(change: Change, incidents: list[Incident]) -> Iterator[tuple[str, str]]:
    """Law 9: where the playbook asks about everything, people have said yes to this very plan before its intent."""
    what, _, name = change.intents[-1].partition(" ") if change.intents else ("", "", "")
    for incident in incidents:
        intents = [event for event in incident.events if isinstance(event.body, e.Applying) and event.body.plan == name]
        if what != "apply" or incident.severity is not Severity.low or not intents:
            continue
        yes = any(
            isinstance(event.body, e.Answered) and event.body.yes and event.body.plan == name
            for event in incident.events
            if event.seq < intents[0].seq
        )
        if not yes:
            yield UNAPPROVED, f"{incident.name} ran {name[:12]}, and nobody had said yes to that"


def _left(incident: Incident) -> Iterator[Plan]:
    """Law 4: what was seen not to help is undone, unless the world has moved meanwhile.

    Or it was begun, a server refused, and a person has it: that is on the record too.
    """
    broke = incident.last(e.Failed) is not None and incident.status is Status.escalated
    for attempt in incident.attempts:
        unhealthy = attempt.verdict is not None and attempt.verdict.health is Health.unhealthy
        settled = attempt.undone or attempt.conflict or (attempt.undoing and broke)
        if incident.status in ENDED and unhealthy and not settled:
            yield attempt.plan


def _unverified(ledger: Ledger, incident: Incident) -> Iterator[str]:
    """Law 6: at the moment of its intent, what an action goes back to was verified good, and nothing else since."""
    for event in incident.events:
        if not isinstance(event.body, e.Applying) or event.body.asked is None:
            continue
        subject, version = event.body.asked.changes, str(incident.attempt(event.body.plan).plan.after["version"])
        told = [
            one.body.verdict.health
            for one in ledger.events(subject=subject, kinds=["judged"])
            if isinstance(one.body, e.Judged) and one.body.version == version and one.seq < event.seq
        ]
        settled = [health for health in told if health is not Health.inconclusive]
        if settled[-1:] != [Health.healthy]:
            yield f"{incident.name}: {subject} to {version}, which was {settled[-1] if settled else 'never looked at'}"


def _ungated(incident: Incident) -> Iterator[str]:
    """Law 8: every decision says what every gate said, and no intent is without one."""
    decided: set[str] = set()
    for event in incident.events:
        if isinstance(event.body, e.Gated | e.Applying):
            missing = GATES_ASKED - {gate.name.replace("-", " ") for gate in event.body.gates}
            if missing:
                yield f"{incident.name}: {event.body.kind} without {', '.join(sorted(missing))}"
        if isinstance(event.body, e.Gated):
            decided.add(event.body.plan)
        if isinstance(event.body, e.Applying) and event.body.plan not in decided:
            yield f"{incident.name}: an intent without a decision"
