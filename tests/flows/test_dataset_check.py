"""The look at a dataset, as the playbook declares it."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from demo.transactions import break_feed, generate, write_parquet
from flows.checks import DatasetCheck
from incidents.models import Health
from incidents.playbook import playbook
from remediations.datasets import open_store
from remediations.datasets.base import DatasetStore
from tests.flows.kit import ChangePlaybook
from tests.remediations.store_kits import DvcKit


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


@pytest.mark.parametrize("kind", ["file+delta", "dvc+file"])
def test_a_version_is_judged_wherever_it_lives(
    kind: str, change_playbook: ChangePlaybook, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The suite passes on the good rows of a table or a repository and fails on the broken ones, current or not."""
    root = f"{kind}://{tmp_path}/store"
    if kind == "dvc+file":
        kit = DvcKit(tmp_path)
        kit.prepare()
        root = kit.address.removesuffix("rows.parquet.dvc")
        change_playbook("/transactions\n    suite", "transactions.dvc\n    suite")
    else:
        change_playbook()
    monkeypatch.setenv("LASTGOOD_STORE", root)
    store = open_store(playbook().datasets["transactions"].store, "transactions")
    good = generate(20_000)
    versions = [published(store, frame, tmp_path / name) for name, frame in (("a", good), ("b", break_feed(good)))]
    look = DatasetCheck(dataset="transactions").look()
    assert (look.version, look.verdict.health) == (versions[1], Health.unhealthy)
    look = DatasetCheck(dataset="transactions", version=versions[0]).look()
    assert (look.version, look.verdict.health) == (versions[0], Health.healthy), look.verdict.why


def published(store: DatasetStore, frame: pd.DataFrame, folder: Path) -> str:
    """These rows, current."""
    return store.publish(write_parquet(frame, folder)).version
