"""Telling people, over a real SMTP server and a real HTTP end: what arrives, what does not, and what nobody may see."""

from __future__ import annotations

import asyncio
import json
import logging
import socket
import threading
from collections.abc import Iterator
from contextlib import closing
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult
from sqlalchemy import select, update

from demo.servers import free_port
from incidents import channels, outbox, schema
from incidents import events as e
from incidents.channels import LONGEST_TEXT, LONGEST_TITLE, TRIES, NotDelivered, announce, deliver
from incidents.ledger import Ledger
from incidents.models import Category, Severity
from incidents.playbook import Playbook

pytestmark = [
    pytest.mark.filterwarnings("ignore:Requiring AUTH while not requiring TLS"),  # on loopback, in a test
    pytest.mark.filterwarnings("ignore:'imghdr' is deprecated"),  # Apprise's own import
]

PAGER, CHAT = "LASTGOOD_CHANNEL_PAGER", "LASTGOOD_CHANNEL_CHAT"

#: What stands in the addresses below and nowhere else may stand.
SECRETS = ("t0ps3cret-token", "hush-hush-path", "qu3ry-k3y")
SECRET_PART = f"/{SECRETS[1]}?+X-Key={SECRETS[2]}"


class Post(BaseHTTPRequestHandler):
    """Keeps what is posted, and answers as the end was told to."""

    server: End

    def do_POST(self) -> None:
        """Take one message."""
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.posts.append((self.path, dict(self.headers), json.loads(body)))
        self.send_response(self.server.answer)
        self.send_header("Content-Length", "0")
        if self.server.answer == 302:
            self.send_header("Location", "/elsewhere")
        self.end_headers()

    def do_GET(self) -> None:
        """Where a redirect would lead to."""
        self.server.followed = True
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


class End(ThreadingHTTPServer):
    """A real HTTP end on loopback."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Post)
        self.posts: list[tuple[str, dict[str, str], dict[str, Any]]] = []
        self.answer, self.followed = 200, False

    @property
    def url(self) -> str:
        """Its Apprise address, with secrets in every part that can hold one."""
        return f"json://hook:{SECRETS[0]}@127.0.0.1:{self.server_port}{SECRET_PART}"


@pytest.fixture
def end() -> Iterator[End]:
    """A running HTTP end."""
    with End() as made:
        thread = threading.Thread(target=made.serve_forever, args=(0.05,))
        thread.start()
        yield made
        made.shutdown()
        thread.join()


class Mailbox(Controller):  # type: ignore[misc]  # untyped upstream
    """A real SMTP server on loopback that takes mail from who knows the password."""

    def __init__(self) -> None:
        self.mails: list[EmailMessage] = []
        self.password, self.answer = SECRETS[0], "250 OK"
        super().__init__(
            self,
            hostname="127.0.0.1",
            port=free_port(),
            authenticator=self.knows_password,
            auth_required=True,
            auth_require_tls=False,
        )

    async def handle_DATA(self, _server: object, _session: object, envelope: Any) -> str:
        """Take one mail, or refuse it."""
        if self.answer.startswith("2"):
            self.mails.append(message_from_bytes(envelope.content, policy=default))
        return self.answer

    def knows_password(self, _server: object, _session: object, _envelope: object, _how: str, given: Any) -> AuthResult:
        """Only with the password."""
        return AuthResult(success=given.password == self.password.encode())

    @property
    def url(self) -> str:
        """Its Apprise address."""
        return f"mailto://lastgood:{SECRETS[0]}@127.0.0.1:{self.port}?from=lastgood@example.org&to=oncall@example.org"


@pytest.fixture
def mailbox() -> Iterator[Mailbox]:
    """A running SMTP server."""
    made = Mailbox()
    made.start()
    yield made
    made.stop()


@pytest.fixture
def deaf(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of an end that takes the connection and never answers."""
    monkeypatch.setattr(channels, "TIME_LIMIT", 0.5)
    with closing(socket.create_server(("127.0.0.1", 0))) as listening:
        yield f"json://hook:{SECRETS[0]}@127.0.0.1:{listening.getsockname()[1]}{SECRET_PART}"


@pytest.fixture
def incident(ledger: Ledger) -> str:
    """An incident to tell of."""
    opened = e.Opened(category=Category.data, severity=Severity.high, asset="dataset:transactions", title="in cents")
    with ledger.write() as writer:
        return writer.open(opened, actor="intake:generic")


def tell(ledger: Ledger, book: Playbook, incident: str, title: str = "in cents", text: str = "look") -> None:
    """Announce something of severity 2, which goes to pager and chat."""
    with ledger.write() as writer:
        announce(writer, book, incident, Severity.high, title, text)


def work_off(ledger: Ledger) -> None:
    """Let the real outbox try every job, now."""
    with ledger.write() as writer:
        writer.connection.execute(update(schema.outbox).where(schema.outbox.c.done_at.is_(None)).values(next_at="0"))
    asyncio.run(outbox.deliver_due(ledger, outbox.handlers(ledger)))


def jobs(ledger: Ledger) -> dict[str, Any]:
    """The outbox, by channel."""
    with ledger.engine.connect() as connection:
        return {json.loads(row.payload)["channel"]: row for row in connection.execute(select(schema.outbox))}


def told(ledger: Ledger) -> dict[str, e.Told]:
    """What the record says of each channel."""
    found = [event.body for event in ledger.events(kinds=["told"])]
    return {body.channel: body for body in found if isinstance(body, e.Told)}


def test_one_job_a_channel_in_the_same_transaction(ledger: Ledger, book: Playbook, incident: str) -> None:
    """A message is asked for together with what it tells of, once for each channel of the severity, or not at all."""

    def breaks() -> None:
        with ledger.write() as writer:
            writer.append(e.Resolved(why="good again"), actor="flow:data", incident=incident)
            announce(writer, book, incident, Severity.high, "resolved", "good again")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        breaks()
    assert jobs(ledger) == {}
    for _ in range(2):
        tell(ledger, book, incident)
    assert {name: row.kind for name, row in jobs(ledger).items()} == {"pager": "tell", "chat": "tell"}
    assert {row.incident for row in jobs(ledger).values()} == {incident}
    with ledger.engine.connect() as connection:
        assert len(connection.execute(select(schema.outbox)).all()) == 2
    with ledger.write() as writer:
        announce(writer, book, incident, Severity.low, "another", "look")
    with ledger.engine.connect() as connection:
        assert len(connection.execute(select(schema.outbox)).all()) == 3


def test_a_channel_without_an_address(
    ledger: Ledger, book: Playbook, incident: str, end: End, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An unset variable is on the record at once and for good, and the other channel gets its message."""
    monkeypatch.setenv(CHAT, end.url)
    monkeypatch.delenv(PAGER, raising=False)
    tell(ledger, book, incident)
    work_off(ledger)
    assert told(ledger)["pager"] == e.Told(
        channel="pager", title="in cents", delivered=False, why="LASTGOOD_CHANNEL_PAGER is not set"
    )
    assert told(ledger)["chat"] == e.Told(channel="chat", title="in cents", delivered=True)
    assert all(row.done_at for row in jobs(ledger).values())
    work_off(ledger)
    assert len(ledger.events(kinds=["told"])) == 2
    assert len(end.posts) == 1


def test_http(ledger: Ledger, book: Playbook, incident: str, end: End, monkeypatch: pytest.MonkeyPatch) -> None:
    """Title and text arrive, with the address's secret where it belongs; the event says who wrote it."""
    monkeypatch.setenv(CHAT, end.url)
    tell(ledger, book, incident, "INC-1 needs the data engineer", "no safe plan\nsecond line")
    work_off(ledger)
    [(path, headers, body)] = end.posts
    assert path == f"/{SECRETS[1]}"
    assert headers["X-Key"] == SECRETS[2]
    assert (body["title"], body["message"]) == ("INC-1 needs the data engineer", "no safe plan\nsecond line")
    assert body["type"] == "failure"
    [event] = [event for event in ledger.events(incident=incident) if event.actor == "channel:chat"]
    assert event.body == told(ledger)["chat"]


def test_mail(ledger: Ledger, book: Playbook, incident: str, mailbox: Mailbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """A mail arrives as plain text, whatever the alert said."""
    monkeypatch.setenv(PAGER, mailbox.url)
    tell(ledger, book, incident, "<b>in cents</b>\r\nBcc: eve@example.org", "<img src=x> *look* & see\n# not a heading")
    work_off(ledger)
    [mail] = mailbox.mails
    assert mail["To"] == "oncall@example.org"
    assert mail["Subject"] == "＜b＞in cents＜/b＞ Bcc: eve＠example.org"
    assert mail["Bcc"] is None
    [part] = [part for part in mail.walk() if not part.is_multipart() and isinstance(part, EmailMessage)]
    assert part.get_content_type() == "text/plain"
    assert part.get_content().splitlines() == ["＜img src=x＞ *look* & see", "# not a heading"]
    assert told(ledger)["pager"].delivered


def test_mail_that_is_refused(
    ledger: Ledger, book: Playbook, incident: str, mailbox: Mailbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that refuses has not taken the message, and the outbox goes on trying."""
    mailbox.answer = "451 come again"
    monkeypatch.setenv(PAGER, mailbox.url)
    tell(ledger, book, incident)
    work_off(ledger)
    assert mailbox.mails == []
    assert "pager" not in told(ledger)
    assert jobs(ledger)["pager"].done_at is None
    mailbox.answer = "250 OK"
    work_off(ledger)
    assert len(mailbox.mails) == 1
    assert told(ledger)["pager"].delivered


@pytest.mark.parametrize("answer", [302, 400, 404, 429, 500, 503])
def test_an_end_that_refuses(
    ledger: Ledger, book: Playbook, incident: str, end: End, monkeypatch: pytest.MonkeyPatch, *, answer: int
) -> None:
    """Anything but a yes is no delivery, a redirect included, which is not followed; a later yes is one."""
    monkeypatch.setenv(CHAT, end.url)
    end.answer = answer
    tell(ledger, book, incident)
    work_off(ledger)
    assert (len(end.posts), end.followed) == (1, False)
    assert "chat" not in told(ledger)
    assert jobs(ledger)["chat"].error == "NotDelivered: chat could not be reached, or refused it"
    end.answer = 200
    work_off(ledger)
    assert told(ledger)["chat"].delivered


def test_a_dead_channel_blocks_no_other(
    *, ledger: Ledger, book: Playbook, incident: str, end: End, deaf: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While one end hangs the other has its message; the hanging one is tried a bounded number of times, and then
    the record says that it was not reached."""
    monkeypatch.setenv(PAGER, deaf)
    monkeypatch.setenv(CHAT, end.url)
    tell(ledger, book, incident)
    work_off(ledger)
    assert told(ledger) == {"chat": e.Told(channel="chat", title="in cents", delivered=True)}
    assert jobs(ledger)["pager"].error == "NotDelivered: pager did not answer within 0 s"
    with ledger.write() as writer:
        writer.connection.execute(update(schema.outbox).values(attempts=TRIES - 1))
    work_off(ledger)
    assert told(ledger)["pager"] == e.Told(
        channel="pager", title="in cents", delivered=False, why="pager did not answer within 0 s"
    )
    assert jobs(ledger)["pager"].done_at is not None
    assert len(end.posts) == 1


def test_many_hanging_messages_hold_nothing_up(ledger: Ledger, incident: str, deaf: str) -> None:
    """Threads that hang in a dead channel take none from the event loop's pool, where the ledger is written."""
    payload = {"incident": incident, "severity": 2, "channel": "pager", "variable": PAGER, "title": "t", "text": "t"}

    async def work() -> list[object]:
        hanging = [asyncio.create_task(deliver(ledger, payload)) for _ in range(40)]
        await asyncio.sleep(0)
        assert await asyncio.wait_for(asyncio.to_thread(lambda: "free"), 5) == "free"
        return await asyncio.gather(*hanging, return_exceptions=True)

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(PAGER, deaf)
        patch.setattr(channels, "TIME_LIMIT", 2)
        assert {type(found) for found in asyncio.run(work())} == {NotDelivered}


@pytest.mark.parametrize(
    "url", ["nonsense", "nonsense://x", "json://", "mailto://", "http://[", "slack://a", "::", "\x00"]
)
def test_an_address_that_is_none(ledger: Ledger, incident: str, monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    """What Apprise can make nothing of is on the record at once: trying again would not help."""
    payload = {"incident": incident, "severity": 2, "channel": "pager", "variable": "SOME", "title": "t", "text": "t"}
    monkeypatch.setattr("os.environ", {"SOME": url})  # the real one holds no NUL
    asyncio.run(deliver(ledger, payload))
    assert told(ledger)["pager"].why == "what SOME holds is not an Apprise URL"


def test_long_text_is_cut(ledger: Ledger, book: Playbook, incident: str) -> None:
    """However long a title or a text is, what is sent is bounded, and the job's key fits its column."""
    tell(ledger, book, incident, "t" * 10_000, "line\n" * 10_000)
    payload = json.loads(jobs(ledger)["chat"].payload)
    assert (len(payload["title"]), len(payload["text"])) == (LONGEST_TITLE, LONGEST_TEXT)
    assert len(jobs(ledger)["chat"].key) <= 200


def test_the_secret_stays_secret(
    *,
    ledger: Ledger,
    book: Playbook,
    incident: str,
    end: End,
    mailbox: Mailbox,
    deaf: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """Whether it arrives, is refused, hangs, is no address or nobody is there: no part of an address is in the ledger's
    file, in a log at the finest level, or printed."""
    caplog.set_level(1)
    for name in ("apprise", "urllib3", "urllib3.connectionpool", "asyncio"):
        logging.getLogger(name).setLevel(1)
    nobody = f"json://hook:{SECRETS[0]}@127.0.0.1:{free_port()}{SECRET_PART}"
    strange = f"nonsense://{SECRETS[0]}/{SECRETS[1]}?{SECRETS[2]}"
    incomplete = f"slack://{SECRETS[0]}/{SECRETS[1]}/{SECRETS[2]}"
    for number, url in enumerate([end.url, mailbox.url, deaf, nobody, strange, incomplete]):
        for answer, password in ((200, SECRETS[0]), (500, "another")):
            end.answer, mailbox.password = answer, password
            monkeypatch.setenv(CHAT, url)
            tell(ledger, book, incident, f"message {number} {answer}")
            work_off(ledger)
    with ledger.write() as writer:
        writer.connection.execute(update(schema.outbox).values(attempts=TRIES - 1))
    work_off(ledger)
    assert {body.delivered for body in told(ledger).values()} == {False}
    assert len(end.posts) >= 2
    assert len(mailbox.mails) >= 1
    path = Path(str(ledger.engine.url.database))
    stored = b"".join(file.read_bytes() for file in path.parent.glob(f"{path.name}*"))
    assert b"LASTGOOD_CHANNEL_CHAT" in stored
    printed = capfd.readouterr()
    for secret in SECRETS:
        assert secret.encode() not in stored
        assert secret not in caplog.text
        assert secret not in printed.out + printed.err
