"""A suite is learned from a good version, and tells it from a bad one."""

from __future__ import annotations

from datetime import timedelta
from functools import partial
from pathlib import Path

import pandas as pd
import pytest

import expectations
from demo.transactions import break_feed, generate, write_parquet
from expectations.engine import Validation, validate
from expectations.learning import learn
from expectations.reference import profile
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
    assert broken.skipped
    critical = {one.column for one in broken.failures if one.severity == "critical"}
    assert critical >= {"amount", "distance_from_home_km", "merchant_category"}


def test_a_learned_suite_compares_with_the_last_good_version(
    ledger: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What meets every fixed limit and is spread in another way is found; what is like the last version is good."""
    rows = generate(12_000)
    files = write_parquet(rows, tmp_path / "good", parts=1)
    newest = rows["event_time"].max().to_pydatetime()
    text = learn("learned_drift", files, "here", newest + timedelta(hours=20))
    assert 'arrival.ExpectColumnAgeToBeLessThan(column="event_time", hours=40, severity="warning")' in text
    assert 'ToBeLessThan(column="customer_id"' not in text, "a number that names something has no spread"
    assert "AgeToBeLessThan" not in learn("learned_drift", files, "here", newest - timedelta(hours=1))
    (tmp_path / "learned_drift.py").write_text(text)
    monkeypatch.setattr(expectations, "__path__", [*expectations.__path__, str(tmp_path)])

    def of(frame: pd.DataFrame, name: str, hours: float = 20) -> Validation:
        given = {"reference_of": partial(profile, files, "v1"), "moment": newest + timedelta(hours=hours)}
        return validate("learned_drift", write_parquet(frame, tmp_path / name, parts=1), timely=True, **given)

    others = of(generate(12_000, seed=5), "others")
    assert (others.verdict.health, others.skipped) == (Health.healthy, ()), others.verdict.why
    shifted = of(rows.assign(merchant_category=rows["merchant_category"].replace("grocery", "jewelry")), "shifted")
    critical = [one.expectation for one in shifted.failures if one.severity == "critical"]
    assert critical == ["expect_column_psi_to_be_less_than"], shifted.verdict.why
    late = of(rows, "late", hours=41)
    assert [one.expectation for one in late.failures] == ["expect_column_age_to_be_less_than"]
    assert late.verdict.health is Health.healthy, "learned, it warns: only who knows the feed can say how late is late"
