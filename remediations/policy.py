"""The IAM policy of a deployment: what the actions need that its playbook can reach, and no more.

``python -m remediations.policy`` prints it for the playbook of ``LASTGOOD_PLAYBOOK``. MLflow's files are not in it,
because its server hands them out. Where yours hands out addresses in S3 instead, add ``s3:GetObject`` and
``s3:ListBucket`` on those; where a bucket or a secret has its own key in KMS, ``kms:Decrypt`` and
``kms:GenerateDataKey`` on that.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from fnmatch import fnmatchcase
from typing import Any

from incidents.models import Mode
from incidents.playbook import Playbook, playbook
from remediations import ALL, Remediation
from remediations.anchors import to_anchor
from remediations.datasets.access import to_read
from remediations.permissions import Statement
from remediations.services import open_service


def reachable(book: Playbook) -> list[type[Remediation]]:
    """The actions that may run at all: an action with no rule asks, so it may; one that says never may not."""
    never = {name for name, rule in book.actions.items() if rule.mode is Mode.never}
    return [action for action in ALL if action.name() not in never]


def looking(book: Playbook) -> list[Statement]:
    """What it takes to look, which comes before and after every action: at datasets, and at services.

    Of services, their state, and before anything is decided, their metrics and quotas.
    """
    opened = [open_service(service) for service in book.services.values()]
    found = [one for dataset in book.datasets.values() for one in to_read(dataset.store)]
    found += [one for running in opened for one in running.to_look()]
    if any(running.metric for running in opened):
        found.append(Statement(actions=("cloudwatch:GetMetricStatistics",)))
    if any(running.quotas for running in opened):
        found.append(Statement(actions=("servicequotas:GetServiceQuota",)))
    return found


def policy(book: Playbook) -> dict[str, Any]:
    """The policy document, one statement a resource."""
    acting = [one for action in reachable(book) for one in action.statements(book)]
    anchoring = [one for place in book.anchors for one in to_anchor(place)]
    return document([*looking(book), *acting, *anchoring])


def document(statements: Iterable[Statement]) -> dict[str, Any]:
    """Statements as a policy document: those on the same resource are one, and none says what a wider one says."""
    allowed: dict[tuple[str, str], set[str]] = {}
    for statement in statements:
        allowed.setdefault((statement.resource, statement.passed_to), set()).update(statement.actions)
    made = []
    for (resource, passed_to), actions in sorted(allowed.items()):
        wider = [
            kind
            for kind in allowed
            if kind != (resource, passed_to) and fnmatchcase(resource, kind[0].replace("[", "[[]"))
        ]
        left = actions - {action for kind in wider if kind[1] in {"", passed_to} for action in allowed[kind]}
        condition = {"Condition": {"StringEquals": {"iam:PassedToService": passed_to}}} if passed_to else {}
        if left:
            made.append({"Effect": "Allow", "Action": sorted(left), "Resource": resource, **condition})
    return {"Version": "2012-10-17", "Statement": made}


if __name__ == "__main__":
    print(json.dumps(policy(playbook()), indent=2))
