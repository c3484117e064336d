"""What is Delta's own: RESTORE by others, deletion vectors, a log that is cleaned up, a process that is killed."""

from __future__ import annotations

import json
import secrets
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable, PostCommitHookProperties, write_deltalake
from hypothesis import settings
from hypothesis.stateful import initialize, rule
from pyroaring import BitMap

from incidents.events import Judged
from incidents.ledger import ledger
from incidents.models import Health, Verdict
from remediations import QuarantineDataset, QuarantineRows, RollbackDataset
from remediations.base import CannotPlan, Conflict
from remediations.clients import object_store
from remediations.datasets.base import NoSuchVersion, Pointer
from remediations.datasets.delta import DeltaStore
from tests.remediations.store_kits import ROWS, DeltaInS3Kit, DeltaKit, table
from tests.remediations.test_dataset_directory import Moves

Z85 = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-:+=^!/*?&<>()[]{}@%$#"


@pytest.fixture
def kit(tmp_path: Path) -> DeltaKit:
    """A table on disk."""
    return DeltaKit(tmp_path)


def test_what_delta_itself_restores_is_the_version_that_it_was(kit: DeltaKit) -> None:
    """A person runs RESTORE with Delta's own tools, also back to a RESTORE: the version verified good is recognised."""
    good, bad = kit.written(1), kit.written(2)
    DeltaTable(kit.table).restore(0)
    by_hand = kit.store().current()
    assert (by_hand.version, by_hand.moved_by) == (good, "a Delta RESTORE")
    kit.write(3)
    DeltaTable(kit.table).restore(2)
    again = kit.store().current()
    assert again.version == good
    assert again != by_hand, "it is another move, so a plan made from the first is void"
    DeltaTable(kit.table).restore(1)
    assert kit.store().current().version == bad


def test_a_commit_that_changes_no_row_is_still_somebody_elses(kit: DeltaKit) -> None:
    """Compacted by OPTIMIZE after our move: it is another version by name, and not ours to take back."""
    good, _ = kit.written(1), kit.written(2)
    before = kit.store().current()
    after = before.successor(good, by="INC-1")
    kit.store().move(after, expect=before)
    write_deltalake(kit.table, table(1), mode="append")
    DeltaTable(kit.table).optimize.compact()
    compacted = kit.store().current()
    assert (compacted.version == good, compacted.moved_by) == (False, "a Delta OPTIMIZE")
    with pytest.raises(Conflict):
        kit.store().move(before, expect=after)


def test_rows_appended_by_a_writer_who_is_faster_are_a_conflict(kit: DeltaKit, monkeypatch: pytest.MonkeyPatch) -> None:
    """An append could be put before our commit without harm, says Delta; it is refused: the state is not as planned."""
    version = kit.written(1)
    store = kit.store()
    assert isinstance(store, DeltaStore)
    before, commit = store.current(), store._commit

    def late(*arguments: Any) -> None:
        write_deltalake(kit.table, table(2), mode="append")
        commit(*arguments)

    monkeypatch.setattr(store, "_commit", late)
    with pytest.raises(Conflict, match="faster"):
        store.move(before.successor(version, by="INC-1"), expect=before)
    assert kit.read() == {1, 2}
    assert DeltaTable(kit.table).version() == 1


@pytest.mark.parametrize("same_rows", [False, True])
def test_a_move_makes_no_checkpoint_and_cleans_nothing_up(kit: DeltaKit, same_rows: bool) -> None:
    """The table asks for a checkpoint after each commit and for no old log: a move adds one commit, and no more."""
    greedy = {"delta.checkpointInterval": "1", "delta.logRetentionDuration": "interval 0 days"}
    nothing = PostCommitHookProperties(create_checkpoint=False, cleanup_expired_logs=False)
    kit.write(1)
    DeltaTable(kit.table).alter.set_table_properties(greedy, post_commithook_properties=nothing)
    first = kit.store().current().version
    write_deltalake(kit.table, table(2), mode="overwrite", partition_by=["part"], post_commithook_properties=nothing)
    log, before = Path(kit.table) / "_delta_log", kit.store().current()
    kept = {file.name for file in log.iterdir()}
    assert len(kept) == 3, "so far nothing was cleaned up"
    wanted = before.version if same_rows else first
    kit.store().move(before.successor(wanted, by="INC-1"), expect=before)
    assert {file.name for file in log.iterdir()} == kept | {f"{3:020}.json"}


def test_a_version_that_was_brought_back_outlives_its_log(kit: DeltaKit, tmp_path: Path) -> None:
    """Delta's log is cleaned up: what is current keeps its name and is fetched; what is not, is gone, and is named."""
    good, bad = kit.written(1), kit.written(2)
    now = kit.store().current()
    kit.store().move(now.successor(good, by="INC-1"), expect=now)
    DeltaTable(kit.table).create_checkpoint()
    for old in (0, 1):
        (Path(kit.table) / "_delta_log" / f"{old:020d}.json").unlink()
    store = kit.store()
    assert store.current().version == good
    files = store.fetch(good, tmp_path / "into")
    assert pq.ParquetFile(files[0]).read()["number"].to_pylist() == [1] * ROWS
    with pytest.raises(NoSuchVersion, match="does not have"):
        store.manifest(bad)
    with pytest.raises(NoSuchVersion):
        store.move(now, expect=store.current())


def vector(rows: list[int]) -> dict[str, Any]:
    """A deletion vector within the log, as the Delta protocol has it."""
    body = struct.pack("<IQI", 1681511377, 1, 0) + BitMap(rows).serialize()
    text = ""
    for place in range(0, len(body), 4):
        value, four = int.from_bytes(body[place : place + 4].ljust(4, b"\0"), "big"), ""
        for _ in range(5):
            value, rest = divmod(value, 85)
            four = Z85[rest] + four
        text += four
    return {"storageType": "i", "pathOrInlineDv": text, "sizeInBytes": len(body), "cardinality": len(rows)}


def delete_rows(kit: DeltaKit, rows: list[int], version: int, before: dict[str, Any]) -> dict[str, Any]:
    """Commit a DELETE as Spark does where deletion vectors are on: the file stays, and the log says which rows go."""
    features: dict[str, Any] = {"minReaderVersion": 3, "minWriterVersion": 7}
    features |= {"readerFeatures": ["deletionVectors"], "writerFeatures": ["deletionVectors"]}
    gone: dict[str, Any] = {
        key: before[key] for key in ("path", "partitionValues", "size", "deletionVector") if key in before
    }
    after = {**before, "deletionVector": vector(rows)}
    actions = [
        {"commitInfo": {"timestamp": before["modificationTime"] + version, "operation": "DELETE"}},
        {"protocol": features},
        {"remove": {**gone, "deletionTimestamp": 1, "dataChange": True, "extendedFileMetadata": True}},
        {"add": after},
    ]
    log = Path(kit.table) / "_delta_log" / f"{version:020d}.json"
    log.write_text("\n".join(json.dumps(action) for action in actions))
    return after


def test_rows_that_a_deletion_vector_deletes_are_not_there(kit: DeltaKit, tmp_path: Path) -> None:
    """The files of two versions are the same, and yet they are two: each is fetched and brought back without them."""
    write_deltalake(kit.table, pa.table({"number": [1, 2, 3, 4]}))
    log = (Path(kit.table) / "_delta_log" / f"{0:020d}.json").read_text().splitlines()
    add = next(action["add"] for action in map(json.loads, log) if "add" in action)
    names = [kit.store().current().version]
    one = delete_rows(kit, [0], 1, add)
    names.append(kit.store().current().version)
    delete_rows(kit, [0, 2], 2, one)
    names.append(kit.store().current().version)
    assert len({name[-12:] for name in names}) == 3
    for name, rows in zip(names, ([1, 2, 3, 4], [2, 3, 4], [2, 4]), strict=True):
        files = kit.store().fetch(name, tmp_path / name)
        assert pq.ParquetFile(files[0]).read()["number"].to_pylist() == rows
    now = kit.store().current()
    kit.store().move(now.successor(names[1], by="INC-1"), expect=now)
    assert kit.store().current().version == names[1]
    assert pa.table(DeltaTable(kit.table).scan())["number"].to_pylist() == [2, 3, 4]


def test_a_switch_that_makes_commits_unsafe_is_overruled(
    s3_server: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With AWS_S3_ALLOW_UNSAFE_RENAME in the environment a commit in S3 still never replaces another's."""
    monkeypatch.setenv("AWS_S3_ALLOW_UNSAFE_RENAME", "true")
    kit = DeltaInS3Kit(tmp_path)
    good, _ = kit.written(1), kit.written(2)
    stale = kit.store()._look()  # type: ignore[attr-defined]  # it is a Delta store
    kit.write(3)
    with pytest.raises(Exception, match="commit"):
        kit.store()._commit(stale, kit.store().current().successor(good, by="x"))  # type: ignore[attr-defined]
    assert kit.read() == {3}
    assert object_store()["aws_s3_allow_unsafe_rename"] == "false"


class DeltaMoves(Moves):
    """The law of every move, on a Delta table that others write too."""

    @initialize()
    def start(self) -> None:
        """A table with two versions."""
        self.home = tempfile.TemporaryDirectory(prefix="lastgood-law-")
        self.kit = DeltaKit(Path(self.home.name))
        self.versions = [self.kit.written(number) for number in (0, 1)]
        self.store = self.kit.store()
        self.model: Pointer | None = self.store.current()

    @rule()
    def another_writer(self) -> None:
        """Somebody commits: where we are is where they left it."""
        self.kit.write(7)
        self.model = self.kit.store().current()

    def fresh(self) -> Any:
        """A store that knows nothing of the moves."""
        return self.kit.store()


TestDeltaMoves = DeltaMoves.TestCase
TestDeltaMoves.settings = settings(max_examples=8, stateful_step_count=12, deadline=None)

MOVER = """
import sys
from remediations.datasets import open_store
store, versions = open_store(sys.argv[1], "transactions"), sys.argv[2:]
at = store.current()
while True:
    to = store.pointer_to(versions[at.version == versions[0]], "killed")
    print("begin", to.nonce, flush=True)
    store.move(to, at)
    print("done", to.nonce, flush=True)
    at = to
"""


def test_a_killed_mover_leaves_the_old_pointer_or_the_new_one(kit: DeltaKit) -> None:
    """Killed four times at a random moment: what was acknowledged stands, whole, and the next mover is not held up."""
    versions = [kit.written(0), kit.written(1)]
    for _ in range(4):
        argv = [sys.executable, "-c", MOVER, kit.address, *versions]
        mover = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)
        assert mover.stdout is not None
        told = [mover.stdout.readline() for _ in range(2)]
        time.sleep(secrets.randbelow(30) / 1000)
        mover.kill()
        told += mover.stdout.readlines()
        mover.wait()
        said = [tuple(line.split()) for line in told if line.endswith("\n")]
        found = kit.store().current()
        done = [nonce for word, nonce in said if word == "done"]
        assert found.nonce in (done[-1], [nonce for word, nonce in said if word == "begin"][-1])
        assert kit.read() == {versions.index(found.version)}
        kit.store().move(found.successor(found.version, by="next"), found)


def declared(tmp_path: Path, declare: Any) -> DeltaKit:
    """A table that the playbook declares."""
    kit = DeltaKit(tmp_path)
    told = f"store: '{kit.address}', suite: transactions, quarantine: {{at_most: 0.2}}"
    declare(f"datasets: {{transactions: {{{told}}}, labelled_transactions: {{store: 's3://none/rows'}}}}")
    return kit


def good(version: str) -> None:
    """Put on the record that a version was verified good."""
    seen = Judged(version=version, verdict=Verdict(health=Health.healthy, why="seen"))
    ledger().append(seen, actor="test", subject="dataset:transactions")


def test_a_version_that_vacuum_or_the_log_has_lost_is_passed_over(tmp_path: Path, declare: Any) -> None:
    """The newest that was verified good lacks a file, the next is no longer in the log: it goes back to the third."""
    kit = declared(tmp_path, declare)
    versions = [kit.written(number) for number in range(4)]
    for version in versions[:3]:
        good(version)
    lost = kit.lose(versions[2])
    good("00000000000000000001-000000000000")
    plan = RollbackDataset(dataset="transactions").plan()
    assert plan.after["version"] == versions[1]
    assert any(lost in why for why in plan.because)
    for number in (0, 1):
        kit.lose(versions[number])
    with pytest.raises(CannotPlan, match=r"does not have.*000000000000"):
        RollbackDataset(dataset="transactions").plan()


def test_a_version_is_shut_away_beside_the_table(tmp_path: Path, declare: Any) -> None:
    """The mark is where VACUUM does not look, and goes away again; the version is no target meanwhile."""
    kit = declared(tmp_path, declare)
    version = kit.written(1)
    action = QuarantineDataset(dataset="transactions", version=version, because="a test")
    plan = action.plan()
    action.apply(plan)
    mark = Path(f"{kit.table}.lastgood") / "quarantine" / version
    assert kit.store().manifest(version).digest in mark.read_text()
    action.undo(plan)
    assert not mark.exists()


def test_rows_are_not_taken_out_of_a_table(tmp_path: Path, declare: Any) -> None:
    """A table is read as soon as it is written, before the suite could look: it is refused, and says so."""
    kit = declared(tmp_path, declare)
    kit.write(1)
    asked = {"column": "number", "kind": "between", "low": 0, "high": 9}
    with pytest.raises(CannotPlan, match="read at once"):
        QuarantineRows.model_validate({"dataset": "transactions", "rules": [asked]}).plan()
