"""What is DVC's and Git's own: the real tool reads what we leave, and others' commits on the branch stay."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from remediations import QuarantineDataset, clients
from remediations.base import Conflict
from remediations.datasets import dvc_files, open_store
from remediations.datasets.base import Damaged, DatasetError
from remediations.datasets.dvc import DvcStore
from remediations.marks import open_marks
from tests.remediations.store_kits import DvcKit

#: The real tool, in an environment of its own, because it brings forty packages.
DVC = shutil.which("dvc")


@pytest.fixture
def kit(tmp_path: Path) -> DvcKit:
    """A repository."""
    return DvcKit(tmp_path)


def test_others_commits_on_the_branch_are_kept(kit: DvcKit, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody pushes code at the same moment: ours goes on top of theirs, and history only grows."""
    good, _ = kit.written(1), kit.written(2)
    store = kit.store()
    assert isinstance(store, DvcStore)
    before, push = store.current(), store.git.push
    tries: list[str] = []

    def late(head: str, blob: str, message: str) -> None:
        if not tries:
            (kit.clone / "train.py").write_text("print()")
            kit.push("Train")
        tries.append(head)
        push(head, blob, message)

    monkeypatch.setattr(store.git, "push", late)
    history = kit.git("rev-list", "origin/main").split()
    after = before.successor(good, by="INC-1")
    store.move(after, expect=before)
    assert len(tries) == 2
    assert kit.store().current() == after
    kit.prepare()
    assert (kit.clone / "train.py").exists()
    assert kit.git("rev-list", "main").split()[2:] == history
    told = kit.git("log", "-1", "--format=%an %s")
    assert told.strip() == f"lastgood Bring transactions back to {good}: INC-1"


def test_an_unrelated_commit_is_no_conflict_and_one_on_the_file_is(kit: DvcKit) -> None:
    """What does not touch the file leaves the pointer as it was; our own move can still be taken back."""
    good, bad = kit.written(1), kit.written(2)
    before = kit.store().current()
    after = before.successor(good, by="INC-1")
    kit.store().move(after, expect=before)
    kit.prepare()
    (kit.clone / "notes").write_text("x")
    kit.push("Notes")
    assert kit.store().current() == after
    kit.store().move(before, expect=after)
    assert (kit.store().current().version, kit.read()) == (bad, {2})
    kit.write(3)
    with pytest.raises(Conflict):
        kit.store().move(after, expect=before)


def test_an_altered_object_is_never_fetched(kit: DvcKit, tmp_path: Path) -> None:
    """The MD5 in the .dvc file is checked."""
    version = kit.written(1)
    kit.objects()[0].write_bytes(b"else")
    with pytest.raises(DatasetError, match="altered"):
        kit.store().fetch(version, tmp_path / "into")
    assert list((tmp_path / "into").iterdir()) == []


@pytest.mark.parametrize("body", [b"[]", b'[{"md5": "0'])
def test_an_altered_list_of_files_is_never_believed(kit: DvcKit, tmp_path: Path, body: bytes) -> None:
    """The list of a folder's files is an object like any other: emptied or cut short it is damaged."""
    kit.write(1)
    store = kit.store()
    (tmp_path / "a.csv").write_text("number\n1\n")
    version = store.publish([tmp_path / "a.csv"]).version
    assert [file.name for file in store.fetch(version, tmp_path / "whole")] == ["a.csv"]
    text = getattr(store.manifest(version), "text")  # noqa: B009  # it is a DVC version
    (kit.remote / dvc_files.key(dvc_files.output(text).md5)).write_bytes(body)
    with pytest.raises(Damaged, match=r"the list of what is in .* was altered"):
        store.fetch(version, tmp_path / "into")
    assert store.missing(version) == [dvc_files.output(text).path]


def test_a_remote_is_read_as_dvc_writes_it(aws: object) -> None:
    """A % in its address is a %; one in another S3 than ours is refused, for its objects are not in ours."""
    config = "[core]\n    remote = store\n['remote \"store\"']\n    url = {url}\n    endpointurl = {endpoint}\n"
    found = dvc_files.remote(config.format(url="/mnt/50%done", endpoint=""))
    assert isinstance(found, dvc_files.FolderRemote)
    assert found.folder == Path("/mnt/50%done")
    ours = clients.s3().meta.endpoint_url
    assert isinstance(dvc_files.remote(config.format(url="s3://bucket/x%20y", endpoint=f"{ours}/")), dvc_files.S3Remote)
    with pytest.raises(DatasetError, match=r"in the S3 at https://minio\.example, .* set AWS_ENDPOINT_URL_S3"):
        dvc_files.remote(config.format(url="s3://bucket/rows", endpoint="https://minio.example"))


@pytest.mark.parametrize(
    ("told", "said"),
    [
        ("outs:\n- md5: 00000000000000000000000000000000\n  path: rows\n", "DVC 3"),
        ("outs: []\n", "one output"),
    ],
)
def test_what_is_not_understood_is_refused(kit: DvcKit, told: str, said: str, tmp_path: Path) -> None:
    """A file of DVC 2, or of several outputs, says what to do."""
    kit.prepare()
    (kit.clone / "data" / "rows.parquet.dvc").write_text(told)
    kit.push("odd")
    store = kit.store()
    with pytest.raises(DatasetError, match=said):
        store.fetch(store.current().version, tmp_path / "into")


def test_a_version_is_shut_away_in_a_ref_of_its_own(kit: DvcKit, declare: Any) -> None:
    """The mark is beside all branches: it goes away again, and the branch stays where it is."""
    version = kit.written(1)
    stores = f"{{transactions: {{store: '{kit.address}'}}, labelled_transactions: {{store: 's3://none/rows'}}}}"
    declare(f"datasets: {stores}")
    before = kit.store().current()
    action = QuarantineDataset(dataset="transactions", version=version, because="a test")
    plan = action.plan()
    for _ in range(2):
        action.apply(plan)
    ref = f"refs/lastgood/quarantine/{version}"
    assert ref in kit.git("ls-remote", "origin")
    assert "a test" in (open_marks(kit.address).read(version) or "")
    assert kit.store().current() == before
    for _ in range(2):
        action.undo(plan)
    assert ref not in kit.git("ls-remote", "origin")


@pytest.mark.parametrize(
    "address",
    [
        "dvc+https://me:word@host/r.git#main:a.dvc",
        "dvc+https://host/r.git#main:dvc.lock",
        "dvc+https://host/r.git#main:../a.dvc",
        "dvc+https://host/r.git#--upload-pack=x:a.dvc",
        "dvc+ext::sh#main:a.dvc",
    ],
)
def test_other_addresses_are_refused(address: str) -> None:
    """A password, what is no .dvc file, and what Git would take for an option or a command."""
    with pytest.raises(ValueError, match="a dataset store is"):
        open_store(address, "transactions")


@pytest.mark.skipif(DVC is None, reason="no dvc: install it in an environment of its own, and put that on PATH")
def test_the_real_dvc_reads_what_we_leave_and_we_what_it_wrote(kit: DvcKit, tmp_path: Path) -> None:
    """What dvc pushed is fetched; brought back, `dvc pull` has the old rows; and it pulls what we publish."""
    assert DVC is not None
    kit.prepare()

    def dvc(*arguments: str) -> None:
        env = os.environ | {"DVC_NO_ANALYTICS": "1"}
        subprocess.run([str(DVC), *arguments], cwd=kit.clone, env=env, check=True, capture_output=True)

    shutil.rmtree(kit.clone / ".dvc")
    dvc("init", "-q")
    dvc("remote", "add", "-d", "store", str(kit.remote))
    address = kit.address.replace("rows.parquet.dvc", "rows.dvc")
    folder = kit.clone / "data" / "rows"
    names = []
    for number in (1, 2):
        folder.mkdir(exist_ok=True)
        (folder / "a.csv").write_text(f"number\n{number}\n")
        (folder / "b.csv").write_text("the same\n")
        dvc("add", "data/rows")
        dvc("push")
        kit.push(f"version {number}")
        names.append(open_store(address, "transactions").current().version)
        files = open_store(address, "transactions").fetch(names[-1], tmp_path / str(number))
        assert {file.name: file.read_text() for file in files} == {
            "a.csv": f"number\n{number}\n",
            "b.csv": "the same\n",
        }

    store = open_store(address, "transactions")
    now = store.current()
    store.move(now.successor(names[0], by="INC-1"), expect=now)
    kit.prepare()
    dvc("pull")
    assert (folder / "a.csv").read_text() == "number\n1\n"

    (tmp_path / "c.csv").write_text("new\n")
    store.publish([tmp_path / "c.csv"])
    kit.prepare()
    dvc("pull")
    assert [(file.name, file.read_text()) for file in folder.iterdir()] == [("c.csv", "new\n")]
