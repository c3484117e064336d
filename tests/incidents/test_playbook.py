"""The playbook: unknown means no, with the line; and what is declared decides."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq

from incidents.models import Category, Mode, Risk, Severity
from incidents.playbook import Playbook, load
from incidents.yaml_lines import Refused

SHIPPED = (Path(__file__).parents[2] / "playbook.yaml").read_text(encoding="utf-8")

#: Sections whose keys are names that the team gives.
NAMED_BY_THE_TEAM = ("senders", "actions", "channels", "datasets", "models", "buckets", "iam_users", "secrets")


def tree() -> Any:
    """The shipped playbook as a document that keeps its layout."""
    return YAML(typ="rt").load(SHIPPED)


def text_of(document: Any) -> str:
    """A document as YAML."""
    to = io.StringIO()
    YAML(typ="rt").dump(document, to)
    return to.getvalue()


def mappings(node: Any, where: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The place of every mapping in a document, the document itself first."""
    if isinstance(node, CommentedMap):
        yield where
    inside = (
        node.items() if isinstance(node, CommentedMap) else enumerate(node) if isinstance(node, CommentedSeq) else ()
    )
    for key, value in inside:
        yield from mappings(value, (*where, key))


def at(node: Any, where: tuple[Any, ...]) -> Any:
    """What stands at a place."""
    for part in where:
        node = node[part]
    return node


def is_open(where: tuple[Any, ...]) -> bool:
    """Whether the keys of a mapping are the team's own names, or an alert's labels."""
    return where in [(name,) for name in NAMED_BY_THE_TEAM] or where[-1:] == ("when",)


def refused(folder: Path, text: str, environment: dict[str, str] | None = None) -> list[str]:
    """What is found wrong, a line each, without the file's name."""
    path = folder / "playbook.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(Refused) as caught:
        load(path, environment or {})
    findings = str(caught.value).splitlines()
    assert all(finding.startswith(f"{path}:") for finding in findings)
    return [finding.removeprefix(f"{path}:") for finding in findings]


def name_of(where: tuple[Any, ...]) -> str:
    """A place as a test's name."""
    return ".".join(map(str, where)) or "top"


CLOSED = [where for where in mappings(tree()) if not is_open(where)]
OPEN = [where for where in mappings(tree()) if is_open(where)]


@pytest.mark.parametrize("where", CLOSED, ids=name_of)
def test_an_unknown_key_is_refused_with_its_line(tmp_path: Path, where: tuple[Any, ...]) -> None:
    """At every level a key that means nothing is refused, and the line it stands on is named."""
    document = tree()
    at(document, where)["surprise"] = 1
    text = text_of(document)
    [line] = [number for number, line in enumerate(text.splitlines(), start=1) if "surprise" in line]
    findings = refused(tmp_path, text)
    assert [finding for finding in findings if finding.startswith(f"{line}: ") and "surprise" in finding], findings


@pytest.mark.parametrize("where", OPEN, ids=name_of)
def test_an_unknown_value_is_refused_with_its_line(tmp_path: Path, where: tuple[Any, ...]) -> None:
    """Where keys are the team's own names, what stands under a name must still be what belongs there."""
    document = tree()
    at(document, where)["surprise"] = ["what", "is", "this"]
    text = text_of(document)
    [line] = [number for number, line in enumerate(text.splitlines(), start=1) if "surprise" in line]
    findings = refused(tmp_path, text)
    assert [finding for finding in findings if finding.startswith(f"{line}: ") and "surprise" in finding], findings


@pytest.mark.parametrize("where", [where for where in mappings(tree()) if at(tree(), where)], ids=name_of)
def test_a_key_that_stands_twice_is_refused_with_its_line(tmp_path: Path, where: tuple[Any, ...]) -> None:
    """At every level the same key twice is refused, and the line of the second is named."""
    document = tree()
    mapping = at(document, where)
    mapping["surprise"] = 1
    text = text_of(document)
    line = next(number for number, line in enumerate(text.splitlines(), start=1) if "surprise" in line)
    [finding] = refused(tmp_path, text.replace("surprise:", f"{next(iter(mapping))}:"))
    assert re.match(rf"{line}: .*duplicate key", finding)


def test_a_close_name_is_suggested(tmp_path: Path) -> None:
    """A typing error is told what was probably meant."""
    text = SHIPPED.replace("suite: transactions", "siute: transactions")
    [finding] = refused(tmp_path, text)
    line = next(n for n, line in enumerate(text.splitlines(), start=1) if "siute" in line)
    assert finding == f"{line}: unknown key 'datasets.transactions.siute'; did you mean 'suite'?"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("header.Authorization", "Basic bWU6d29yZA"),
        ("adls.account-key", "x"),
        ("adls.connection-string", "x"),
        ("S3.Secret-Access-Key", "x"),
        ("uri", "https://h?sig=abc"),
        ("uri", "https://h?password=x"),
    ],
)
def test_no_property_of_a_catalog_is_a_secret(tmp_path: Path, name: str, value: str) -> None:
    """Whether its name says so, in any spelling, or its value; the error says where to put it instead."""
    text = f"catalogs: {{lake: {{type: rest, {name}: '{value}'}}}}\n{SHIPPED}"
    assert any(
        f"catalogs.lake: {name} holds a secret: give it to pyiceberg as" in one for one in refused(tmp_path, text)
    )


def test_what_a_catalog_is_reached_by_is_no_secret(tmp_path: Path) -> None:
    """Addresses, a region and the class that reads files are what a catalog is declared with."""
    reached = {
        "type": "rest",
        "uri": "https://catalog.example/api?tenant=1",
        "warehouse": "s3://lake/warehouse",
        "s3.endpoint": "https://s3.example:9000",
        "s3.region": "eu-central-1",
        "py-io-impl": "pyiceberg.io.pyarrow.PyArrowFileIO",
    }
    path = tmp_path / "playbook.yaml"
    path.write_text(f"catalogs: {{lake: {json.dumps(reached)}}}\n{SHIPPED}", encoding="utf-8")
    assert load(path, {}).catalogs["lake"] == reached


@pytest.mark.parametrize("severity", [1, 2, 3, 4])
@pytest.mark.parametrize("risk", list(Risk))
def test_a_missing_cell_is_refused(tmp_path: Path, severity: int, risk: Risk) -> None:
    """Every cell of the matrix must be decided; the row that lacks one is named with its line."""
    document = tree()
    del document["gates"][severity][risk.value]
    [finding] = refused(tmp_path, text_of(document))
    line = next(n for n, line in enumerate(SHIPPED.splitlines(), start=1) if line.startswith(f"  {severity}: {{low"))
    assert finding == f"{line}: gates.{severity} says nothing about {risk.value}; every one must be decided"


@pytest.mark.parametrize(
    ("where", "missing"),
    [
        *((("gates", severity), str(severity)) for severity in (1, 2, 3, 4)),
        *((("watch", severity), str(severity)) for severity in (1, 2, 3, 4)),
        *((("owners", category.value), category.value) for category in Category),
    ],
)
def test_a_missing_row_is_refused(tmp_path: Path, where: tuple[Any, ...], missing: str) -> None:
    """Every severity has its gates and its watch, every category its owner."""
    document = tree()
    del document[where[0]][where[1]]
    [finding] = refused(tmp_path, text_of(document))
    assert re.match(rf"\d+: {where[0]} says nothing about {missing};", finding)


@pytest.mark.parametrize("section", ["version", "senders", "gates", "actions", "watch", "owners", "routes"])
def test_a_missing_section_is_refused(tmp_path: Path, section: str) -> None:
    """What everything needs must be there, if empty."""
    document = tree()
    del document[section]
    assert f"{section}: Field required" in refused(tmp_path, text_of(document))[0]


BROKEN = {
    "version: 2": ("version: 1", "version: 2", "version: Input should be 1"),
    "an unknown mode": (
        "{low: run, medium: run, high: ask}  # critical",
        "{low: run, medium: maybe, high: ask}",
        "1.medium",
    ),
    "a bad pattern": ('{dataset: ".+"}', '{dataset: "(("}', "not a regular expression"),
    "an unknown channel": ("1: [pager, chat]", "1: [pager, smoke]", "names smoke, which channels does not declare"),
    "an unknown dataset": ("learns_from: [transactions]", "learns_from: [nothing]", "names nothing, which datasets"),
    "a sample of a handful": ("suite: transactions", "sample_rows: 9", "greater than or equal to 100000"),
    "an unknown sample": ("dataset: labelled_transactions", "dataset: nothing", "names nothing, which datasets"),
    "a health without a service": (
        "    service: ${LASTGOOD_FRAUD_SERVICE:-http://127.0.0.1:8080}\n",
        "",
        "models.fraud has a health but no service",
    ),
    "a name with a slash": ("  fraud:", "  ../fraud:", "String should match pattern"),
    "a watch that never looks": ("every_seconds: 5,", "every_seconds: 0,", "greater than 0"),
    "an impossible recall": ("at_least: 0.7", "at_least: 70", "less than or equal to 1"),
    "an unknown category": ("category: null", "category: weather", "routes.0.category"),
    "a budget below nothing": ("storm: {at_most: 20,", "storm: {at_most: -1,", "limits.storm.at_most"),
    "a budget without an end": ("per_asset: {at_most: 5, per_minutes: 60}", "per_asset: {at_most: 5}", "per_minutes"),
    "a hold-down of no severity": ("{1: 0, 2: 0, 3: 0, 4: 0}", "{1: 0, 5: 0}", "limits.hold_down_seconds.5"),
    "a bound above 1": ("run_from: 0.5", "run_from: 50", "autonomy.run_from"),
    "bounds the wrong way round": ("ask_from: 0.1", "ask_from: 0.9", "autonomy: ask_from is above run_from"),
    "a secret of a catalog": (
        "datasets:\n  transactions",
        "catalogs: {lake: {type: rest, token: '1'}}\ndatasets:\n  transactions",
        "catalogs.lake: token holds a secret",
    ),
    "a password in the address of a catalog": (
        "datasets:\n  transactions",
        "catalogs: {lake: {uri: 'postgresql://me:word@host/db'}}\ndatasets:\n  transactions",
        "catalogs.lake: uri holds a secret",
    ),
    "a password in the address of a lakeFS server": (
        "datasets:\n  transactions",
        "lakefs: {lake: {endpoint: 'https://me:word@host'}}\ndatasets:\n  transactions",
        "lakefs.lake.endpoint: String should match pattern",
    ),
    "a secret of a lakeFS server": (
        "datasets:\n  transactions",
        "lakefs: {lake: {endpoint: 'https://host', secret_key_env: 'wJalr/word'}}\ndatasets:\n  transactions",
        "lakefs.lake.secret_key_env: String should match pattern",
    ),
    "a dataset at an unknown lakeFS server": (
        "store: ${LASTGOOD_STORE:-s3://lastgood}/transactions",
        "store: lakefs://me:word@pond/rows@main/data",
        "datasets.transactions names pond, which lakefs does not declare",
    ),
    "what is done with a bad dataset": ("suite: transactions", "when_bad: panic", "datasets.transactions.when_bad"),
    "a freeze without a zone": (
        "freeze: []",
        "freeze: [{name: x, cron: '* * * * *', lasts_hours: 1}]",
        "freeze.0.timezone",
    ),
    "a freeze of both kinds": (
        "freeze: []",
        "freeze: [{name: x, timezone: UTC, cron: '* * * * *', lasts_hours: 1, first_day: 2026-01-01}]",
        "freeze.0: a freeze has either cron",
    ),
}


@pytest.mark.parametrize(("old", "new", "said"), BROKEN.values(), ids=BROKEN.keys())
def test_a_wrong_value_is_refused(tmp_path: Path, old: str, new: str, said: str) -> None:
    """Each value that cannot be meant is refused, on its line or on that of what holds it."""
    assert SHIPPED.count(old) == 1
    findings = refused(tmp_path, SHIPPED.replace(old, new))
    assert any(said in finding for finding in findings), findings
    line = SHIPPED[: SHIPPED.index(old)].count("\n") + 1
    assert any(line - 6 <= int(finding.split(":")[0]) <= line for finding in findings), (line, findings)


NO_PLAYBOOK = {
    "nothing": "",
    "a list": "- version: 1\n",
    "text": "hello\n",
    "no YAML": "version: [1\n",
    "a tab": "version:\t1\n\tgates: {}\n",
    "two documents": "version: 1\n---\nversion: 1\n",
    "an alias to nothing": "version: *one\n",
    "an alias to itself": "version: &a [*a]\n",
    "a tag": "version: !!python/object/apply:os.system [echo]\n",
    "control characters": "version: 1\x00\n",
}


@pytest.mark.parametrize("text", NO_PLAYBOOK.values(), ids=NO_PLAYBOOK.keys())
def test_what_is_no_playbook_is_refused(tmp_path: Path, text: str) -> None:
    """Whatever else is in the file, it is refused with a line, and never breaks the loader."""
    assert re.match(r"\d+: ", refused(tmp_path, text)[0])


@given(st.binary(max_size=200))
def test_no_bytes_break_the_loader(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    """Random bytes are refused, and nothing else happens."""
    path = tmp_path_factory.getbasetemp() / "random.yaml"
    path.write_bytes(content)
    with pytest.raises(Refused):
        load(path, {})


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    """A missing file is said to be one."""
    with pytest.raises(Refused, match=r"absent\.yaml: cannot be read: No such file"):
        load(tmp_path / "absent.yaml", {})


def test_variables(tmp_path: Path) -> None:
    """An unset variable without a default is refused with its line; what is set is text and never YAML."""
    text = SHIPPED.replace("${LASTGOOD_STORE:-s3://lastgood}/transactions", "${STORE}/${NAME:-transactions}")
    line = next(n for n, line in enumerate(text.splitlines(), start=1) if "${STORE}" in line)
    assert refused(tmp_path, text) == [f"{line}: STORE is not set in the environment"]
    found = load(tmp_path / "playbook.yaml", {"STORE": "s3://a: {b: [c", "NAME": "${STORE}"})
    assert found.datasets["transactions"].store == "s3://a: {b: [c/${STORE}"


def test_the_shipped_playbook(book: Playbook) -> None:
    """It loads with nothing set, and says what its tables in the documentation say."""
    assert {(int(s), r.value): m.value for s, row in book.gates.items() for r, m in row.items()} == {
        **{(s, "low"): "run" for s in (1, 2, 3)},
        **{(s, "medium"): "run" for s in (1, 2)},
        **{(s, "high"): "ask" for s in (1, 2, 3)},
        (3, "medium"): "ask",
        (4, "low"): "ask",
        (4, "medium"): "ask",
        (4, "high"): "never",
    }
    assert re.fullmatch(r"[0-9a-f]{64}", book.digest)
    assert book.datasets["transactions"].store == "s3://lastgood/transactions"


def test_what_holds_automation_back_has_defaults(tmp_path: Path, book: Playbook) -> None:
    """Without these sections the limits are the shipped ones, but for what the demo needs: a short cool-down, and the
    word that lets anything run by itself at severity 1.
    """
    document = tree()
    for section in ("limits", "freeze", "autonomy"):
        del document[section]
    path = tmp_path / "playbook.yaml"
    path.write_text(text_of(document), encoding="utf-8")
    found = load(path, {})
    none = dict.fromkeys(Severity, 0.0)
    assert found.limits.model_copy(update={"hold_down_seconds": none, "cool_down_seconds": 5}) == book.limits
    assert found.limits.cool_down_seconds == 900
    assert found.autonomy.model_copy(update={"critical_runs_alone": True}) == book.autonomy
    assert (found.freeze, found.autonomy.critical_runs_alone) == ((), False)


@pytest.mark.parametrize("section", ["Limits", "Budget", "Freeze", "Autonomy", "Fill", "Impute", "Preprocessing"])
def test_the_schema_explains_its_sections(section: str) -> None:
    """An editor that knows the schema tells what each key means."""
    schema = Playbook.model_json_schema()["$defs"][section]
    assert schema["description"]
    assert [name for name, field in schema["properties"].items() if not field.get("description")] == []


IMPUTE = {"at_most": 0.05, "columns": {"age": {"last_good": "median"}}}
NEEDS: dict[str, dict[str, Any]] = {
    "impute_missing": {"impute": IMPUTE},
    "quarantine_rows": {"quarantine": {"at_most": 0.2}},
    "rerun_preprocessing": {"preprocessing": {"deployment": "clean/transactions"}},
}


@pytest.mark.parametrize("correct", [*NEEDS, list(NEEDS), list(reversed(NEEDS))], ids=str)
def test_a_correction_needs_its_section_and_a_suite(book: Playbook, correct: str | list[str]) -> None:
    """One or several in their order; without what bounds each, or a suite to pass, they are refused."""
    names = [correct] if isinstance(correct, str) else correct
    whole = {"store": "s3://bucket/rows", "suite": "transactions", "correct": correct}
    for name in names:
        whole |= NEEDS[name]
    document = book.model_dump(mode="json")
    assert Playbook.model_validate({**document, "datasets": {"x": whole}, "models": {}}).datasets["x"].corrections == (
        *names,
    )
    for gone in ["suite", *(key for name in names for key in NEEDS[name])]:
        less = {key: value for key, value in whole.items() if key != gone}
        with pytest.raises(ValidationError, match="needs a suite, and"):
            Playbook.model_validate({**document, "datasets": {"x": less}, "models": {}})


def test_the_digest_is_of_the_file(tmp_path: Path, book: Playbook) -> None:
    """Another file is another digest, even where it means the same."""
    path = tmp_path / "playbook.yaml"
    path.write_text(SHIPPED + "# a remark\n", encoding="utf-8")
    assert load(path, {}).digest != book.digest
    assert load(path, {}).model_dump() == book.model_dump()


@given(
    st.fixed_dictionaries({s: st.fixed_dictionaries({r: st.sampled_from(list(Mode)) for r in Risk}) for s in Severity})
)
def test_every_whole_matrix_is_accepted(book: Playbook, matrix: dict[Severity, dict[Risk, Mode]]) -> None:
    """A matrix with all its cells is the team's to fill in."""
    document = book.model_dump(mode="json") | {
        "gates": {int(s): {r.value: m.value for r, m in row.items()} for s, row in matrix.items()}
    }
    assert Playbook.model_validate(document).gates == matrix
