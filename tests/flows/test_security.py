"""The section on security, on the real parts: evidence first, then contain, recover, and hand over."""

from __future__ import annotations

import asyncio
import json
import pickle
import secrets
from collections.abc import Callable
from datetime import datetime
from typing import Any

import pytest

from demo import servers
from demo.servers import Server
from flows import by_hand
from flows.monitor import monitor
from flows.rehearse import rehearse
from flows.security import security
from incidents import approvals, known_good
from incidents import events as e
from incidents.incident import find
from incidents.ledger import Ledger
from incidents.models import Alert, Category, Health, Severity, Status, now
from incidents.playbook import playbook
from remediations import QuarantineModel, RevertModel, clients
from remediations.base import CannotPlan
from remediations.clients import registry
from remediations.marks import open_marks
from remediations.refusals import TAG, recorded
from tests.flows.kit import ChangePlaybook, System, judge, kinds, run
from tests.remediations.model_kit import register

Declared = Callable[..., None]


@pytest.fixture(scope="module")
def locked(s3_server: Server) -> str:
    """A bucket with object lock."""
    name = f"evidence-{secrets.token_hex(4)}"
    clients.s3().create_bucket(Bucket=name, ObjectLockEnabledForBucket=True)
    return name


@pytest.fixture
def declared(change_playbook: ChangePlaybook, locked: str) -> Declared:
    """The shipped playbook with a place for evidence, and with what may be contained."""

    def change(*more: str) -> None:
        evidence = f'evidence: {{store: "s3://{locked}/{secrets.token_hex(4)}", retain_days: 1}}'
        users = "iam_users: {trainer: {user: trainer}}"
        change_playbook("evidence: null", evidence, "iam_users: {}", users, *more)

    return change


def test_a_breach_of_a_model(broken_system: System, ledger: Ledger, declared: Declared, locked: str) -> None:
    """What is in production is kept, shut away, and replaced by what was good before; a person gets the address."""
    declared()
    sign = now()
    judge(ledger, "model:fraud", str(broken_system.model_broken))  # whoever is in may have made it look good since
    incident = begun(ledger, "model:fraud", "ModelTampered", sign, model="fraud")
    outcome = run(security, incident)
    assert outcome.status is Status.escalated
    assert broken_system.alias == broken_system.model_good
    assert incident in registry().get_model_version("fraud", str(broken_system.model_broken)).tags[TAG]
    found = find(ledger, incident)
    assert [attempt.plan.action for attempt in found.attempts] == [
        "preserve_evidence",
        "quarantine_model",
        "revert_model",
    ]
    address = str(found.attempts[0].plan.after["manifest"])
    assert address in outcome.why
    manifest = json.loads(body_of(address))
    assert any(kept["name"].startswith(f"model/{broken_system.model_broken}/") for kept in manifest["kept"])
    assert "fraud is healthy" in outcome.why
    with pytest.raises(CannotPlan, match="quarantined"):
        RevertModel(model="fraud", to=broken_system.model_broken).plan()
    give_back(broken_system)


def test_without_a_place_for_evidence_nothing_is_contained(broken_system: System, ledger: Ledger) -> None:
    """Evidence first: where there can be none, a person decides what may be lost."""
    incident = begun(ledger, "model:fraud", "ModelTampered", now(), model="fraud")
    outcome = run(security, incident)
    assert outcome.status is Status.escalated
    assert "no place for evidence" in outcome.why
    assert "applying" not in kinds(ledger, incident)
    assert broken_system.alias == broken_system.model_broken


def test_what_was_good_only_since_the_first_sign_is_no_way_back(
    system: System, ledger: Ledger, declared: Declared
) -> None:
    """A label that says when it was first seen makes that earlier, and what was verified since then is not trusted."""
    declared()
    system.break_it()
    sign = now()
    judge(ledger, "model:fraud", str(system.model_good))
    incident = begun(ledger, "model:fraud", "ModelTampered", now(), model="fraud", first_seen=sign.isoformat())
    outcome = run(security, incident)
    assert "NOT DONE" in outcome.why
    assert system.alias == system.model_broken
    give_back(system)


def test_poisoned_data_is_brought_back_to_before(broken_system: System, ledger: Ledger, declared: Declared) -> None:
    """The dataset goes back to what was verified before the first sign, with the poisoned version kept as evidence."""
    declared()
    incident = begun(ledger, "dataset:transactions", "DataPoisoned", now(), dataset="transactions")
    outcome = run(security, incident)
    assert broken_system.dataset == broken_system.good
    manifest = json.loads(body_of(str(find(ledger, incident).attempts[0].plan.after["manifest"])))
    assert any(f"data/{broken_system.broken}/" in kept["name"] for kept in manifest["kept"])
    assert "transactions is healthy" in outcome.why
    assert broken_system.alias == broken_system.model_good, "its model learned from the poisoned version"
    judge(ledger, "dataset:transactions", broken_system.broken)  # the suite does not see the poison
    assert broken_system.broken not in known_good.versions(ledger, "dataset:transactions", Health.healthy)
    open_marks(playbook().datasets["transactions"].store).remove(broken_system.broken)


def test_adversarial_input_is_met_at_the_service(broken_system: System, ledger: Ledger, declared: Declared) -> None:
    """The limits are tightened and traffic goes to the fallback; no model is blamed for what it is sent."""
    key = f"limits-{secrets.token_hex(4)}.json"
    clients.s3().put_object(Bucket=servers.BUCKET, Key=key, Body=b'{"rate": 100, "team": "fraud"}')
    fallback = f"    fallback: {broken_system.model_good}\n"
    config = f'    input: {{config: "s3://{servers.BUCKET}/{key}", tightened: {{rate: 5}}}}\n'
    declared("    learns_from: [transactions]\n", f"    learns_from: [transactions]\n{fallback}{config}")
    run(security, begun(ledger, "model:fraud", "AdversarialInput", now(), model="fraud"))
    assert json.loads(body_of(f"s3://{servers.BUCKET}/{key}")) == {"rate": 5, "team": "fraud"}
    assert broken_system.alias == broken_system.model_good
    assert TAG not in registry().get_model_version("fraud", str(broken_system.model_broken)).tags


def test_a_leaked_key_waits_for_people_and_then_is_off(
    system: System, ledger: Ledger, declared: Declared, aws: Callable[[str], Any]
) -> None:
    """What others work with is cut off after people said yes, and evidence was kept before they were asked."""
    declared()
    aws("iam").create_user(UserName="trainer")
    aws("iam").create_access_key(UserName="trainer")
    incident = begun(ledger, "iam_user:trainer", "LeakedKey", now(), iam_user="trainer")
    assert run(security, incident).status is Status.waiting
    assert keys(aws) == ["Active"]
    assert "verified" in kinds(ledger, incident)
    approvals.answer(ledger, playbook(), incident, "person:anna", yes=True)
    outcome = run(security, incident)
    assert outcome.status is Status.escalated
    assert keys(aws) == ["Inactive"]
    assert [attempt.plan.action for attempt in find(ledger, incident).attempts].count("preserve_evidence") == 1


def test_an_undo_of_containment_takes_two_people(system: System, ledger: Ledger, declared: Declared) -> None:
    """One person alone, asking twice, lets nothing in again; a second one does."""
    declared()
    action = QuarantineModel(model="fraud", version=system.model_broken, because="it looked tampered with")
    other = QuarantineModel(model="fraud", version=system.model_good, because="another one")

    def ask(who: str, do: str, what: QuarantineModel = action) -> Any:
        return asyncio.run(by_hand.quarantine_model(action=what, asked_by=who, do=do))

    def shut() -> bool:
        return TAG in registry().get_model_version("fraud", str(system.model_broken)).tags

    assert ask("anna", "apply").status is Status.resolved
    assert ask("anna", "apply", other).status is Status.resolved
    for who in ("anna", "Anna"):
        assert ask(who, "undo").status is Status.escalated
        assert shut()
    assert ask("bert", "undo").status is Status.resolved
    assert not shut()
    assert TAG in registry().get_model_version("fraud", str(system.model_good)).tags, "the other one was taken back"
    give_back(system)


def test_a_rehearsal_plans_containment_too(
    broken_system: System, ledger: Ledger, declared: Declared, aws: Callable[[str], Any]
) -> None:
    """A key that is not there, and evidence that can be kept, are found out before they are needed; nothing is done."""
    declared()
    aws("iam").create_user(UserName="trainer")
    found = {(line.action, line.asset): line for line in asyncio.run(rehearse())}
    assert found["preserve_evidence", "model:fraud"].ready
    assert "no access key" in found["deactivate_access_key", "iam_user:trainer"].says
    assert ledger.events(kinds=["applying"]) == []


def test_the_monitor_looks_through_what_is_registered(system: System, ledger: Ledger, tmp_path: Any) -> None:
    """Every version that is new is on the record as scanned, once; what runs something is found and never loaded."""
    number = register(tmp_path / "files", pickle.dumps(print), "model.pkl", "fraud")
    unsafe = register(tmp_path / "files", pickle.dumps(eval), "model.pkl", "fraud")
    for _ in range(2):
        asyncio.run(monitor())
    for version, health in ((number, Health.healthy), (unsafe, Health.unhealthy)):
        found = recorded("fraud", version)
        assert found is not None
        assert found.verdict.health is health
    scans = [event.body.version for event in ledger.events(kinds=["scanned"]) if isinstance(event.body, e.Scanned)]
    assert len(scans) == len(set(scans))
    for version in (number, unsafe):
        registry().delete_model_version("fraud", version)


def begun(ledger: Ledger, asset: str, name: str, at: datetime, **labels: str) -> str:
    """Open an incident with the alert that began it, as the intake does."""
    alert = Alert(source="generic", fingerprint=name, episode="1", starts_at=at, firing=True, name=name, labels=labels)
    with ledger.write() as writer:
        body = e.Opened(category=Category.security, severity=Severity.high, asset=asset, title=name, alert=alert)
        return writer.open(body, actor="test")


def body_of(address: str) -> bytes:
    """What stands at an address in S3."""
    bucket, _, key = address.removeprefix("s3://").partition("/")
    return clients.s3().get_object(Bucket=bucket, Key=key)["Body"].read()


def keys(aws: Callable[[str], Any]) -> list[str]:
    """Whether the trainer's keys are active."""
    return [one["Status"] for one in aws("iam").list_access_keys(UserName="trainer")["AccessKeyMetadata"]]


def give_back(system: System) -> None:
    """Take the tags away again: the system is shared with the other tests."""
    for version in (system.model_good, system.model_broken):
        if TAG in registry().get_model_version("fraud", str(version)).tags:
            registry().delete_model_version_tag("fraud", str(version), TAG)
