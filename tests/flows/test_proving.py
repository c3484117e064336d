"""A version that a rollback would bring back passes its suite before the pointer moves."""

from __future__ import annotations

from pathlib import Path

import pytest

from demo.transactions import break_feed, generate, write_parquet
from flows import correcting, proving
from flows.case import Case
from flows.checks import DatasetCheck
from flows.rehearse import actions, rehearsed
from incidents import known_good
from incidents.events import Applying, Judged, Planned
from incidents.ledger import Ledger
from incidents.models import Category, Health, Plan
from remediations import RollbackDataset
from remediations.base import CannotPlan
from remediations.datasets import DatasetStore, open_store
from tests.flows.kit import ChangePlaybook, judge, kinds, opened


@pytest.fixture
def store(ledger: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> DatasetStore:
    """A store in a folder; the playbook's dataset is there."""
    monkeypatch.setenv("LASTGOOD_STORE", f"file://{tmp_path}/store")
    return open_store(f"file://{tmp_path}/store/transactions", "transactions")


def _published(store: DatasetStore, folder: Path, seed: int, bad: bool = False) -> str:
    rows = generate(12_000, seed=seed)
    return store.publish(write_parquet(break_feed(rows) if bad else rows, folder / f"{seed}", parts=1)).version


def test_a_version_that_fails_the_suite_of_today_is_planned_around(
    store: DatasetStore, ledger: Ledger, tmp_path: Path
) -> None:
    """It was called good once; looked at before the pointer moves it is bad, so the next one is taken."""
    versions = sorted([_published(store, tmp_path, 1), _published(store, tmp_path, 2), _published(store, tmp_path, 3)])
    good, now = versions[0], versions[1]
    bad = _published(store, tmp_path, 4, bad=True)
    store.move(store.pointer_to(now, by="test"), expect=None)
    for version in (good, bad):
        judge(ledger, "dataset:transactions", version)
    case = Case(opened(ledger, "dataset:transactions", Category.data), actor="test")
    made = proving.plan(case, RollbackDataset(dataset="transactions", because="a test"))
    assert made.after["version"] == good
    assert known_good.versions(ledger, "dataset:transactions", Health.unhealthy) == {bad}
    assert store.current().version == now
    with pytest.raises(CannotPlan, match="never verified good"):
        proving.plan(case, RollbackDataset(dataset="transactions", to=bad, because="a test"))


def test_the_records_verdict_counts_while_the_suite_is_the_same(
    store: DatasetStore, ledger: Ledger, tmp_path: Path, change_playbook: ChangePlaybook
) -> None:
    """What this suite found of this very version is not looked for again; another suite's word does not count."""
    good, now = sorted([_published(store, tmp_path, 1), _published(store, tmp_path, 2)])
    store.move(store.pointer_to(now, by="test"), expect=None)
    look = DatasetCheck(dataset="transactions", version=good).look()
    assert (look.version, look.verdict.health) == (good, Health.healthy)
    incident = opened(ledger, "dataset:transactions", Category.data)
    case, action = Case(incident, actor="test"), RollbackDataset(dataset="transactions", because="a test")
    ledger.append(Judged(version=good, verdict=look.verdict), actor="test", subject="dataset:transactions")
    proving.plan(case, action)
    assert "judged" not in kinds(ledger, incident)
    other = look.verdict.model_copy(update={"evidence": {"validation": {"fingerprint": "another"}}})
    ledger.append(Judged(version=good, verdict=other), actor="test", subject="dataset:transactions")
    proving.plan(case, action)
    assert "judged" in kinds(ledger, incident)


def test_a_preview_decides_as_a_run_would_and_records_nothing(
    store: DatasetStore, ledger: Ledger, tmp_path: Path
) -> None:
    """It plans around the version that fails today, as the run after it does, and the record stays as it was."""
    good, now = sorted([_published(store, tmp_path, 1), _published(store, tmp_path, 2)])
    bad = _published(store, tmp_path, 4, bad=True)
    store.move(store.pointer_to(now, by="test"), expect=None)
    for version in (good, bad):
        judge(ledger, "dataset:transactions", version)
    action, before = RollbackDataset(dataset="transactions", because="a test"), ledger.length()
    assert action.plan().after["version"] == bad
    seen = proving.preview(action)
    assert (seen.after["version"], ledger.length()) == (good, before)
    [line] = [rehearsed(one) for one in actions() if isinstance(one, RollbackDataset)]
    assert (line.ready, bad in line.says, good in line.says, ledger.length()) == (True, False, True, before)
    case = Case(opened(ledger, "dataset:transactions", Category.data), actor="test")
    assert proving.plan(case, action).after["version"] == good


def test_what_was_to_be_left_is_not_there_any_more(store: DatasetStore, ledger: Ledger, tmp_path: Path) -> None:
    """Law 3: what was made anew takes the place of the version that it was made for, and of no newer one."""
    made, bad, theirs = sorted(_published(store, tmp_path, seed) for seed in (1, 2, 3))
    store.move(store.pointer_to(theirs, by="a person"), expect=None)
    judge(ledger, "dataset:transactions", made)
    with pytest.raises(CannotPlan, match=f"at {theirs} now, and only {bad} was to be left"):
        RollbackDataset(dataset="transactions", to=made, only_from=bad, because="a test").plan()
    assert (
        RollbackDataset(dataset="transactions", to=made, only_from=theirs, because="a test").plan().after["version"]
        == made
    )


@pytest.mark.parametrize(("only_from", "standing"), [(None, False), ("v2", True)])
def test_a_rollback_is_no_correction_that_was_left_standing(
    ledger: Ledger, only_from: str | None, standing: bool
) -> None:
    """Entered again after its own rollback, the section goes on, and does not take that for a correction in vain."""
    incident = opened(ledger, "dataset:transactions", Category.data)
    action = RollbackDataset(dataset="transactions", to="v1", only_from=only_from, because="a test")
    plan = Plan(
        action=action.name(),
        parameters=action.model_dump(mode="json"),
        target=action.subject(),
        before={"version": "v2"},
        after={"version": "v1"},
        summary="transactions: v2 -> v1",
    )
    for body in (Planned(plan=plan), Applying(plan=plan.hash, token=1)):
        ledger.append(body, actor="test", incident=incident, subject=plan.target)
    assert correcting._left_standing(Case(incident, actor="test"), "transactions") is standing
