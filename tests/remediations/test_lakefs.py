"""What is lakeFS's own: others' commits stay, whenever they come, and what is not documented is not asked for."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from incidents.playbook import LakeFSServer, playbook
from remediations import QuarantineDataset, clients
from remediations.base import Conflict, RemediationError
from remediations.datasets import lakefs_branch, open_store
from remediations.datasets.base import Damaged, DatasetError, Pointer
from remediations.datasets.lakefs import LakeFSStore
from remediations.marks import open_marks
from tests.remediations import lakefs_api
from tests.remediations.store_kits import LakeFSKit

#: Two contents that have one object in common, and of the others each its own.
GOOD, BAD = {"a": b"1", "b": b"1", "same": b"s"}, {"a": b"2", "c": b"2", "same": b"s"}


@pytest.fixture
def kit(lakefs_server: str, tmp_path: Path) -> LakeFSKit:
    """A repository."""
    return LakeFSKit(tmp_path)


def write(kit: LakeFSKit, content: dict[str, bytes]) -> str:
    """Have exactly that under the prefix, as somebody else does; which version it is."""
    kit.prepare()
    change(kit, {**dict.fromkeys(kit.state()), **content})
    return kit.store().current().version


def change(kit: LakeFSKit, content: dict[str, bytes | None]) -> None:
    """Somebody else commits: objects that come, or go (None)."""
    gone = [f"{kit.prefix}/{path}" for path, body in content.items() if body is None]
    kit.client.objects_api.delete_objects(kit.repository, kit.branch, {"paths": gone})
    for path, body in content.items():
        if body is not None:
            kit.put(f"{kit.prefix}/{path}", body)
    kit.commit("theirs")


def opened(kit: LakeFSKit) -> LakeFSStore:
    """The store, as what it is."""
    store = kit.store()
    assert isinstance(store, LakeFSStore)
    return store


def prepared(kit: LakeFSKit) -> tuple[LakeFSStore, Pointer, Pointer]:
    """The good version and on top the bad one; where it is, and where it is to go."""
    good, _ = write(kit, GOOD), write(kit, BAD)
    store = opened(kit)
    before = store.current()
    return store, before, before.successor(good, by="INC-1")


@contextmanager
def just_before(name: str, *acts: Callable[[], object]) -> Iterator[None]:
    """Inside, somebody acts just before we ask lakeFS for that: the first time, the second time, and so on."""
    waiting, call = iter(acts), getattr(lakefs_branch.LakeFSBranch, name)

    def late(branch: Any, *arguments: Any, **named: Any) -> Any:
        next(waiting, bool)()
        return call(branch, *arguments, **named)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lakefs_branch.LakeFSBranch, name, late)
        yield


@settings(max_examples=8, deadline=None)
@example(theirs={"d": b"3"}, moment="merge")  # a path of its own
@example(theirs={"c": None}, moment="merge")  # what we do as well
@given(
    theirs=st.dictionaries(st.sampled_from("abcd"), st.sampled_from([b"1", b"2", b"3", None]), min_size=1),
    moment=st.sampled_from(["branch_off", "copy", "merge"]),
)
def test_whatever_others_commit_at_whatever_moment_stays(
    lakefs_server: str, tmp_path_factory: pytest.TempPathFactory, theirs: dict[str, bytes | None], moment: str
) -> None:
    """Readers are left with exactly what they wrote, and never with some of it and some of ours; history only grows."""
    theirs = {path: body for path, body in theirs.items() if BAD.get(path) != body}
    assume(theirs)
    kit = LakeFSKit(tmp_path_factory.getbasetemp())
    store, before, after = prepared(kit)
    history = kit.log()
    with just_before(moment, lambda: change(kit, theirs)), pytest.raises(Conflict, match="faster"):
        store.move(after, expect=before)
    assert kit.state() == {path: body for path, body in {**BAD, **theirs}.items() if body is not None}
    assert kit.log()[-len(history) :] == history
    assert kit.branches() == ["main"]


def test_a_commit_on_top_of_a_mixture_stays_too(kit: LakeFSKit) -> None:
    """Somebody commits in our window, and once more on top, before we could look: only ours is taken back."""
    store, before, after = prepared(kit)
    # asked for the head: to settle, to look, and once the merge is done
    heads = just_before("head", bool, bool, lambda: change(kit, {"e": b"5"}))
    with just_before("merge", lambda: change(kit, {"d": b"4"})), heads, pytest.raises(Conflict, match="faster"):
        store.move(after, expect=before)
    assert kit.state() == {**BAD, "d": b"4", "e": b"5"}


def test_what_a_killed_move_left_mixed_is_taken_back_by_the_next(kit: LakeFSKit) -> None:
    """Killed after the merge, in whose window somebody had committed: theirs is what the next move finds."""
    store, before, after = prepared(kit)
    with just_before("merge", lambda: change(kit, {"d": b"4"})), pytest.MonkeyPatch.context() as patch:
        patch.setattr(store, "_take_back", killed)
        with pytest.raises(KeyboardInterrupt):
            store.move(after, expect=before)
    assert kit.state() == {**GOOD, "d": b"4"}
    assert kit.store().current().version not in (before.version, after.version)
    for _ in range(2):
        with pytest.raises(Conflict):
            kit.store().move(after, expect=before)
        assert kit.state() == {**BAD, "d": b"4"}
    now = kit.store().current()
    kit.store().move(now.successor(after.version, by="INC-1"), expect=now)
    assert kit.state() == GOOD


def killed(*_: object) -> None:
    """Die here."""
    raise KeyboardInterrupt


def test_what_a_killed_move_did_is_done_once(kit: LakeFSKit) -> None:
    """Killed after the merge, or before it: entered again it is done, with one commit, and no branch is left."""
    store, before, after = prepared(kit)
    commits = len(kit.log())
    with just_before("merge", killed), pytest.raises(KeyboardInterrupt):
        store.move(after, expect=before)
    assert (kit.state(), len(kit.branches())) == (BAD, 2)
    with just_before("drop", bool, killed), pytest.raises(KeyboardInterrupt):  # the first goes to what was left
        kit.store().move(after, expect=before)
    assert (kit.state(), len(kit.branches())) == (GOOD, 2)
    kit.store().move(after, expect=before)
    assert kit.store().current() == after
    assert (kit.state(), len(kit.log())) == (GOOD, commits + 1)
    assert kit.branches() == ["main"]


def test_of_two_moves_of_ours_that_share_no_path_one_is_refused_by_lakefs(kit: LakeFSKit) -> None:
    """What both write beside the data is a conflict, so nothing is mixed and nothing has to be taken back."""
    first, second = write(kit, {"a": b"1", "b": b"2"}), write(kit, {"a": b"2", "b": b"1"})
    write(kit, {"a": b"2", "b": b"2"})
    before = kit.store().current()
    ours, theirs = before.successor(first, by="INC-1"), before.successor(second, by="INC-2")
    commits = len(kit.log())
    with (
        just_before("merge", lambda: opened(kit).move(theirs, expect=before)),
        pytest.raises(Conflict, match="set by INC-2"),
    ):
        kit.store().move(ours, expect=before)
    assert kit.store().current() == theirs
    assert len(kit.log()) == commits + 1


def test_commits_elsewhere_are_no_conflict(kit: LakeFSKit) -> None:
    """Somebody commits to another dataset of the branch meanwhile: both stand."""
    store, before, after = prepared(kit)

    def elsewhere() -> None:
        kit.put(f"{kit.prefix}-other/a", b"other")
        kit.commit("another dataset")

    with just_before("merge", elsewhere):
        store.move(after, expect=before)
    assert kit.state() == GOOD
    assert kit.client.objects_api.get_object(kit.repository, "main", f"{kit.prefix}-other/a") == b"other"
    assert kit.store().current() == after


def test_what_is_not_committed_is_left_alone(kit: LakeFSKit) -> None:
    """Somebody has uploaded and not yet committed: lakeFS takes no merge, and theirs is still there."""
    store, before, after = prepared(kit)
    kit.put(f"{kit.prefix}/d", b"half")
    with pytest.raises(DatasetError, match="uncommitted changes"):
        store.move(after, expect=before)
    assert kit.state() == {**BAD, "d": b"half"}
    assert kit.store().current() == before
    assert kit.branches() == ["main"]


def test_what_lakefs_did_not_make_as_asked_is_not_merged(kit: LakeFSKit, monkeypatch: pytest.MonkeyPatch) -> None:
    """The content is looked at before readers get it."""
    store, before, after = prepared(kit)
    monkeypatch.setattr(lakefs_branch.LakeFSBranch, "copy", lambda *_: None)
    with pytest.raises(DatasetError, match="did not make what was asked"):
        store.move(after, expect=before)
    assert kit.state() == BAD
    assert kit.branches() == ["main"]


def test_what_was_merged_in_is_a_version_from_then_on(kit: LakeFSKit, tmp_path: Path) -> None:
    """A pipeline works on a branch of its own and merges it: one version, named by the merge and not by its work."""
    first = write(kit, GOOD)
    kit.client.branches_api.create_branch(kit.repository, {"name": "work", "source": "main"})
    kit.branch = "work"
    for number in (b"3", b"4"):
        change(kit, {"a": number})
    kit.branch = "main"
    kit.client.refs_api.merge_into_branch(kit.repository, "work", "main", {"message": "work"})
    store = kit.store()
    assert store.versions() == [first, store.current().version]
    assert store.current().moved_by == "anna with lakeFS"
    files = store.fetch(store.current().version, tmp_path / "files")
    assert {file.name: file.read_bytes() for file in files} == {**GOOD, "a": b"4"}


def test_lists_of_several_pages_are_read_whole(kit: LakeFSKit, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of commits and of objects; more objects than one request may delete are deleted by several."""
    monkeypatch.setattr(lakefs_branch, "PAGE", 2)
    store, before, after = prepared(kit)
    many = {str(number): b"x" for number in range(5)}
    change(kit, dict(many))
    now = store.current()
    assert store.versions() == [after.version, before.version, now.version]
    store.move(now.successor(after.version, by="INC-1"), expect=now)
    assert kit.state() == GOOD


@pytest.mark.parametrize("body", [b"9", b"longer"])
def test_an_altered_object_is_never_fetched(kit: LakeFSKit, tmp_path: Path, body: bytes) -> None:
    """Its size and its MD5 are checked."""
    version = write(kit, GOOD)
    Path(kit.objects("main")["b"].removeprefix("local://")).write_bytes(body)
    with pytest.raises(Damaged, match="the object of b was altered"):
        kit.store().fetch(version, tmp_path / "into")
    assert list((tmp_path / "into").iterdir()) == []


def test_a_version_is_shut_away_in_a_tag(kit: LakeFSKit, declare: Any) -> None:
    """The mark goes away again, and the branch stays where it is."""
    version = write(kit, GOOD)
    stores = f"{{transactions: {{store: '{kit.address}'}}, labelled_transactions: {{store: 's3://none/rows'}}}}"
    declare(f"datasets: {stores}\nlakefs: {json.dumps({'lake': kit.lakefs['lake'].model_dump()})}")
    history = kit.log()
    action = QuarantineDataset(dataset="transactions", version=version, because="a test")
    plan = action.plan()
    for _ in range(2):
        action.apply(plan)
    assert "a test" in (open_marks(kit.address).read(version) or "")
    for _ in range(2):
        action.undo(plan)
    assert open_marks(kit.address).read(version) is None
    assert (kit.log(), kit.branches()) == (history, ["main"])


@pytest.mark.parametrize(
    "address",
    [
        "lakefs://me:word@lake/rows@main/data",
        "lakefs://lake/me:word@main/data",
        "lakefs://lake/rows@main/data?token=word",
        "lakefs://lake/rows@main",
        "lakefs://lake/rows@main/../data",
        "lakefs://lake/rows@main/a%2F..%2Fb",
        "lakefs://lake/rows/main/data",
        "lakefs:word@lake",
    ],
)
def test_other_addresses_are_refused(address: str) -> None:
    """The message says what is understood, and never what may be a password."""
    with pytest.raises(ValueError, match="lakefs://server/repository@branch/prefix") as error:
        open_store(address, "transactions")
    assert "word" not in str(error.value)


def test_credentials_are_in_the_environment_and_nowhere_else(
    kit: LakeFSKit, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, forget_clients: Any
) -> None:
    """Without them it says which variables to set; with wrong ones lakeFS says no; neither is ever shown."""
    version = write(kit, GOOD)
    store, secret = kit.store(), "the/wrong/secret/of/this/test"
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv("LAKECTL_CREDENTIALS_SECRET_ACCESS_KEY", secret)
    forget_clients()
    with pytest.raises(DatasetError, match="401 error authenticating request") as refused:
        store.current()
    shown = f"{refused.value!r} {caplog.text} {store} {clients.lakefs('lake')!r} {playbook().lakefs!r}"
    assert secret not in shown
    assert lakefs_api.KEY not in shown
    monkeypatch.delenv("LAKECTL_CREDENTIALS_SECRET_ACCESS_KEY")
    forget_clients()
    with pytest.raises(RemediationError, match=r"lake: set LAKECTL_\w+_ID and LAKECTL_\w+_SECRET_ACCESS_KEY"):
        store.current()
    monkeypatch.setenv("OTHER_SECRET", lakefs_api.SECRET)
    endpoint = f"{kit.lakefs['lake'].endpoint}/api/v1/"
    playbook().lakefs["lake"] = LakeFSServer(endpoint=endpoint, secret_key_env="OTHER_SECRET")
    assert store.current().version == version
    monkeypatch.undo()
    forget_clients()


def test_a_server_that_is_not_declared_or_not_there_says_so(kit: LakeFSKit, forget_clients: Any) -> None:
    """It is named, and nothing goes to anywhere else."""
    kit.prepare()
    with pytest.raises(RemediationError, match="the playbook has no lakeFS server pond"):
        open_store(kit.address.replace("//lake", "//pond"), "transactions").current()
    store = kit.store()
    playbook().lakefs["lake"] = LakeFSServer(endpoint="http://127.0.0.1:9")
    forget_clients()
    with pytest.raises(DatasetError, match="the lakeFS server lake did not answer"):
        store.current()
    forget_clients()


@pytest.mark.parametrize(
    ("asked", "sent", "said"),
    [
        ("GET refs/main/commits?first=true", None, "unexpected keyword argument 'first'"),
        ("GET refs/main/objects", None, "path"),
        ("POST refs/main/merge/main", {"squash": True}, "merge_into_branch has no squash"),
        ("POST refs/main/merge/main", {"squash_merge": "yes"}, "squash_merge"),
        ("POST branches/main/commits", {"metadata": {}}, "message"),
        ("POST branches/main/hard_reset", {}, "no test needs POST"),
    ],
)
def test_what_lakefs_does_not_document_is_not_answered(
    kit: LakeFSKit, lakefs_server: str, asked: str, sent: object, said: str
) -> None:
    """The stand-in is as strict as the vendor's description of the API, so that no test passes by what is not in it."""
    kit.prepare()
    method, path = asked.split()
    url = f"{lakefs_server}/api/v1/repositories/{kit.repository}/{path}"
    answer = httpx.request(method, url, json=sent, auth=(lakefs_api.KEY, lakefs_api.SECRET))
    assert answer.status_code == 599
    assert said in answer.text
