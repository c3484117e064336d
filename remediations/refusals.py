"""Why a registered version is no target, whatever it was once found to be: shut away, or unsafe to load."""

from __future__ import annotations

from incidents.events import Scanned
from incidents.ledger import ledger
from incidents.models import Health
from incidents.playbook import playbook
from incidents.quarantine import quarantined
from remediations.clients import registry
from remediations.scanning import Scan, scan

#: The tag by which whoever opens MLflow sees that a version is shut away.
TAG = "lastgood.quarantined"


def recorded(model: str, version: int | str) -> Scan | None:
    """What the last scan of a version on the record found; None: there is none."""
    for event in reversed(ledger().events(subject=f"model:{model}", kinds=["scanned"])):
        if isinstance(event.body, Scanned) and event.body.version == str(version):
            return Scan(digest=event.body.digest, verdict=event.body.verdict)
    return None


def refused(model: str, version: int, *, look: bool = False) -> str | None:
    """Why this version may not be put into production; None where nothing is against it.

    With ``look`` its files are read again, because since the last scan somebody may have changed them.

    Raises:
        MlflowException: MLflow does not answer.
    """
    shut = {name: quarantined(ledger(), f"model:{name}") for name in playbook().models}
    if str(version) in shut.get(model, {}):
        return f"it is quarantined: {shut[model][str(version)].why}"
    tag = registry().get_model_version(model, str(version)).tags.get(TAG)
    if tag is not None:
        return f"it is tagged as quarantined: {tag}"
    before = recorded(model, version)
    found = scan(model, version) if look or before is None or not before.digest else before
    if before is not None and before.digest and found.digest and before.digest != found.digest:
        return "its files were changed since they were scanned"
    if not found.digest:  # nobody could read it, so nobody knows whose content it is
        return found.verdict.why
    same = [
        f"{name} {one.version}" for name, ones in shut.items() for one in ones.values() if one.digest == found.digest
    ]
    if same:
        return f"its content is that of {', '.join(same)}, which is quarantined"
    if found.verdict.health is Health.healthy or playbook().models[model].unsafe_pickles == "allow":
        return None
    return found.verdict.why
