"""The IAM policy of a deployment: what the actions need that its playbook can reach, and no more.

``python -m remediations.policy`` prints it for the playbook of ``LASTGOOD_PLAYBOOK``.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from incidents.models import Mode
from incidents.playbook import Playbook, playbook
from remediations import ALL, Remediation
from remediations.permissions import Statement
from remediations.services import open_service


def reachable(book: Playbook) -> list[type[Remediation]]:
    """The actions that may run at all: an action with no rule asks, so it may; one that says never may not."""
    never = {name for name, rule in book.actions.items() if rule.mode is Mode.never}
    return [action for action in ALL if action.name() not in never]


def looking(book: Playbook) -> list[Statement]:
    """What it takes to look at services: their state, and before anything is decided, their metrics and quotas."""
    opened = [open_service(service) for service in book.services.values()]
    found = [one for running in opened for one in running.to_look()]
    if any(running.metric for running in opened):
        found.append(Statement(actions=("cloudwatch:GetMetricStatistics",)))
    if any(running.quotas for running in opened):
        found.append(Statement(actions=("servicequotas:GetServiceQuota",)))
    return found


def policy(book: Playbook) -> dict[str, Any]:
    """The policy document, one statement a resource."""
    return document([*looking(book), *(one for action in reachable(book) for one in action.statements(book))])


def document(statements: Iterable[Statement]) -> dict[str, Any]:
    """Statements as a policy document: those on the same resource are one."""
    allowed: dict[str, set[str]] = {}
    for statement in statements:
        allowed.setdefault(statement.resource, set()).update(statement.actions)
    return {
        "Version": "2012-10-17",
        "Statement": [
            {"Effect": "Allow", "Action": sorted(actions), "Resource": resource}
            for resource, actions in sorted(allowed.items())
        ],
    }


if __name__ == "__main__":
    print(json.dumps(policy(playbook()), indent=2))
