"""A version is compared with the newest one before it that was verified good, as the record has it at that moment."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import expectations
from flows import proving, references
from flows.case import Case
from flows.checks import DatasetCheck, Look
from flows.data import data
from incidents.events import Judged
from incidents.ledger import Ledger
from incidents.models import Category, Health, Status, now
from incidents.settings import settings
from remediations import RollbackDataset
from remediations.datasets import DatasetStore, open_store
from tests.flows.kit import ChangePlaybook, judge, kinds, opened, run

SUITE = """
from expectations.engine import declare
NAME, KEY = "compared", "id"

def suite():
    import great_expectations.expectations as gxe
    from expectations.arrival import ExpectColumnAgeToBeLessThan
    from expectations.drift import ExpectColumnPsiToBeLessThan
    return declare(NAME, [
        gxe.ExpectColumnValuesToNotBeNull(column="x"),
        ExpectColumnPsiToBeLessThan(column="x", threshold=0.25),
        ExpectColumnAgeToBeLessThan(column="time", hours=24),
    ])
"""

#: Where the dataset is put into the playbook, and what is put there.
LABELLED = "  labelled_transactions:  #"
COMPARED = '  compared: {{store: "${{LASTGOOD_STORE}}/compared", suite: compared{}}}\n'


class Versions:
    """A dataset in a folder, and versions of it, one a day."""

    def __init__(self, store: DatasetStore, folder: Path, ledger: Ledger) -> None:
        self.store, self.folder, self.ledger, self.made = store, folder, ledger, 0

    def lose(self, version: str) -> None:
        """Take its one object away, as a clean-up that goes too far does."""
        [gone] = self.store.manifest(version).model_dump()["objects"]
        (self.folder / "store" / "compared" / "objects" / gone["sha256"]).unlink()

    def publish(self, mean: float, age_hours: float = 1, good: bool = False, nulls: int = 0) -> str:
        """Publish rows around that mean, make them current, and where they are good, put that on the record."""
        self.made += 1
        rng, file = np.random.default_rng(self.made), self.folder / f"{self.made}.parquet"
        time = pa.array([now() - timedelta(hours=age_hours)] * 2_000, pa.timestamp("us", tz="UTC"))
        values = [*rng.normal(mean, 1, 2_000 - nulls), *[None] * nulls]
        pq.write_table(pa.table({"id": range(2_000), "x": values, "time": time}), file)
        at = datetime(2026, 11, self.made, tzinfo=UTC)
        version = self.store.publish([file], at=at).version
        before = self.store.current() if self.made > 1 else None
        self.store.move(self.store.pointer_to(version, by="test"), expect=before)
        if good:
            judge(self.ledger, "dataset:compared", version)
        return version


@pytest.fixture
def versions(
    ledger: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change_playbook: ChangePlaybook
) -> Iterator[Versions]:
    """A declared dataset, whose suite looks for drift and at how fresh it is."""
    monkeypatch.setenv("LASTGOOD_STORE", f"file://{tmp_path}/store")
    change_playbook(LABELLED, COMPARED.format("") + LABELLED)
    (tmp_path / "suites").mkdir()
    (tmp_path / "suites" / "compared.py").write_text(SUITE)
    monkeypatch.setattr(expectations, "__path__", [*expectations.__path__, str(tmp_path / "suites")])
    yield Versions(open_store(f"file://{tmp_path}/store/compared", "compared"), tmp_path, ledger)
    sys.modules.pop("expectations.compared", None)


def look(version: str | None = None) -> Look:
    """What the dataset's check sees."""
    return DatasetCheck(dataset="compared", version=version).look()


def test_the_first_version_can_be_good_and_the_next_is_compared_with_it(versions: Versions) -> None:
    """Nothing to compare with is no failure; then drift is one, against the newest good version and no other."""
    versions.publish(0)
    first = look()
    assert first.verdict.health is Health.healthy
    assert "no version before it was verified good" in first.verdict.why
    versions.publish(5, good=True)
    good = versions.publish(0, good=True)
    versions.publish(9)  # nobody has called it good, so nothing is compared with it
    assert look().verdict.health is Health.unhealthy
    assert f"against {good}" in look().verdict.why
    versions.publish(0)
    assert look().verdict.health is Health.healthy


def test_what_is_found_bad_is_no_reference_any_more(versions: Versions) -> None:
    """The record decides at the moment of the look: the one before it takes its place."""
    first, second = versions.publish(0, good=True), versions.publish(5, good=True)
    versions.publish(5)
    assert look().verdict.health is Health.healthy
    assert "no version before it" in look(first).verdict.why, "what came later is no reference"
    judge(versions.ledger, "dataset:compared", second, Health.unhealthy)
    assert f"against {first}" in look().verdict.why


def test_a_reference_is_made_once(versions: Versions, monkeypatch: pytest.MonkeyPatch) -> None:
    """A version never changes: the second look fetches nothing of it; a file that was cut short is made anew."""
    good = versions.publish(0, good=True)
    now_at = versions.publish(0)
    first = references.reference("compared", now_at, {"x"})
    [file] = (settings().home / "references").iterdir()
    file.write_text(file.read_text()[:50])
    assert references.reference("compared", now_at, {"x"}) == first
    monkeypatch.setattr("expectations.reference.profile", lambda *_: pytest.fail("made again"))
    assert references.reference("compared", now_at, {"x"}) == first
    assert first is not None
    assert (first.version, first.rows) == (good, 2_000)
    assert references.reference("compared", good, {"x"}) is None


def test_where_the_reference_cannot_be_read_an_older_one_is_taken(
    versions: Versions, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its object is gone, and the next older version that was verified good takes its place: so many, and no more."""
    oldest = versions.publish(0, good=True)
    gone = [versions.publish(0, good=True) for _ in range(4)]
    for version in gone:
        versions.lose(version)
    versions.publish(9)
    assert look().verdict.health is Health.unhealthy
    assert f"against {oldest}" in look().verdict.why
    versions.lose(versions.publish(0, good=True))
    versions.publish(9)
    tried, fetch = list[str](), type(versions.store).fetch

    def counting(store: DatasetStore, version: str, into: Path) -> list[Path]:
        tried.append(version)
        return fetch(store, version, into)

    monkeypatch.setattr(type(versions.store), "fetch", counting)
    assert look().verdict.health is Health.inconclusive
    assert len(tried) == 6, "itself, and five to compare with"
    assert oldest not in tried


def test_where_no_reference_can_be_read_the_rest_still_counts(versions: Versions) -> None:
    """It is no first run: what compares has no answer, what is met is met, and what is bad is bad."""
    gone = [versions.publish(0, good=True) for _ in range(2)]
    for version in gone:
        versions.lose(version)
    versions.publish(0)
    found = look().verdict
    assert found.health is Health.inconclusive
    assert f"{gone[1]}, which it is compared with, can't be read, nor can older ones" in found.why
    assert "could not evaluate x: " in found.why
    versions.publish(0, nulls=1)
    bad = look().verdict
    assert bad.health is Health.unhealthy
    assert "null" in bad.why


def test_a_reference_that_cannot_be_read_holds_up_no_rollback(
    versions: Versions, prefect_server: object, mlflow_server: object
) -> None:
    """The version to go back to passed an older suite, and what it was compared with is gone: an older one will do."""
    versions.publish(0, good=True)
    lost = versions.publish(0, good=True)
    good = versions.publish(0, good=True)
    versions.lose(lost)
    versions.publish(9)
    outcome = run(data, opened(versions.ledger, "dataset:compared", Category.data))
    assert outcome.status is Status.resolved, outcome.why
    assert versions.store.current().version == good


def test_a_verdict_against_what_turned_out_bad_is_asked_for_again(versions: Versions) -> None:
    """The version to go back to passed next to something bad: it is looked at anew before the pointer moves."""
    oldest = versions.publish(5, good=True)
    first = versions.publish(0, good=True)
    second = versions.publish(0)
    seen = look(second)
    assert seen.verdict.health is Health.healthy
    versions.ledger.append(Judged(version=second, verdict=seen.verdict), actor="test", subject="dataset:compared")
    versions.publish(9)
    incident = opened(versions.ledger, "dataset:compared", Category.data)
    case, action = Case(incident, actor="test"), RollbackDataset(dataset="compared", because="a test")
    assert proving.plan(case, action).after["version"] == second
    assert "judged" not in kinds(versions.ledger, incident)
    judge(versions.ledger, "dataset:compared", first, Health.unhealthy)
    assert proving.plan(case, action).after["version"] == oldest
    assert "judged" in kinds(versions.ledger, incident)


def test_what_is_late_is_not_called_bad(versions: Versions, prefect_server: object, mlflow_server: object) -> None:
    """No earlier version is fresher: a person is asked, the pointer stays, and the version stays one to go back to."""
    versions.publish(0, good=True)
    current = versions.publish(0, age_hours=30, good=True)
    incident = opened(versions.ledger, "dataset:compared", Category.data)
    outcome = run(data, incident)
    assert outcome.status is Status.escalated
    assert "is late, and no earlier version is fresher" in outcome.why
    assert versions.store.current().version == current
    assert {"judged", "applying", "traced"}.isdisjoint(kinds(versions.ledger, incident))


def test_what_is_late_is_frozen_where_the_playbook_says_so(
    versions: Versions, change_playbook: ChangePlaybook, prefect_server: object, mlflow_server: object
) -> None:
    """To freeze comes before to say that it is only late: until it is thawed nothing else changes it either."""
    change_playbook(LABELLED, COMPARED.format(", when_bad: freeze") + LABELLED)
    current = versions.publish(0, age_hours=30)
    incident = opened(versions.ledger, "dataset:compared", Category.data)
    outcome = run(data, incident)
    assert outcome.status is Status.escalated
    assert "dataset:compared is frozen" in outcome.why
    assert "30.0 hours old" in outcome.why
    assert "froze" in kinds(versions.ledger, incident)
    assert versions.store.current().version == current


def test_a_rollback_of_drift_is_not_held_up_by_age(
    versions: Versions, prefect_server: object, mlflow_server: object
) -> None:
    """What is gone back to is older than a day, and good: the incident is closed with it in place."""
    versions.publish(0, age_hours=60, good=True)
    good = versions.publish(0, age_hours=30, good=True)
    versions.publish(7)
    outcome = run(data, opened(versions.ledger, "dataset:compared", Category.data))
    assert outcome.status is Status.resolved, outcome.why
    assert versions.store.current().version == good


def test_a_time_of_the_future_is_wrong_in_any_version(
    versions: Versions, prefect_server: object, mlflow_server: object
) -> None:
    """It was called good by a suite that asked for less: by its name it is unhealthy, and it is not gone back to."""
    good = versions.publish(0, age_hours=60, good=True)
    future = versions.publish(0, age_hours=-5, good=True)
    versions.publish(7)
    assert look(good).verdict.health is Health.healthy, "how old it is says nothing against it"
    assert "ahead of the clock" in look(future).verdict.why
    outcome = run(data, opened(versions.ledger, "dataset:compared", Category.data))
    assert outcome.status is Status.resolved, outcome.why
    assert versions.store.current().version == good
