"""One-time links: only ours, only once, only in time, and only when a form is sent."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from urllib.parse import urlparse

import pytest
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, given
from hypothesis import settings as how
from hypothesis import strategies as st
from sqlalchemy import select

from incidents import settings as all_settings
from incidents.channels import Message, _text
from incidents.incident import find
from incidents.intake.app import create_app
from incidents.ledger import Ledger
from incidents.links import Link, NoLink, address, read
from incidents.models import Severity, Status, now
from incidents.playbook import Playbook
from incidents.schema import outbox
from tests.incidents.test_approvals import begun

KEY = "a key of this test, long enough to sign with"
FORM = {"Content-Type": "application/x-www-form-urlencoded"}


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A key to sign links with, and where people reach the intake."""
    monkeypatch.setenv("LASTGOOD_LINK_KEY", KEY)
    monkeypatch.setenv("LASTGOOD_PUBLIC_URL", "http://testserver/")
    all_settings.settings.cache_clear()
    yield
    all_settings.settings.cache_clear()


@pytest.fixture
def client(ledger: Ledger, book: Playbook) -> Iterator[TestClient]:
    """The intake."""
    with TestClient(create_app(ledger, book, handlers={})) as made:
        yield made


def sent(ledger: Ledger) -> list[str]:
    """The links in the messages to people, as they are made when they are sent, without the host."""
    with ledger.engine.connect() as connection:
        payloads = connection.scalars(select(outbox.c.payload).where(outbox.c.kind == "tell")).all()
    assert not any("/answers/" in payload for payload in payloads), "a link lies in the outbox"
    texts = [_text(Message.model_validate_json(payload)) for payload in payloads]
    return [urlparse(line).path for text in texts for line in text.splitlines() if "/answers/" in line]


def test_opening_a_link_answers_nothing_and_the_form_does_once(
    client: TestClient, ledger: Ledger, book: Playbook
) -> None:
    """A scanner that opens or probes it changes nothing; the form counts once, and then the link is used up."""
    incident, plan = begun(ledger, book)
    [link] = sent(ledger)
    before = ledger.length()
    page = client.get(link)
    assert (page.status_code, client.head(link).status_code) == (200, 200)
    assert plan.hash in page.text
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert ledger.length() == before
    assert client.post(link, content="answer=approve", headers=FORM).status_code == 422
    assert client.post(link, content="answer=approve&asked_by=anna", headers=FORM).status_code == 200
    assert find(ledger, incident).status is Status.open
    assert client.post(link, content="answer=approve&asked_by=ben", headers=FORM).status_code == 409
    assert client.get(link).status_code == 410


def test_one_channels_link_counts_once_where_two_people_are_needed(
    client: TestClient, ledger: Ledger, book: Playbook
) -> None:
    """Names are only typed in, so one channel can't fill a quorum by itself; another channel, or a command, can."""
    incident, _ = begun(ledger, book, Severity.critical)
    first, second = sent(ledger)
    assert client.post(first, content="answer=approve&asked_by=anna", headers=FORM).status_code == 200
    again = client.post(first, content="answer=approve&asked_by=ben", headers=FORM)
    assert (again.status_code, "used before" in again.text) == (409, True)
    assert find(ledger, incident).status is Status.waiting
    assert client.post(second, content="answer=approve&asked_by=ben", headers=FORM).status_code == 200
    assert find(ledger, incident).status is Status.open


def test_what_an_alert_says_stays_text_on_the_page(client: TestClient, ledger: Ledger, book: Playbook) -> None:
    """Nothing typed into the form comes back as markup."""
    begun(ledger, book)
    [link] = sent(ledger)
    page = client.post(link, content="answer=reject&asked_by=<script>x</script>&because=<b>", headers=FORM)
    assert page.status_code == 200
    assert "<script>" not in page.text
    assert "<b>" not in page.text


def test_without_a_key_there_are_no_links(
    client: TestClient, ledger: Ledger, book: Playbook, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No key, or one that is too short: no link is made, and none is taken, also not one signed with an empty key."""
    begun(ledger, book)
    [link] = sent(ledger)
    for key in ("", "short"):
        monkeypatch.setenv("LASTGOOD_LINK_KEY", key)
        all_settings.settings.cache_clear()
        assert sent(ledger) == []
        assert client.get(link).status_code == 404
    assert KEY not in repr(all_settings.settings())


def test_a_link_that_ran_out_is_none(client: TestClient, ledger: Ledger, book: Playbook) -> None:
    """Its time is signed with it."""
    late = Link(incident="INC-1", plan="0" * 64, channel="chat", expires_at=now() - timedelta(seconds=1))
    assert client.get(urlparse(address(late)).path).status_code == 404


@how(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(data=st.data())
def test_a_changed_link_is_none(data: st.DataObject) -> None:
    """Whatever letter is changed, added or cut off: nobody but us makes a link."""
    link = Link(incident="INC-1", plan="0" * 64, channel="chat", expires_at=now() + timedelta(hours=1))
    token = address(link).rpartition("/")[2]
    assert read(token) == link
    place = data.draw(st.integers(0, len(token) - 1))
    letter = data.draw(st.text(max_size=2).filter(lambda text: text != token[place]))
    with pytest.raises(NoLink):
        read(token[:place] + letter + token[place + 1 :])
