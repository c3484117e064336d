"""What was changed: a plan carried out, verified and taken back, and what others moved."""

from __future__ import annotations

from typing import Literal

from incidents.events.plans import Asked, Gate
from incidents.models import Frozen, Verdict


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


#: Every kind of this family that can stand on the record.
Changed = Applying | Applied | Verified | Conflicted | UndoAgreed | Undoing | Undone | Moved | Reloading | Contested
