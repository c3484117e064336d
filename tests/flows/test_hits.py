"""What an alert says is hit: labels of declared assets, by whatever name, and the first sign."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from flows.hits import Hits, hits
from incidents.breach import Bucket, IamUser, ManagedSecret
from incidents.incident import Incident
from incidents.models import Alert, Category, Severity
from incidents.playbook import Playbook, load

AT = datetime(2026, 11, 25, 3, tzinfo=UTC)


@pytest.fixture(scope="module")
def playbook() -> Playbook:
    """The shipped playbook, with more declared."""
    declared: dict[str, Any] = {
        "buckets": {"feeds": Bucket(bucket="company-feeds")},
        "iam_users": {"trainer": IamUser(user="ml-trainer")},
        "secrets": {"signing": ManagedSecret(id="prod/signing")},
    }
    return load(Path(__file__).parents[2] / "playbook.yaml", {}).model_copy(update=declared)


def seen(playbook: Playbook, name: str = "Breach", **labels: str) -> Hits:
    """What is hit where one alert has these labels."""
    alert = Alert(source="generic", fingerprint="f", episode="1", starts_at=AT, firing=True, name=name, labels=labels)
    incident = Incident(
        name="INC-1",
        category=Category.security,
        severity=Severity.high,
        asset="model:fraud",
        title=name,
        opened_at=AT + timedelta(minutes=1),
        alerts=[alert],
    )
    return hits(incident, playbook)


def test_what_labels_name_by_either_name(playbook: Playbook) -> None:
    """The incident's own asset first; a bucket, a user or a secret by its name here or by AWS's."""
    found = seen(playbook, bucket="company-feeds", iam_user="trainer", secret_name="prod/signing", dataset="nowhere")
    assert found.assets == ("model:fraud", "bucket:feeds", "iam_user:trainer", "secrets_manager:signing")
    assert found.of("bucket") == ["feeds"]


@pytest.mark.parametrize(
    ("first_seen", "sign"),
    [
        ("2026-11-20T00:00:00Z", datetime(2026, 11, 20, tzinfo=UTC)),
        ("2026-11-20T00:00:00", datetime(2026, 11, 20, tzinfo=UTC)),
        ("2026-12-24T00:00:00Z", AT),
        ("yesterday", AT),
    ],
)
def test_the_first_sign_only_gets_earlier(first_seen: str, sign: datetime, playbook: Playbook) -> None:
    """Whoever writes labels can make us trust less, and never more."""
    assert seen(playbook, first_seen=first_seen).first_sign == sign


@pytest.mark.parametrize(
    ("name", "labels", "by_input"),
    [
        ("AdversarialInput", {}, True),
        ("ModelTampered", {"attack": "model extraction"}, True),
        ("ModelTampered", {}, False),
    ],
)
def test_an_attack_through_the_input(name: str, labels: dict[str, str], by_input: bool, playbook: Playbook) -> None:
    """The alert's name says it, or a label does."""
    assert seen(playbook, name, **labels).by_input is by_input


@pytest.mark.parametrize(
    ("name", "labels", "asset"),
    [
        ("ModelTampered", {"model": "fraud"}, "model:fraud"),
        ("DataPoisoned", {"dataset": "transactions"}, "dataset:transactions"),
        ("LeakedKey", {"iam_user": "trainer"}, "iam_user:trainer"),
        ("SecretLeaked", {"secret_name": "signing"}, "secrets_manager:signing"),
        ("UnauthorizedAccess", {"bucket": "feeds"}, "bucket:feeds"),
        ("IntrusionDetected", {}, ""),
    ],
)
def test_the_shipped_routes(name: str, labels: dict[str, str], asset: str, playbook: Playbook) -> None:
    """An attack on something that is named is about that, and is security's whatever else it might be."""
    alert = Alert(source="generic", fingerprint="f", episode="1", starts_at=AT, firing=True, name=name, labels=labels)
    route = playbook.route(alert)
    assert route is not None
    assert (route.category, route.names(alert)) == (Category.security, asset)
