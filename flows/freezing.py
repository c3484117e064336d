"""Where going back is worse than standing still, the asset is frozen: no automation changes it until that is lifted."""

from __future__ import annotations

from flows.case import Case
from incidents import events as e
from incidents.history import AUTOMATION


def freeze(case: Case, asset: str, why: str) -> str | None:
    """Hold every automated change of an asset that the playbook says to freeze, and say so; None: it says to go back.

    Entered again, it is on the record already. ``lastgood thaw`` lifts it, and then it is not frozen a second time for
    the same incident.
    """
    kind, _, name = asset.partition(":")
    declared = case.playbook.datasets[name] if kind == "dataset" else case.playbook.models[name]
    if declared.when_bad != "freeze":
        return None
    frozen = [event.body.asset for event in case.incident.events if isinstance(event.body, e.Froze)]
    if asset not in frozen:
        case.record(e.Froze(asset=asset, why=why), subject=AUTOMATION)
    if _thawed_last(case, asset):
        return f"{asset} was frozen, a person has thawed it since, and it is left as it is. {why}"
    return f"{asset} is frozen and left as it is, as the playbook says; `lastgood thaw {asset}` lifts it. {why}"


def _thawed_last(case: Case, asset: str) -> bool:
    """Whether the last word on the asset is that it was thawed."""
    said = case.ledger.events(subject=AUTOMATION, kinds=["froze", "thawed"])
    about = [event.body for event in said if isinstance(event.body, e.Froze | e.Thawed) and event.body.asset == asset]
    return bool(about) and isinstance(about[-1], e.Thawed)
