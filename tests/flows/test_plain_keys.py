"""A dataset of plain keys in a versioned bucket, through the real section: bad, brought back, good, taken back."""

from __future__ import annotations

from pathlib import Path

import pytest

from demo import transactions
from flows.checks import DatasetCheck
from flows.data import data
from incidents.incident import find
from incidents.ledger import Ledger
from incidents.models import Category, Health, Status
from remediations import RollbackDataset
from remediations.base import Conflict
from tests.flows.kit import ROWS, ChangePlaybook, System, judge, opened, run
from tests.remediations.plain_keys import PlainKeys


@pytest.fixture
def keys(
    system: System, ledger: Ledger, change_playbook: ChangePlaybook, versioned_bucket: str, tmp_path: Path
) -> PlainKeys:
    """Good data that was seen to be good, overwritten by a broken feed, with one part gone and one too many."""
    keys = PlainKeys()
    change_playbook("${LASTGOOD_STORE:-s3://lastgood}/transactions", keys.uri)
    good = transactions.generate(ROWS)
    keys.store().publish(transactions.write_parquet(good, tmp_path / "good"))
    look = DatasetCheck(dataset="transactions").look()
    assert look.verdict.health is Health.healthy
    judge(ledger, look.subject, str(look.version))
    broken = transactions.write_parquet(transactions.break_feed(good), tmp_path / "broken", parts=5)
    keys.store().publish(broken[1:])
    keys.delete(broken[0].name)
    return keys


def test_the_section_brings_plain_keys_back(keys: PlainKeys, ledger: Ledger, tmp_path: Path) -> None:
    """What was seen bad is seen good again, the keys hold the good bytes, and undo, twice, restores the bad."""
    broken = keys.bytes()
    incident = opened(ledger, "dataset:transactions", Category.data)
    outcome = run(data, incident)
    assert outcome.status is Status.resolved, outcome.why
    assert keys.bytes() == {file.name: file.read_bytes() for file in (tmp_path / "good").iterdir()}

    attempt = find(ledger, incident).attempts[0]
    assert attempt.state == "healthy"
    action = RollbackDataset(dataset="transactions", because=incident)
    for _ in range(2):
        action.undo(attempt.plan)
        assert keys.bytes() == broken
    assert DatasetCheck(dataset="transactions").look().verdict.health is Health.unhealthy


def test_planning_writes_nothing_and_a_person_in_between_wins(keys: PlainKeys, ledger: Ledger) -> None:
    """Law 3: a plan is void once somebody wrote a key, and verifying what was not applied says so."""
    action = RollbackDataset(dataset="transactions", because="a test")
    files = keys.store().versions()
    plan = action.plan()
    assert action.plan() == plan
    assert keys.store().versions() == files
    assert any("copies" in line for line in plan.because)
    keys.put("part-00002.parquet", "a person's")
    left = keys.bytes()
    with pytest.raises(Conflict):
        action.apply(plan)
    assert keys.bytes() == left
    assert action.verify(plan).health is Health.unhealthy
