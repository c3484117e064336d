"""The web app: what it lets in, what it answers, and that it never breaks and never repeats what it was sent."""

from __future__ import annotations

import gzip
import logging
import sqlite3
import subprocess
import sys
import tracemalloc
from collections.abc import AsyncIterator, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import event, select

from incidents.intake import store
from incidents.intake.request import LARGEST_BODY
from incidents.ledger import Ledger
from incidents.playbook import Playbook
from incidents.schema import deliveries
from tests.incidents.posting import DRIFT, HEADERS, TOKENS, Poster, as_bytes, payload, raw_alert
from tests.incidents.test_audit import as_owner

#: Stands in bodies and tokens, and must stand in no answer.
NEEDLE = "hunter2"


@pytest.fixture
def poster(ledger: Ledger, book: Playbook, monkeypatch: pytest.MonkeyPatch) -> Poster:
    """A sender with the right token, and an empty ledger behind the app."""
    for name, value in TOKENS.items():
        monkeypatch.setenv(name, value)
    return Poster(ledger, book)


def assert_problem(answer: httpx.Response, status: int) -> dict[str, Any]:
    """It is this error, as RFC 9457 has it, and repeats nothing."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    problem: dict[str, Any] = answer.json()
    assert problem["status"] == status
    assert problem["title"]
    assert problem["detail"]
    assert NEEDLE not in answer.text
    return problem


def bodies(ledger: Ledger) -> list[bytes]:
    """The bodies that were stored."""
    with ledger.engine.connect() as connection:
        return [row.body for row in connection.execute(select(deliveries))]


def test_what_is_new_is_202_and_a_repeat_is_200(poster: Poster, ledger: Ledger) -> None:
    """The answer comes after the commit, with the incident's name."""
    first = poster.post(payload(DRIFT))
    assert first.status_code == 202
    assert first.json()["incidents"] == ["INC-1"]
    assert bodies(ledger) == [payload(DRIFT)]
    second = poster.post(payload(DRIFT))
    assert second.status_code == 200
    assert second.json() == {**first.json(), "opened": 0, "unchanged": 1}


def test_our_own_format_is_taken_by_its_own_sender(poster: Poster) -> None:
    """The sender's name in the address says which format it is."""
    assert poster.post({"name": "Stale", "labels": {"dataset": "transactions"}}, "generic").status_code == 202
    assert_problem(poster.post({"name": "Stale"}), 422)


@pytest.mark.parametrize(
    "given_header",
    [
        None,
        "",
        "Bearer",
        "Bearer ",
        "Bearer wrong",
        "Bearer the-token-and-more",
        "Bearer the-toke",
        "Basic the-token",
        "GenieKey the-token",
        "the-token",
        b"Bearer \xff\xfe",
        "Bearer " + NEEDLE * 500,
    ],
)
def test_every_wrong_credential_is_answered_alike(
    poster: Poster, ledger: Ledger, given_header: str | bytes | None
) -> None:
    """Nobody learns from the answer what was wrong, and nothing of the body is stored."""
    headers = [("Content-Type", "application/json")] + ([("Authorization", given_header)] if given_header else [])
    answer = poster.request("POST", "/alerts/alertmanager", content=payload(DRIFT), headers=headers)
    assert_problem(answer, 401)
    assert answer.headers["www-authenticate"].startswith("Bearer")
    assert answer.json()["detail"] == "a valid bearer token is needed"
    assert bodies(ledger) == []


@pytest.mark.parametrize("value", [None, ""])
def test_without_a_token_in_the_environment_nobody_gets_in(
    ledger: Ledger,
    book: Playbook,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    value: str | None,
) -> None:
    """A variable that is not set, or empty, opens to no token at all, and the log says so at the start."""
    monkeypatch.delenv("LASTGOOD_TOKEN_GENERIC", raising=False)
    if value is not None:
        monkeypatch.setenv("LASTGOOD_TOKEN_ALERTMANAGER", value)
    with caplog.at_level(logging.WARNING):
        poster = Poster(ledger, book)
    assert "LASTGOOD_TOKEN_ALERTMANAGER is not set" in caplog.text
    for token in ("", " ", "None", "the-token"):
        assert_problem(poster.post(payload(DRIFT), Authorization=f"Bearer {token}"), 401)


def test_addresses_and_methods_that_are_not_there(poster: Poster) -> None:
    """Unknown senders and addresses are 404, other methods 405 with those allowed, and no page loads from elsewhere."""
    assert_problem(poster.post(payload(DRIFT), "nosuch"), 404)
    for path in ("/", "/alerts", "/alerts/", "/alerts/alertmanager/", "/docs", "/redoc", "/openapi.json"):
        assert_problem(poster.request("POST", path, content=payload(DRIFT), headers=HEADERS), 404)
    for method in ("GET", "PUT", "DELETE", "PATCH"):
        answer = poster.request(method, "/alerts/alertmanager", headers=HEADERS)
        assert_problem(answer, 405)
        assert answer.headers["allow"] == "POST"


@pytest.mark.parametrize(
    ("content_type", "status"),
    [
        ("application/json", 202),
        ("Application/JSON; charset=utf-8", 202),
        ("application/vnd.alerts+json", 202),
        ("", 202),
        ("text/plain", 415),
        ("application/x-www-form-urlencoded", 415),
        ("multipart/form-data; boundary=x", 415),
        ("text/json", 415),
        ("+json", 415),
    ],
)
def test_content_types(poster: Poster, content_type: str, status: int) -> None:
    """JSON by any of its names, or by none as old senders do."""
    answer = poster.post(payload(DRIFT), **{"Content-Type": content_type})
    assert answer.status_code == status
    if status == 415:
        assert_problem(answer, 415)
        assert answer.headers["accept"] == "application/json"


def test_a_gzipped_body_is_stored_inflated(poster: Poster, ledger: Ledger) -> None:
    """It is the same delivery, gzipped or not."""
    assert poster.post(gzip.compress(payload(DRIFT)), **{"Content-Encoding": "gzip"}).status_code == 202
    assert poster.post(payload(DRIFT)).status_code == 200
    assert bodies(ledger) == [payload(DRIFT)]


def test_what_is_not_one_whole_gzip_stream(poster: Poster) -> None:
    """Plain, cut off, followed by something, or of another encoding."""
    whole = gzip.compress(payload(DRIFT))
    for body in (payload(DRIFT), whole[:-9], whole + whole, whole + b"x", b"", b"\x1f\x8b"):
        assert_problem(poster.post(body, **{"Content-Encoding": "gzip"}), 400)
    for encoding in ("br", "deflate", "gzip, gzip", "zstd"):
        answer = poster.post(whole, **{"Content-Encoding": encoding})
        assert_problem(answer, 415)
        assert answer.headers["accept-encoding"] == "gzip"


def test_the_limit_counts_inflated_bytes(poster: Poster, ledger: Ledger) -> None:
    """A bomb of a few kilobytes is refused once it has grown to the limit, and a body right at the limit is read."""
    bomb = gzip.compress(b" " * (LARGEST_BODY * 8), 9)
    assert len(bomb) < 200_000
    tracemalloc.start()
    assert_problem(poster.post(bomb, **{"Content-Encoding": "gzip"}), 413)
    assert tracemalloc.get_traced_memory()[1] < 4 * LARGEST_BODY
    tracemalloc.stop()
    right_at = payload(DRIFT).rstrip().ljust(LARGEST_BODY)
    assert_problem(poster.post(right_at + b" "), 413)
    assert_problem(poster.post(gzip.compress(right_at + b" ", 1), **{"Content-Encoding": "gzip"}), 413)
    assert bodies(ledger) == []
    assert poster.post(gzip.compress(right_at, 1), **{"Content-Encoding": "gzip"}).status_code == 202


def test_the_limit_holds_for_a_body_that_does_not_say_its_length(poster: Poster) -> None:
    """Chunks are counted as they come; nobody waits for the end of an endless one."""
    sent = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        while True:
            sent += 1
            yield b" " * 1_000_000

    assert_problem(poster.request("POST", "/alerts/alertmanager", content=endless(), headers=HEADERS), 413)
    assert sent < 20


@pytest.mark.parametrize("length", ["99999999999999999999999", str(LARGEST_BODY + 1)])
def test_a_length_that_is_too_large_is_believed(poster: Poster, length: str) -> None:
    """Then nothing needs to be read at all."""
    assert_problem(poster.post(b"{}", **{"Content-Length": length}), 413)


def test_large_headers_are_refused(poster: Poster) -> None:
    """As the HTTP server would refuse them, but in our own words."""
    assert_problem(poster.post(payload(DRIFT), **{"X-A": "a" * 65_000}), 431)


def test_bad_bodies_are_told_apart(poster: Poster, ledger: Ledger) -> None:
    """400 for what is no JSON, 422 with the things to change for JSON of another shape; neither is stored."""
    assert_problem(poster.post(f'{{"{NEEDLE}": '.encode()), 400)
    problem = assert_problem(poster.post({"alerts": NEEDLE}), 422)
    assert problem["errors"] == ["alerts must be a list"]
    problem = assert_problem(poster.post({"nam": NEEDLE, NEEDLE: 1}, "generic"), 422)
    assert problem["errors"][0] == "name: field required"
    assert "not known" in problem["errors"][1]
    assert bodies(ledger) == []


def test_a_busy_database_is_503_and_the_alert_can_come_again(poster: Poster, ledger: Ledger, tmp_path: Path) -> None:
    """Alertmanager tries again after a 503; what was not acknowledged was not stored."""

    @event.listens_for(ledger.engine, "connect")
    def _hurry(connection: sqlite3.Connection, _record: object) -> None:
        connection.execute("PRAGMA busy_timeout=50")

    ledger.engine.dispose()
    with closing(sqlite3.connect(tmp_path / "ledger.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        answer = poster.post(payload(DRIFT))
        assert_problem(answer, 503)
        assert int(answer.headers["retry-after"]) > 0
        other.execute("ROLLBACK")
    assert bodies(ledger) == []
    assert poster.post(payload(DRIFT)).status_code == 202


def test_a_broken_record_is_503_until_it_is_mended(poster: Poster, ledger: Ledger) -> None:
    """Nothing is built on a break: the sender is to come again, and is told where it is and what a person can do."""
    poster.post(payload(DRIFT))
    as_owner(ledger, "UPDATE events SET actor = 'person:eve' WHERE seq = 1")
    again = Poster(Ledger(str(ledger.engine.url)), poster.book)
    another = {"alerts": [raw_alert(fingerprint="another")]}
    for _ in range(2):
        answer = again.post(another)
        detail = assert_problem(answer, 503)["detail"]
        assert "broken at event 1" in detail
        assert "lastgood audit verify" in detail
        assert answer.headers["retry-after"] == "5"
    assert len(bodies(ledger)) == 1
    with closing(sqlite3.connect(str(ledger.engine.url.database))) as connection, connection:
        connection.execute("UPDATE events SET actor = 'intake:alertmanager' WHERE seq = 1")
    assert again.post(another).status_code == 202


def test_a_database_that_is_gone_is_503(poster: Poster, ledger: Ledger, tmp_path: Path) -> None:
    """Neither taking in nor health pretends."""
    ledger.engine.dispose()
    for file in tmp_path.iterdir():
        file.unlink()
    (tmp_path / "ledger.db").mkdir()
    assert_problem(poster.post(payload(DRIFT)), 503)
    assert_problem(poster.request("GET", "/health"), 503)


def test_an_error_of_ours_says_nothing_about_the_alert(poster: Poster, monkeypatch: pytest.MonkeyPatch) -> None:
    """Should something break that nobody thought of, the answer is still a problem document without the body."""

    def broken(*_given: object) -> None:
        raise RuntimeError(NEEDLE)

    monkeypatch.setattr(store, "accept", broken)
    assert_problem(poster.post(payload(DRIFT)), 500)


def test_health_counts_what_waits(poster: Poster) -> None:
    """Numbers only: it asks for no token."""
    assert poster.request("GET", "/health").json() == {"ledger": "readable", "outbox": {"waiting": 0, "failing": 0}}
    poster.post(payload(DRIFT))
    assert poster.request("GET", "/health").json()["outbox"] == {"waiting": 1, "failing": 0}


def test_the_app_loads_none_of_the_heavy_libraries() -> None:
    """They cost seconds and memory, and the process that faces the network has no business with them."""
    heavy = {"prefect", "mlflow", "great_expectations", "boto3", "duckdb", "pandas", "sklearn", "apprise"}
    code = f"import incidents.intake.app, sys; sys.exit(str(sorted({heavy!r} & set(sys.modules))))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stderr.strip() == "[]"


@pytest.fixture(scope="module")
def anything(tmp_path_factory: pytest.TempPathFactory, book: Playbook) -> Iterator[Poster]:
    """A sender for many tries, one ledger behind them all."""
    ledger = Ledger(f"sqlite:///{tmp_path_factory.mktemp('anything') / 'ledger.db'}")
    with pytest.MonkeyPatch.context() as patch:
        for name, value in TOKENS.items():
            patch.setenv(name, value)
        yield Poster(ledger, book)
    ledger.engine.dispose()


_SCALAR = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
_VALUE = st.recursive(_SCALAR, lambda x: st.lists(x, max_size=3) | st.dictionaries(st.text(), x, max_size=3))
_ALERT = st.fixed_dictionaries(
    {}, optional={key: st.text() | _VALUE for key in (*raw_alert(), "name", "severity", "link")}
)
_DOCUMENT = _VALUE | _ALERT | st.fixed_dictionaries({"alerts": st.lists(_ALERT | _VALUE, max_size=4)})


@settings(max_examples=150, deadline=None)
@given(document=_DOCUMENT, sender=st.sampled_from(["alertmanager", "generic"]))
def test_no_document_breaks_it(anything: Poster, document: Any, sender: str) -> None:
    """Any JSON value, near the format or far from it, is stored or refused; and sent again it is nothing new."""
    body = as_bytes(document)
    first = anything.post(body, sender)
    assert first.status_code in (200, 202, 400, 422)
    if first.is_success:
        assert anything.post(body, sender).status_code == 200
    else:
        assert_problem(first, first.status_code)


@settings(max_examples=100, deadline=None)
@given(
    body=st.binary(),
    headers=st.dictionaries(
        st.sampled_from(["Content-Type", "Content-Encoding", "Authorization", "Accept", "Content-Length"]),
        st.binary(max_size=30).map(lambda raw: raw.replace(b"\n", b"").replace(b"\r", b"").replace(b"\0", b"")),
    ),
)
def test_no_bytes_break_it(anything: Poster, body: bytes, headers: dict[str, bytes]) -> None:
    """Any bytes as body and as the headers that are looked at."""
    sent = {**{key: value.encode() for key, value in HEADERS.items()}, **headers}
    answer = anything.request("POST", "/alerts/alertmanager", content=body, headers=sent)
    assert answer.status_code < 500, answer.text
