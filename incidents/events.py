"""What can stand on the record: one class a kind of event. The class's docstring is what it means.

A kind, once written, is read for ever: fields may be added with a default, never renamed or removed.
"""

from __future__ import annotations

import json
from typing import Annotated, Literal

from pydantic import AwareDatetime, Field, JsonValue, TypeAdapter

from incidents.models import Alert, Category, Frozen, Mode, Plan, Risk, Severity, Verdict, canonical
from incidents.redaction import Redaction, possible


class Opened(Frozen):
    """An incident began, with the alert or the person that began it."""

    kind: Literal["opened"] = "opened"
    category: Category
    severity: Severity
    #: ``dataset:transactions`` or ``model:fraud``; None when the alert named nothing that the playbook knows.
    asset: str | None
    title: str
    alert: Alert | None = None


class Alerted(Frozen):
    """Another alert about the same trouble joined the incident."""

    kind: Literal["alerted"] = "alerted"
    alert: Alert


class AlertEnded(Frozen):
    """The sender says that one of the incident's alerts is over. It is a hint, not a verdict."""

    kind: Literal["alert_ended"] = "alert_ended"
    alert: Alert


class SetAside(Frozen):
    """An alert that could not be read, or that no route matches, was stored and left for a person."""

    kind: Literal["set_aside"] = "set_aside"
    sender: str
    #: SHA-256 of the stored delivery it came in, and its place there, from 0.
    delivery: str
    index: int
    why: str


class Started(Frozen):
    """A flow run took the incident up (again)."""

    kind: Literal["started"] = "started"
    flow: str
    run: str = ""
    #: The run's page in the Prefect UI; empty where there is none.
    url: str = ""


class Checked(Frozen):
    """A check looked at the world: to confirm the alert, or to see whether a fix helped."""

    kind: Literal["checked"] = "checked"
    phase: Literal["confirm", "watch"]
    verdict: Verdict


class Judged(Frozen):
    """One version of an asset was found healthy or not. The history of what was known good is made of these."""

    kind: Literal["judged"] = "judged"
    version: str
    verdict: Verdict


class Scanned(Frozen):
    """The files of one model version were looked through for what runs when they are loaded. Nothing was loaded."""

    kind: Literal["scanned"] = "scanned"
    version: str
    #: SHA-256 over the files that are the model itself; empty where they could not be read.
    digest: str
    verdict: Verdict


class Suspected(Frozen):
    """An asset is said to be hit, and this version of it was in production then. The event's subject is the asset."""

    kind: Literal["suspected"] = "suspected"
    version: str


class Traced(Frozen):
    """The lineage was followed from a bad dataset version to the models that learned from it."""

    kind: Literal["traced"] = "traced"
    dataset: str
    version: str
    #: Registered model -> its versions that learned from the dataset version.
    models: dict[str, list[str]]
    #: The declared models that had one of these in production, and the services that answered with them.
    in_production: tuple[str, ...] = ()
    services: tuple[str, ...] = ()


class Triaged(Frozen):
    """What was looked at first, before anything was decided: metrics, recent deployments, quotas."""

    kind: Literal["triaged"] = "triaged"
    #: What was seen, by what was looked at.
    evidence: dict[str, JsonValue]
    #: What could not be seen, and why; it keeps nobody from going on.
    missing: dict[str, str] = Field(default_factory=dict)


class Planned(Frozen):
    """An action looked and said exactly what it would change."""

    kind: Literal["planned"] = "planned"
    plan: Plan


class NotPlanned(Frozen):
    """An action found no safe plan."""

    kind: Literal["not_planned"] = "not_planned"
    action: str
    target: str
    why: str


class Gate(Frozen):
    """What one gate said, and why."""

    name: str
    says: Mode
    why: str
    #: When it would say otherwise, where nothing but time has to pass.
    until: AwareDatetime | None = None


class Approval(Frozen):
    """A yes that stands: of whom, and to which gates. A gate that asks only now was not answered by it."""

    by: tuple[str, ...]
    answers: tuple[str, ...]


class Asked(Frozen):
    """What was asked of the gates, besides the plan; enough to ask another playbook the same later."""

    #: Of the action: its section, what it may cost, and whether it can be undone.
    category: Category
    severity: Severity
    risk: Risk
    reversible: bool
    #: The asset the incident is about; None when it named none that the playbook declares.
    asset: str | None
    #: The asset that the action changes; empty where it is the one above.
    subject: str = ""
    #: Every declared asset that the change touches.
    reach: tuple[str, ...] = ()
    #: The incident; empty where there is none, as in a rehearsal.
    incident: str = ""
    #: The person who runs it by hand; empty when a flow asks.
    person: str = ""
    #: What people said to the very same plan, where enough of them said yes.
    approval: Approval | None = None

    @property
    def changes(self) -> str:
        """The asset that the action changes; empty where none is known."""
        return self.subject or self.asset or ""


class Gated(Frozen):
    """Every gate was asked whether the plan may run, and this is what each said."""

    kind: Literal["gated"] = "gated"
    plan: str
    mode: Mode
    gates: tuple[Gate, ...]
    #: SHA-256 of the playbook that decided.
    playbook: str
    #: The plan's action, and what else was asked; absent from records made before these were kept.
    action: str = ""
    asked: Asked | None = None


class AskedFor(Frozen):
    """People were asked whether a plan may run; the flow has ended, and an answer starts it again."""

    kind: Literal["asked_for"] = "asked_for"
    plan: str
    #: SHA-256 of what is to be done and of the state of the world that it was planned from. Planned again it must be
    #: the same, else the answer is void.
    world: str
    #: SHA-256 of what is to be done, in whatever incident: what a person dismissed is not asked again for a while.
    proposal: str
    severity: Severity
    #: How many people have to say yes, and until when.
    needed: int
    expires_at: AwareDatetime
    #: The gates that asked.
    gates: tuple[str, ...]


class Answered(Frozen):
    """A person, the actor, said yes or no to a plan."""

    kind: Literal["answered"] = "answered"
    plan: str
    yes: bool
    why: str = ""
    #: The one-time link that was used, by its number; empty where none was.
    link: str = ""


class Approved(Frozen):
    """Enough people said yes. The plan may run, if the world still is as it was planned from."""

    kind: Literal["approved"] = "approved"
    plan: str
    by: tuple[str, ...]


class ApprovalVoid(Frozen):
    """What people were asked, and what they answered, no longer holds."""

    kind: Literal["approval_void"] = "approval_void"
    plan: str
    why: str


class Applying(Frozen):
    """The intent: from here on the target may have changed, and after a crash this says to what."""

    kind: Literal["applying"] = "applying"
    plan: str
    #: The fencing token of the lease under which it is done.
    token: int
    #: What each gate said when it was asked again, in the transaction that wrote this, and which playbook decided.
    gates: tuple[Gate, ...] = ()
    playbook: str = ""
    #: The plan's action, and what else was asked, so that an intent says by itself what it is about.
    action: str = ""
    asked: Asked | None = None


class Applied(Frozen):
    """The change was made."""

    kind: Literal["applied"] = "applied"
    plan: str


class Verified(Frozen):
    """After the change: did the target move, and is the symptom gone?"""

    kind: Literal["verified"] = "verified"
    plan: str
    verdict: Verdict


class Conflicted(Frozen):
    """Somebody else changed the target in between; what they set was left as it is."""

    kind: Literal["conflicted"] = "conflicted"
    plan: str
    why: str


class UndoAgreed(Frozen):
    """A person, the actor, says that what was applied is to be taken back; where it takes several, it waits."""

    kind: Literal["undo_agreed"] = "undo_agreed"
    plan: str
    why: str = ""
    #: How many different people have to say so.
    needed: int


class Undoing(Frozen):
    """The intent to bring back what was there before the plan."""

    kind: Literal["undoing"] = "undoing"
    plan: str
    why: str
    token: int


class Undone(Frozen):
    """What was there before the plan is there again."""

    kind: Literal["undone"] = "undone"
    plan: str


class Moved(Frozen):
    """A pointer of production was seen elsewhere than the record has it: somebody else moved it, before it was seen.

    Our own moves are ``Applied`` and ``Undone``. The event's subject is the target, its actor is who saw it.
    """

    kind: Literal["moved"] = "moved"
    #: The version that the record knew last; None where it knew none.
    before: str | None
    #: The version that was seen; None where the pointer is gone.
    after: str | None
    #: Who moved it, where the world says so; empty where it does not.
    by: str = ""
    #: What the record or the world says about the reason; empty where neither says anything.
    why: str = ""


class Reloading(Frozen):
    """A service went on answering with another version than its pointer names, and is told, once, to load that one."""

    kind: Literal["reloading"] = "reloading"
    #: The model's name, and the version that it is to serve.
    model: str
    version: str
    #: Where it is told; the address without a secret.
    url: str


class Contested(Frozen):
    """A challenger and the champion answered the same rows: healthy means that it may take the champion's place."""

    kind: Literal["contested"] = "contested"
    champion: int
    challenger: int
    verdict: Verdict


class Joined(Frozen):
    """Another incident has the same cause, and waits for this one."""

    kind: Literal["joined"] = "joined"
    incident: str
    severity: Severity


class Deferred(Frozen):
    """The incident waits for another, which is about its cause and comes first."""

    kind: Literal["deferred"] = "deferred"
    to: str


class Released(Frozen):
    """The incident that this one waited for has ended, and its own section looks again."""

    kind: Literal["released"] = "released"
    by: str
    why: str


class Failed(Frozen):
    """A step broke. That is an error of ours or of a server, not a verdict about the system."""

    kind: Literal["failed"] = "failed"
    step: str
    error: str


class Escalated(Frozen):
    """The incident went to a person."""

    kind: Literal["escalated"] = "escalated"
    to: str
    why: str


class Resolved(Frozen):
    """The symptom is gone, and that was seen. Or a person says so, and then the actor is that person."""

    kind: Literal["resolved"] = "resolved"
    why: str


class NotConfirmed(Frozen):
    """The symptom that the alert claims was looked for and not found; nothing was changed."""

    kind: Literal["not_confirmed"] = "not_confirmed"
    why: str


class Told(Frozen):
    """A channel accepted a message, or is given up on."""

    kind: Literal["told"] = "told"
    channel: str
    title: str
    delivered: bool
    why: str = ""


class Paused(Frozen):
    """A person stopped automation: until it is lifted, every action asks."""

    kind: Literal["paused"] = "paused"
    why: str


class Unpaused(Frozen):
    """A person lets automation go on, after a pause or after a crash that left a change in doubt."""

    kind: Literal["unpaused"] = "unpaused"
    why: str


class Froze(Frozen):
    """An asset is bad, and for it going back is worse than standing still: until it is lifted, what changes it asks."""

    kind: Literal["froze"] = "froze"
    asset: str
    why: str


class Thawed(Frozen):
    """A person lets automation change an asset again."""

    kind: Literal["thawed"] = "thawed"
    asset: str
    why: str


class AutonomyReset(Frozen):
    """A person says that an action's history before this no longer counts for what it may do by itself."""

    kind: Literal["autonomy_reset"] = "autonomy_reset"
    action: str
    #: None: every category, every severity.
    category: Category | None = None
    severity: Severity | None = None
    why: str


class Stormed(Frozen):
    """So much was done in so short a time that everything asks, and people get this one message instead of many."""

    kind: Literal["stormed"] = "stormed"
    why: str


Body = Annotated[
    Opened
    | Alerted
    | AlertEnded
    | SetAside
    | Started
    | Checked
    | Judged
    | Scanned
    | Suspected
    | Traced
    | Triaged
    | Planned
    | NotPlanned
    | Gated
    | AskedFor
    | Answered
    | Approved
    | ApprovalVoid
    | Applying
    | Applied
    | Verified
    | Conflicted
    | UndoAgreed
    | Undoing
    | Undone
    | Moved
    | Reloading
    | Contested
    | Joined
    | Deferred
    | Released
    | Failed
    | Escalated
    | Resolved
    | NotConfirmed
    | Told
    | Paused
    | Unpaused
    | Froze
    | Thawed
    | AutonomyReset
    | Stormed,
    Field(discriminator="kind"),
]

_body: TypeAdapter[Body] = TypeAdapter(Body)


class Event(Frozen):
    """One line of the record."""

    #: Its place in the chain, from 1, without gaps.
    seq: int
    at: AwareDatetime
    incident: str | None
    #: The asset it speaks of, where it speaks of one: ``dataset:transactions``.
    subject: str | None
    #: Who wrote it: ``flow:data``, ``intake:alertmanager``, ``person:anna``.
    actor: str
    body: Body
    #: SHA-256 of everything above and of the hash of the event before.
    hash: str


def parse_body(text: str) -> Body:
    """Read an event's body from its stored text."""
    return _body.validate_json(text)


def slim_body(text: str) -> Body:
    """The same without the gates' sheets, which are most of an intent's bytes, and which a gate never looks back on."""
    values = json.loads(text)
    values.pop("gates", None)
    return _body.validate_python(values)


def body_json(body: Body) -> dict[str, JsonValue]:
    """An event's body as plain JSON values."""
    return body.model_dump(mode="json")


def storable(body: Body) -> tuple[Body, str]:
    """The body without secrets, and its text, which is what is stored; the same body where it holds none.

    A plan stays as it is: its hash is of every letter, and an action takes none in.
    """
    text = canonical(body_json(body))
    rules = () if isinstance(body, Planned) else possible(text)
    if not rules:
        return body, text
    redaction = Redaction(rules)
    clean = redaction.tree(json.loads(text))
    return (_body.validate_python(clean), canonical(clean)) if redaction.count else (body, text)
