"""How automation stands, beyond one incident: stopped, frozen, let go on, its history set back, in a storm."""

from __future__ import annotations

from typing import Literal

from incidents.models import Category, Frozen, Severity


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


#: Every kind of this family that can stand on the record.
Stands = Paused | Unpaused | Froze | Thawed | AutonomyReset | Stormed
