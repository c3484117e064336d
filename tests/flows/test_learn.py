"""A suite is learned from a good version, and tells it from a bad one."""

from __future__ import annotations

from pathlib import Path

import pytest

import expectations
from demo.transactions import break_feed, generate, write_parquet
from expectations.engine import validate
from flows.learn import CannotLearn, learned
from incidents.ledger import Ledger
from incidents.models import Health
from remediations.datasets import open_store
from tests.flows.kit import ChangePlaybook, judge


def test_a_learned_suite_passes_its_version_and_fails_the_broken_one(
    ledger: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change_playbook: ChangePlaybook
) -> None:
    """It meets what it was learned from in full, other good rows too, and finds what is wrong with a broken feed."""
    monkeypatch.setenv("LASTGOOD_STORE", f"file://{tmp_path}/store")
    change_playbook(
        "  labelled_transactions:  #", '  learned: {store: "${LASTGOOD_STORE}/learned"}\n  labelled_transactions:  #'
    )
    rows = generate(12_000)
    files = write_parquet(rows, tmp_path / "good", parts=1)
    version = open_store(f"file://{tmp_path}/store/learned", "learned").publish(files).version
    with pytest.raises(CannotLearn, match="name the one"):
        learned("learned", None)
    judge(ledger, "dataset:learned", version)
    file = learned("learned", None)
    assert version in file.read_text()
    monkeypatch.setattr(expectations, "__path__", [*expectations.__path__, str(file.parent)])
    on_its_own = validate("learned", files)
    assert (on_its_own.verdict.health, on_its_own.failures) == (Health.healthy, ())
    others = write_parquet(generate(12_000, seed=5), tmp_path / "others", parts=1)
    assert validate("learned", others).verdict.health is Health.healthy
    broken = validate("learned", write_parquet(break_feed(rows), tmp_path / "broken", parts=1))
    assert broken.verdict.health is Health.unhealthy
    critical = {one.column for one in broken.failures if one.severity == "critical"}
    assert critical >= {"amount", "distance_from_home_km", "merchant_category"}
