"""S3 only: a move whose answer is lost on the way, over a real connection that is really cut."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from mypy_boto3_s3 import S3Client

from demo.servers import Server
from remediations import clients
from remediations.base import Conflict
from remediations.datasets import open_store
from remediations.datasets.base import DatasetStore, Pointer


class Line:
    """A line to a server. Of a PUT of the pointer it loses the answer, or the request, as often as it is told."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.lose_answers = 0
        self.lose_requests = 0
        #: Called when a PUT has landed, and its answer is about to be lost.
        self.landed: Callable[[], object] = bool
        self.puts = 0
        #: Break off the answer to so many requests for an object, after this many bytes, and count those requests.
        self.break_off, self.after, self.gets = 0, 100_000, 0
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):  # closed: the test is over
            while True:
                near, _ = self.listener.accept()
                threading.Thread(target=self._serve, args=(near,), daemon=True).start()

    def _serve(self, near: socket.socket) -> None:
        """One connection, one direction at a time: HTTP/1.1 asks, then answers."""
        with contextlib.suppress(OSError), near, socket.create_connection(("127.0.0.1", self.port)) as far:
            losing, breaking = threading.Event(), threading.Event()
            threading.Thread(target=self._answers, args=(far, near, losing, breaking), daemon=True).start()
            while request := near.recv(65536):
                if request.startswith(b"PUT ") and b"/current " in request.split(b"\r\n", 1)[0]:
                    self.puts += 1
                    if self.lose_requests:
                        self.lose_requests -= 1
                        return
                    if self.lose_answers:
                        self.lose_answers -= 1
                        losing.set()
                if request.startswith(b"GET ") and b"/objects/" in request.split(b"\r\n", 1)[0]:
                    self.gets += 1
                    if self.break_off:
                        self.break_off -= 1
                        breaking.set()
                far.sendall(request)

    def _answers(
        self, far: socket.socket, near: socket.socket, losing: threading.Event, breaking: threading.Event
    ) -> None:
        sent = 0
        with contextlib.suppress(OSError):
            while answer := far.recv(65536):
                if losing.is_set() and not answer.startswith(b"HTTP/1.1 100"):
                    assert answer.startswith(b"HTTP/1.1 200"), answer
                    self.landed()
                    near.shutdown(socket.SHUT_RDWR)
                    return
                near.sendall(answer)
                sent += len(answer)
                if breaking.is_set() and sent > self.after:
                    near.shutdown(socket.SHUT_RDWR)
                    return


@pytest.fixture
def line(s3_server: Server, monkeypatch: pytest.MonkeyPatch, forget_clients: Callable[[], None]) -> Iterator[Line]:
    """The line by which the store reaches S3 during one test."""
    line = Line(int(s3_server.url.rpartition(":")[2]))
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", line.url)
    forget_clients()
    yield line
    forget_clients()
    line.listener.close()


@pytest.fixture
def direct(s3_server: Server) -> S3Client:
    """How somebody else reaches the same S3."""
    return boto3.client("s3", endpoint_url=s3_server.url)


@pytest.fixture
def store(line: Line, s3_prefix: str, tmp_path: Path) -> DatasetStore:
    """A store with one version, which is current."""
    store = open_store(s3_prefix, "transactions")
    file = tmp_path / "a"
    file.write_text("a")
    version = store.publish([file], at=datetime(2026, 11, 23, tzinfo=UTC)).version
    store.move(store.pointer_to(version, "pipeline"), None)
    return store


def put(direct: S3Client, store: DatasetStore, pointer: Pointer) -> None:
    """Somebody else moves the pointer, asking nobody."""
    bucket, _, prefix = store.uri.removeprefix("s3://").partition("/")
    direct.put_object(Bucket=bucket, Key=f"{prefix}/current", Body=pointer.model_dump_json().encode())


def test_a_lost_answer_is_a_success(store: DatasetStore, line: Line) -> None:
    """The PUT landed, its answer was lost, boto3 sent it again and was refused: that was us, not a lost race."""
    before = store.current()
    to = store.pointer_to(before.version, "lastgood")
    line.puts, line.lose_answers = 0, 1
    store.move(to, before)
    assert line.puts == 2
    assert store.current() == to


@pytest.mark.parametrize("breaks", [0, 1, 2])
def test_an_object_whose_answer_breaks_off_is_fetched_whole(
    store: DatasetStore, line: Line, tmp_path: Path, breaks: int
) -> None:
    """An object comes with one request; where its answer breaks off it is asked for again, and comes whole."""
    file = tmp_path / "large"
    file.write_bytes(os.urandom(2_000_000))
    version = store.publish([file], at=datetime(2026, 11, 24, tzinfo=UTC)).version
    line.gets, line.break_off = 0, breaks
    (found,) = store.fetch(version, tmp_path / "fetched")
    assert found.read_bytes() == file.read_bytes()
    assert (line.gets, line.break_off) == (1 + breaks, 0)


def test_a_lost_answer_to_the_first_move_is_a_success(s3_prefix: str, store: DatasetStore, line: Line) -> None:
    """The same where there was no pointer yet."""
    version = store.current().version
    bucket, _, prefix = s3_prefix.removeprefix("s3://").partition("/")
    clients.s3().delete_object(Bucket=bucket, Key=f"{prefix}/current")
    to = store.pointer_to(version, "lastgood")
    line.puts, line.lose_answers = 0, 1
    store.move(to, None)
    assert line.puts == 2
    assert store.current() == to


def test_a_lost_race_is_a_conflict(store: DatasetStore, line: Line, direct: S3Client) -> None:
    """The first PUT never arrived, somebody else was faster than the second: that is a conflict, theirs stays."""
    before = store.current()
    theirs = store.pointer_to(before.version, "bob")
    line.puts, line.lose_requests = 0, 1

    def before_each(**_: object) -> None:
        if line.puts:
            put(direct, store, theirs)

    clients.s3().meta.events.register_first("before-send.s3", before_each)
    with pytest.raises(Conflict, match="set by bob"):
        store.move(store.pointer_to(before.version, "lastgood"), before)
    assert line.puts == 2
    assert store.current() == theirs


def test_who_moves_after_a_lost_answer_is_not_overwritten(store: DatasetStore, line: Line, direct: S3Client) -> None:
    """Ours landed, its answer was lost, somebody else moved on before boto3 sent it again: theirs stays."""
    before = store.current()
    theirs = store.pointer_to(before.version, "bob")
    line.landed = lambda: put(direct, store, theirs)
    line.lose_answers = 1
    with pytest.raises(Conflict, match="set by bob"):
        store.move(store.pointer_to(before.version, "lastgood"), before)
    assert store.current() == theirs


@pytest.fixture
def no_retry(line: Line) -> Iterator[None]:
    """A real client that gives up at the first error, as ours does at the fifth."""
    client = boto3.client("s3", endpoint_url=line.url, config=Config(retries={"total_max_attempts": 1}))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(clients, "s3", lambda: client)
        yield


def test_a_connection_lost_after_the_put_landed_is_a_success(store: DatasetStore, line: Line, no_retry: None) -> None:
    """No answer at all, but the pointer is ours."""
    before = store.current()
    to = store.pointer_to(before.version, "lastgood")
    line.puts, line.lose_answers = 0, 1
    store.move(to, before)
    assert line.puts == 1
    assert store.current() == to


def test_a_connection_lost_before_the_put_landed_is_an_error(store: DatasetStore, line: Line, no_retry: None) -> None:
    """Nothing was written and nobody else moved: neither success nor conflict, and calling again is safe."""
    before = store.current()
    to = store.pointer_to(before.version, "lastgood")
    line.lose_requests = 1
    with pytest.raises(BotoCoreError):
        store.move(to, before)
    assert store.current() == before
    store.move(to, before)
    assert store.current() == to


def test_who_may_not_write_gets_s3s_own_refusal(store: DatasetStore, forget_clients: Callable[[], None]) -> None:
    """Wrong credentials are no conflict."""
    before = store.current()
    to = store.pointer_to(before.version, "lastgood")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
        forget_clients()
        with pytest.raises(ClientError, match="SignatureDoesNotMatch"):
            store.move(to, before)
    forget_clients()
    assert store.current() == before
