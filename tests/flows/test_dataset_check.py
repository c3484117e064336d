"""The look at a dataset, as the playbook declares it."""

from __future__ import annotations

from pathlib import Path

import pytest

from demo.transactions import generate, write_parquet
from flows.checks import DatasetCheck
from incidents.models import Health
from remediations.datasets import open_store
from tests.flows.kit import ChangePlaybook


def test_a_declared_sample_is_drawn_and_said(
    change_playbook: ChangePlaybook, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With ``sample_rows`` in the playbook the verdict is of a sample, and says of how many rows."""
    root = f"file://{tmp_path}/store"
    monkeypatch.setenv("LASTGOOD_STORE", root)
    change_playbook("suite: transactions\n", "suite: transactions\n    sample_rows: 100000\n")
    store = open_store(f"{root}/transactions", "transactions")
    version = store.publish(write_parquet(generate(120_000), tmp_path / "files")).version
    store.move(store.pointer_to(version, by="test"), expect=None)
    look = DatasetCheck(dataset="transactions").look()
    assert (look.version, look.verdict.health) == (version, Health.healthy)
    assert f"{version}: transactions, sampled " in look.verdict.why
    assert " of 120000 rows" in look.verdict.why
