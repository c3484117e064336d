"""What an incident's alerts say is hit, of what the playbook declares, and which was the first sign of it."""

from __future__ import annotations

import re
from datetime import UTC, datetime

from incidents.incident import Incident
from incidents.models import Alert, Frozen
from incidents.playbook import Playbook

#: An alert of such a name, or with such a label ``attack``, is about what a service is sent, and not about its model.
_BY_INPUT = re.compile(r"(?i)adversarial|evasion|extraction|inversion|injection|flood|scraping")

#: Label -> the kind of asset that it names.
_LABELS = {
    "bucket": "bucket",
    "dataset": "dataset",
    "iam_user": "iam_user",
    "model": "model",
    "secret_name": "secrets_manager",  # a label called `secret` would be taken out of the record
}


class Hits(Frozen):
    """What is hit."""

    #: Declared assets, ``model:fraud``, the incident's own first.
    assets: tuple[str, ...]
    #: What is hit through what a service is sent.
    by_input: bool
    #: What was verified good before this is trusted, and nothing since.
    first_sign: datetime

    def of(self, kind: str) -> list[str]:
        """The names of what is hit of one kind: ``of("model")`` -> ``["fraud"]``."""
        return [asset.partition(":")[2] for asset in self.assets if asset.partition(":")[0] == kind]


def hits(incident: Incident, playbook: Playbook) -> Hits:
    """Read the labels of every alert of the incident. What the playbook does not declare is left to people."""
    named = [incident.asset] if incident.asset else []
    for alert in incident.alerts:
        named += [_declared(kind, alert.labels.get(label, ""), playbook) for label, kind in _LABELS.items()]
    signs = [incident.opened_at, *(_first_seen(alert) for alert in incident.alerts)]
    words = " ".join(f"{alert.name} {alert.labels.get('attack', '')}" for alert in incident.alerts)
    return Hits(
        assets=tuple(dict.fromkeys(asset for asset in named if asset and playbook.asset(asset))),
        by_input=bool(_BY_INPUT.search(words)),
        first_sign=min(signs),
    )


def _declared(kind: str, given: str, playbook: Playbook) -> str:
    """The asset that a label names: by its name in the playbook, or by the name that AWS has for it."""
    real = {
        "bucket": {one.bucket: name for name, one in playbook.buckets.items()},
        "iam_user": {one.user: name for name, one in playbook.iam_users.items()},
        "secrets_manager": {one.id: name for name, one in playbook.secrets.items()},
    }
    return f"{kind}:{real.get(kind, {}).get(given, given)}" if given else ""


def _first_seen(alert: Alert) -> datetime:
    """When it began; a label ``first_seen`` can only make that earlier, so nobody is made to trust more by it."""
    try:
        told = datetime.fromisoformat(alert.labels.get("first_seen", ""))
    except ValueError:
        return alert.starts_at
    return min(alert.starts_at, told if told.tzinfo else told.replace(tzinfo=UTC))
