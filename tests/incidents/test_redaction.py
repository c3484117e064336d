"""No secret gets onto the record: not from an alert, not from a person's action, not through an error's text."""

from __future__ import annotations

import asyncio
import json
import string
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from incidents import events as e
from incidents import redaction
from incidents.channels import announce
from incidents.intake import generic, strict_json
from incidents.intake.group import Groups
from incidents.intake.inbox import Delivery
from incidents.intake.store import accept
from incidents.ledger import Ledger
from incidents.models import Alert, Category, Health, Mode, Severity, Verdict
from incidents.playbook import Playbook
from incidents.redaction import GONE, RULES, possible, possible_in_document, redact, redact_document, redact_tree
from remediations import RevertModel

LETTERS = string.ascii_letters + string.digits

#: What a secret looks like where ``X`` is the part that nobody may see, by the rule that takes it out.
FORMS = {
    "private key": "-----BEGIN RSA PRIVATE KEY-----\nMIIE\nX\n-----END RSA PRIVATE KEY-----",
    "private key, cut off": "-----BEGIN OPENSSH PRIVATE KEY-----\nX",
    "login in a URL": "postgresql+psycopg://me:X@db:5432/x",
    "Slack webhook": "https://hooks.slack.com/services/T0/B0/X",
    "Teams webhook": "https://acme.webhook.office.com/webhookb2/X/IncomingWebhook/1",
    "Teams webhook of old": "https://outlook.office.com/webhook/X@b/IncomingWebhook/1/2",
    "Teams workflow": "https://prod-1.westus.logic.azure.com/workflows/1/invoke?api-version=1&sig=X",
    "URL parameter": "https://host/a?b=1&access_token=X&c=2",
    "signed URL": "https://b.s3.amazonaws.com/k?X-Amz-Credential=me&X-Amz-Signature=X",
    "JWT": "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.X",
    "bearer": "curl -H 'authorization: Bearer X0'",
    "bearer in a sentence": "called with bearer X0 and failed",
    "AWS access key": "AKIAX",
    "AWS secret key": "aws_secret_access_key = X",
    "Slack token": "xoxb-X",
    "GitHub token": "ghp_XX",
    "Hugging Face token": "hf_XX",
    "OpenAI key": "sk-XX",
    "password": "login failed, password=X",
    "password in YAML": "db_password: X",
    "password in JSON": '{"user": "me", "password": "X", "n": 1}',
    "quoted password": "PGPASSWORD='X' psql",
    "basic login": "Authorization: Basic X",
    "key of an account": "DefaultEndpointsProtocol=https;AccountKey=X;EndpointSuffix=core",
    "camel case": '"clientSecret":"X"',
}

PLANTED = st.tuples(
    st.sampled_from(sorted(FORMS)),
    st.text(LETTERS, min_size=16, max_size=16).filter(lambda x: any(c.isdigit() for c in x)),
)


#: How JSON may write one.
SLASHES = st.sampled_from([b"/", rb"\/", rb"\u002f"])


def planted(form: str, part: str) -> tuple[str, str]:
    """The form with the part in it, and the part as it stands there."""
    part = part.upper() if form == "AWS access key" else part
    return FORMS[form].replace("X", part) if "Amz" not in FORMS[form] else f"{FORMS[form][:-1]}{part}", part


@given(PLANTED, st.text(st.characters(exclude_categories=["Cs", "Lu", "Ll", "Nd"]), max_size=30))
def test_a_secret_is_taken_out_wherever_it_stands(secret: tuple[str, str], around: str) -> None:
    """Whatever text stands before and after it; and taking out twice is taking out once."""
    text, part = planted(*secret)
    clean = redact(f"{around} {text} {around}")
    assert part not in clean
    assert GONE in clean
    assert redact(clean) == clean


@given(PLANTED)
def test_a_rule_that_matches_was_possible(secret: tuple[str, str]) -> None:
    """The quick look before the patterns lets none of those by that would match, in JSON neither."""
    text, _ = planted(*secret)
    matching = {rule.name for rule in RULES if rule.apply(text)[1]}
    assert matching
    assert matching <= {rule.name for rule in possible(text)}
    assert matching <= {rule.name for rule in possible(json.dumps(text))}


@pytest.mark.parametrize(
    "text",
    [
        "PSI 0.27 on feature merchant_category (fraud-xgb)",
        "mail anna@example.com about models:/fraud@champion",
        "http://prometheus:9090/graph?g0.expr=x%3E1&g0.tab=1",
        "prompt_tokens=512, max_tokens: 4096, tokens: 3",
        "the key of the cache is user:17, the monkey is fine, keyboard=us",
        "a bearer of news, a bearer token is needed",
        "20261123T065800Z-0f3c9a1b2d4e sk-learn skipped eyJ AKIA",
        "0" * 64,
        "task-runs flask-limiter risk-free",
    ],
)
def test_what_is_no_secret_is_kept(text: str) -> None:
    """An alert that lost half its words helps nobody."""
    assert redact(text) == text
    assert redact_tree({"note": [text]}) == {"note": [text]}


def test_a_value_goes_whole_where_its_name_says_so() -> None:
    """A label called password holds one, whatever it looks like; a number called token is a number."""
    tree = {"password": "correct horse", "API-Key": "x", "token": 7, "nested": {"db_pwd": "y", "name": "z"}}
    assert redact_tree(tree) == {
        "password": GONE,
        "API-Key": GONE,
        "token": 7,
        "nested": {"db_pwd": GONE, "name": "z"},
    }


@pytest.mark.parametrize(
    "unit",
    [
        "password",
        'password="',
        "eyJ-",
        "eyJ.",
        "bearer ",
        "-----BEGIN PRIVATE KEY-----",
        "://@",
        "AKIA",
        "&sig",
        "secret ",
    ],
)
def test_it_takes_time_in_proportion_to_the_length(unit: str) -> None:
    """A megabyte made to send a pattern back and forth is read all the same; a quadratic one would never end."""
    redact(unit * (1_000_000 // len(unit)))


def test_a_document_without_secrets_is_kept_byte_for_byte() -> None:
    """Only what has to go makes a document another."""
    raw = b' {"labels" : {"a":"b\\u0026c"},\r\n "n": 1.0, "n": 2, "groupKey": "{}:{alertname=\\"X\\"}"}'
    assert redact_document(raw) == raw


@pytest.mark.parametrize(
    "raw",
    [
        rb'{"password": "hunter2hunter2"}',
        rb'{"password": 123456789}',
        rb'{"password": ["hunter2hunter2"]}',
        rb'{"a": [[{"b": "password=hunter2hunter2"}]]}',
        rb'{"a": "pass\u0077ord=hunter2hunter2"}',
        rb'{"a": "http:\/\/u:hunter2hunter2\u0040h"}',
        rb'{"a": "-----BEGIN PRIVATE\u0020KEY-----hunter2hunter2"}',
        rb'{"a": "to\u212aen=hunter2hunter2"}',
        rb'{"password=hunter2hunter2": 1}',
        rb'{"a": "password=hunter2hunter2", "a": "b"}',
        rb'["password=hunter2hunter2"]',
        rb'"password=hunter2hunter2"',
        rb'{"a": "{\"password\": \"hunter2hunter2\"}"}',
        rb'{"a": "https:\/\/outlook.office.com\/webhook\/hunter2a@hunter2b\/IncomingWebhook\/hunter2c\/hunter2d"}',
        rb'{"a": "https:\u002f\u002foutlook.office.com\u002Fwebhook\u002fhunter2a@b\u002fIncomingWebhook\u002Fc"}',
    ],
)
def test_no_way_of_writing_a_document_hides_a_secret(raw: bytes) -> None:
    """Escapes, a key that stands twice, numbers, keys, JSON in JSON: the document is read before it is judged."""
    clean = redact_document(raw)
    strict_json.parse(clean)
    assert b"hunter2" not in clean
    assert b"123456789" not in clean


def file_of(ledger: Ledger) -> bytes:
    """Everything that is on the disk of a SQLite ledger."""
    path = Path(str(ledger.engine.url.database))
    return b"".join(part.read_bytes() for part in path.parent.glob(f"{path.name}*"))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(PLANTED, st.sampled_from(["labels", "annotations", "link", "elsewhere", "name", "set aside"]), SLASHES)
def test_no_planted_secret_is_anywhere_in_the_database(
    ledger: Ledger, book: Playbook, secret: tuple[str, str], place: str, slash: bytes
) -> None:
    """Wherever in a delivery it stands, no byte of the file has it: no event, no delivery, no job, no index."""
    text, part = planted(*secret)
    alert: dict[str, Any] = {"name": f"Odd{part[:4]}", "fingerprint": part[::-1][:8], "labels": {"a": "b"}}
    if place in ("labels", "annotations"):
        alert[place] = {"summary": f"see {text} there"}
    elif place == "link":
        alert[place] = f"https://host/?q={text}"
    elif place == "name":
        alert[place] = text
    elif place == "set aside":
        alert[place] = text  # a field that the format does not have
    document: dict[str, Any] = {"alerts": [alert], "note": text} if place == "elsewhere" else {"alerts": [alert]}
    body = json.dumps(document).encode().replace(b"/", slash)
    asyncio.run(Groups(ledger, book).take("generic", body))
    assert part.encode() not in file_of(ledger)
    assert part[4:].encode() not in file_of(ledger)


@given(
    st.lists(st.one_of(PLANTED.map(lambda secret: planted(*secret)[0]), st.text(max_size=30)), min_size=3, max_size=3),
    st.sampled_from(["password", "a", "runbook_url", "max_tokens"]),
    st.booleans(),
    SLASHES,
)
def test_what_is_not_looked_into_holds_nothing_that_a_look_would_find(
    texts: list[str], name: str, ascii: bool, slash: bytes
) -> None:
    """Where no rule can match a whole delivery, its alerts are read the same with a look at every part."""
    label, annotation, link = texts
    alert = {"name": "Odd", "labels": {name: label}, "annotations": {name: annotation}, "link": f"https://{link}"}
    body = json.dumps(alert, ensure_ascii=ascii).encode("utf-8", "surrogatepass").replace(b"/", slash)
    try:
        rules = possible_in_document(body)
    except UnicodeDecodeError:
        return
    if not rules:
        document, moment = json.loads(body), datetime.now(UTC)
        assert generic.parse(document, moment, clean=True) == generic.parse(document, moment)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(PLANTED)
def test_nor_from_what_people_and_errors_say(ledger: Ledger, book: Playbook, secret: tuple[str, str]) -> None:
    """A person's reason, an error of a server, what a check saw, a message to a channel, an action's field."""
    text, part = planted(*secret)
    action = RevertModel(model=text[:99], because=text[:300])
    assert part not in action.model_dump_json()
    with ledger.write() as writer:
        name = writer.open(e.Opened(category=Category.data, severity=Severity.high, asset=None, title=text), actor=text)
        for body in (
            e.Failed(step="apply", error=text),
            e.Resolved(why=text),
            e.Applying(plan="p", token=1, gates=(e.Gate(name="pause", says=Mode.ask, why=text),)),
            e.Stormed(why=text),
            e.Judged(version="1", verdict=Verdict(health=Health.healthy, why=text, evidence={"seen": [{"a": text}]})),
        ):
            event = writer.append(body, actor="flow:data", incident=name)
            assert part not in event.model_dump_json()
        writer.send("launch", f"launch:{name}", {"deployment": "data/data", "parameters": {"note": [text]}})
        announce(writer, book, name, Severity.high, text, text)
    assert part.encode() not in file_of(ledger)
    assert ledger.events()[-1].body == event.body


def test_the_alert_says_what_was_taken_out_of_it(ledger: Ledger, book: Playbook) -> None:
    """A person who misses the text sees that it was a secret, of which kind, and where it stood."""
    alert = {
        "name": "Odd",
        "labels": {"token": "abc", "a": "AKIAIOSFODNN7EXAMPLE"},
        "annotations": {"runbook": "https://u:p@host/ and password=x"},
        "link": "https://u:p@host/",
    }
    body = json.dumps(alert).encode()
    parsed = generic.parse(strict_json.parse(body), datetime.now(UTC))
    accept(ledger, book, [Delivery("generic", body, parsed)])
    opened = ledger.events()[0].body
    assert isinstance(opened, e.Opened)
    kept = opened.alert
    assert isinstance(kept, Alert)
    assert kept.labels == {"token": GONE, "a": GONE}
    assert kept.annotations == {"runbook": "https://***@host/ and password=***"}
    assert kept.notes == (
        "1 secret (secret with its name) redacted in label token",
        "1 secret (AWS access key) redacted in label a",
        "2 secrets (login in a URL, secret with its name) redacted in annotation runbook",
        "1 secret (login in a URL) redacted in link",
    )


def test_every_rule_has_a_name_of_its_own() -> None:
    """The names are what people read in the notes."""
    names = [rule.name for rule in redaction.RULES]
    assert len(set(names)) == len(names)
