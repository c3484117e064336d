"""Bad rows are taken out of a dataset's version, where that is little and what is left is good."""

from __future__ import annotations

import math
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from demo.transactions import break_feed, generate, write_parquet
from flows import proving
from flows.case import Case
from flows.correcting import complete
from flows.data import data
from flows.rehearse import actions, rehearsed
from incidents.events import Checked
from incidents.incident import find
from incidents.ledger import Ledger
from incidents.models import Category, Health, Status, Verdict
from remediations import QuarantineRows
from remediations.base import CannotPlan, Conflict
from remediations.datasets import DatasetStore, open_store
from remediations.row_rules import RowRule, divide
from tests.flows.kit import ChangePlaybook, judge, kinds, opened, run

SUITE = "    suite: transactions\n"
CORRECT = f"{SUITE}    correct: quarantine_rows\n    quarantine: {{at_most: 0.2}}\n"


@pytest.fixture
def store(ledger: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change_playbook: ChangePlaybook) -> Path:
    """The address of a store in a folder, with a good version; the playbook lets a fifth of the rows go."""
    monkeypatch.setenv("LASTGOOD_STORE", f"file://{tmp_path}/store")
    change_playbook(SUITE, CORRECT)
    return tmp_path / "store" / "transactions"


def _opened(folder: Path) -> DatasetStore:
    return open_store(f"file://{folder}", "transactions")


def _spoilt(share: float = 0.01) -> pd.DataFrame:
    """Good rows, but for a few in the first file: an unknown category, no country, an amount that cannot be."""
    rows = generate(12_000)
    few = int(len(rows) * share / 3)
    rows.loc[: few - 1, "merchant_category"] = "crypto_exchange"
    rows.loc[few : 2 * few - 1, "country"] = None
    rows.loc[2 * few : 3 * few - 1, "amount"] = 1_000_000.0
    return rows


def _current(store: DatasetStore, rows: pd.DataFrame, folder: Path) -> str:
    version = store.publish(write_parquet(rows, folder, parts=2)).version
    store.move(store.pointer_to(version, by="test"), expect=None)
    return version


def _action() -> QuarantineRows:
    action = complete(QuarantineRows(dataset="transactions", because="a test"))
    assert isinstance(action, QuarantineRows)
    return action


def test_bad_rows_go_aside_and_the_rest_is_published(store: Path, ledger: Ledger, tmp_path: Path) -> None:
    """Every row is on exactly one side, the plan writes nothing, apply is safe twice, and undo moves the pointer."""
    kept = _opened(store)
    bad = _current(kept, _spoilt(), tmp_path / "rows")
    before, action = kept.current(), _action()
    plan = action.plan()
    assert (kept.versions(), store.with_name("transactions.quarantine").exists()) == ([bad], False)
    assert plan.hash == action.plan().hash, "planned twice from one state it is one plan"
    action.apply(plan)
    action.apply(plan)
    corrected = kept.current().version
    aside = open_store(f"file://{store}.quarantine", "transactions.quarantine")
    [taken] = aside.versions()
    left = pq.read_table(kept.fetch(corrected, tmp_path / "left")).to_pandas()
    gone = pq.read_table(aside.fetch(taken, tmp_path / "gone")).to_pandas()
    assert (len(left), len(gone)) == (11_880, 120)
    assert set(left["transaction_id"]).isdisjoint(gone["transaction_id"])
    assert set(gone["quarantined_because"]) == {
        "merchant_category in set",
        "country not null",
        "amount between 0.01 and 25000",
    }
    action.undo(plan)
    assert kept.current() == before
    assert corrected in kept.versions(), "what was published stays"


def test_somebody_elses_move_in_between_is_left(store: Path, ledger: Ledger, tmp_path: Path) -> None:
    """Law 3: the pointer was moved after the plan; nothing is published, and nothing is moved."""
    kept, action = _opened(store), _action()
    bad = _current(kept, _spoilt(), tmp_path / "rows")
    plan = action.plan()
    kept.move(kept.pointer_to(bad, by="anna"), expect=kept.current())
    with pytest.raises(Conflict, match="left so"):
        action.apply(plan)
    assert (kept.versions(), kept.current().moved_by) == ([bad], "anna")


def test_too_many_bad_rows_are_no_safe_plan(store: Path, ledger: Ledger, tmp_path: Path) -> None:
    """A fifth may go and a third is bad: that is no matter of single rows."""
    _current(_opened(store), _spoilt(0.33), tmp_path / "rows")
    with pytest.raises(CannotPlan, match=r"at most 20\.00% may go"):
        _action().plan()


def test_what_would_not_pass_is_not_published(store: Path, ledger: Ledger, tmp_path: Path) -> None:
    """Cents instead of units are seen in no single row; what is left without the bad ones would be as bad."""
    kept = _opened(store)
    bad = _current(kept, break_feed(generate(12_000)), tmp_path / "rows")
    case = Case(opened(ledger, "dataset:transactions", Category.data), actor="test")
    with pytest.raises(CannotPlan, match="would still not pass"):
        proving.plan(case, _action())
    assert kept.versions() == [bad]


def test_a_rehearsal_says_what_would_be_taken_out_or_why_not(store: Path, ledger: Ledger, tmp_path: Path) -> None:
    """By the rules of the suite, and what is left has to pass it: as the section would, and nothing is published."""
    kept = _opened(store)
    for rows, ready, says in (
        (_spoilt(), True, "without 120 of 12000 rows"),
        (break_feed(generate(12_000)), False, "would still not pass"),
    ):
        store.joinpath("current").unlink(missing_ok=True)
        _current(kept, rows, tmp_path / says)
        before = (kept.versions(), ledger.length())
        [line] = [rehearsed(one) for one in actions() if isinstance(one, QuarantineRows)]
        assert (line.ready, says in line.says) == (ready, True), line.says
        assert (kept.versions(), ledger.length()) == before


def test_the_section_corrects_before_it_rolls_back(
    store: Path, ledger: Ledger, tmp_path: Path, prefect_server: object, mlflow_server: object
) -> None:
    """With ``correct`` in the playbook the good rows of today are kept, and seen to pass; the pointer stays ahead."""
    kept = _opened(store)
    good = kept.publish(write_parquet(generate(12_000, seed=3), tmp_path / "good", parts=1)).version
    bad = _current(kept, _spoilt(), tmp_path / "rows")
    judge(ledger, "dataset:transactions", good, Health.healthy)
    incident = opened(ledger, "dataset:transactions", Category.data)
    outcome = run(data, incident)
    assert outcome.status is Status.resolved, outcome.why
    assert "without 120 of 12000 rows" in outcome.why
    assert kept.current().version not in {good, bad}
    assert kinds(ledger, incident).count("applied") == 1


def test_no_row_is_taken_out_of_another_version_than_the_one_that_was_found_bad(
    store: Path, ledger: Ledger, tmp_path: Path, prefect_server: object, mlflow_server: object
) -> None:
    """It was confirmed of one version, and a person has published another since: what is in that, nobody looked at."""
    kept = _opened(store)
    good = kept.publish(write_parquet(generate(12_000, seed=3), tmp_path / "good", parts=1)).version
    judge(ledger, "dataset:transactions", good)
    bad = kept.publish(write_parquet(_spoilt(0.02), tmp_path / "bad", parts=1)).version
    _current(kept, _spoilt(), tmp_path / "theirs")
    incident = opened(ledger, "dataset:transactions", Category.data)
    seen = Verdict(health=Health.unhealthy, why="seen", evidence={"version": bad, "late": False})
    ledger.append(
        Checked(phase="confirm", verdict=seen), actor="test", incident=incident, subject="dataset:transactions"
    )
    outcome = run(data, incident)
    assert outcome.status is Status.resolved, outcome.why
    assert [attempt.plan.action for attempt in find(ledger, incident).attempts] == ["rollback_dataset"]
    assert (kept.current().version, len(kept.versions())) == (good, 3)


def test_no_row_is_on_neither_side(tmp_path: Path) -> None:
    """NULL is not met by ``not_null`` and meets the rest; a value that is no number is out of every range."""
    file = tmp_path / "rows.parquet"
    columns = {"x": [1.0, 2.0, None, 9.0], "word": ["a", None, "a", "b'"], "y": [0.0, math.nan, 1.0, 2.0]}
    pq.write_table(pa.table(columns), file)
    cases: list[tuple[list[RowRule], int]] = [
        ([RowRule(column="x", kind="not_null")], 1),
        ([RowRule(column="x", kind="between", low=0, high=5)], 1),
        ([RowRule(column="y", kind="between", low=0, high=5)], 1),
        ([RowRule(column="y", kind="between", low=5)], 3),
        ([RowRule(column="word", kind="in_set", values=("b'",))], 2),
        ([RowRule(column="word", kind="matches", pattern="^b'$"), RowRule(column="x", kind="not_null")], 2),
    ]
    for number, (rules, bad) in enumerate(cases):
        folder = tmp_path / str(number)
        found = divide([file], rules, folder)
        kept, taken = (sum(pq.read_metadata(one).num_rows for one in side) for side in (found.kept, found.taken))
        assert (found.bad, kept, taken) == (bad, 4 - bad, bad), rules
    with pytest.raises(CannotPlan, match="told apart"):
        divide([file], [RowRule(column="gone", kind="not_null")], tmp_path / "none")
