"""Which versions are shut away: a fold over what was applied and not taken back. From the intent on they count."""

from __future__ import annotations

import re

from incidents import events as e
from incidents.ledger import Ledger
from incidents.models import Frozen

_SHA256 = re.compile(r"sha256 ([0-9a-f]{64})")


class Quarantine(Frozen):
    """A version that is never a target."""

    version: str
    #: SHA-256 of its content, which is refused under whatever name; empty where it could not be read.
    digest: str
    why: str


def target(subject: str) -> str:
    """What a plan that shuts a version of an asset away is about: ``quarantine:model:fraud``."""
    return f"quarantine:{subject}"


def quarantined(ledger: Ledger, subject: str) -> dict[str, Quarantine]:
    """The versions of an asset that are shut away, by version."""
    plans, shut = {}, {}
    for event in ledger.events(subject=target(subject), kinds=["planned", "applying", "undone"]):
        match event.body:
            case e.Planned(plan=plan):
                plans[plan.hash] = plan
            case e.Applying(plan=name) if name in plans:
                shut[name] = plans[name]
            case e.Undone(plan=name):
                shut.pop(name, None)
            case _:
                pass
    found = {}
    for plan in shut.values():
        text, version = str(plan.after.get("tag") or ""), str(plan.parameters["version"])
        named = _SHA256.findall(text)  # ours stands last: what comes before may be a person's words
        found[version] = Quarantine(version=version, digest=named[-1] if named else "", why=text)
    return found
