"""The post-mortem: everything that the record shows, and nothing that an alert could make a page do."""

from __future__ import annotations

import re
import stat
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from markdown_it.token import Token

from incidents import events as e
from incidents import postmortem
from incidents.events import Body
from incidents.incident import Incident
from incidents.inert import LONGEST, chat, markdown, one_line
from incidents.models import Alert, Category, Health, Mode, Plan, Severity, Verdict

Tell = Callable[[Iterable[tuple[float, Body]]], Incident]
Story = list[tuple[float, Body]]

PAGE = MarkdownIt("commonmark").enable(["table", "strikethrough"])

#: All that the template itself uses. Whatever else is on a page came from somewhere else.
OURS = {"heading", "paragraph", "inline", "text", "softbreak", "bullet_list", "list_item"} | {
    "table",
    *("thead", "tbody", "tr", "th", "td"),
}

HOSTILE = [
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "<!-- hidden",
    "[click](https://evil.example/x)",
    "![](https://evil.example/pixel.png)",
    "<https://evil.example>",
    "https://evil.example www.evil.example a@evil.example @everyone",
    "[ref]: https://evil.example",
    "[ref][ref]",
    "a | b | c\n| --- | --- |\n| 1 | 2 |",
    "# a heading",
    "text\n===",
    "- list\n  - deeper",
    "1. one\n2) two",
    "> quote",
    "```\ncode\n```",
    "    indented",
    "\tindented",
    "`code` ``c`` *a* **b** _c_ __d__ ~~e~~ $x$ $$y$$",
    "\\[escaped](https://evil.example)",
    "\\",
    "x\\",
    "\\\\|",
    "&lt;b&gt; &#60;b&#62; &copy;",
    "{{ 7 * 7 }} {% for x in y %} {# c #}",
    "\x1b[31mred\x1b]8;;https://evil.example\x07link\x1b]8;;\x07",
    "\u202egnp.exe",
    "\u2028- list",
    "---",
    "+ plus",
    "= = =",
    "::: note",
    "<a\nhref='https://evil.example'>x</a>",
    "*" * 500,
    "[" * 500,
    "a" * 100_000,
]

hostile = st.one_of(
    st.sampled_from(HOSTILE),
    st.lists(st.sampled_from(HOSTILE), max_size=3).map("".join),
    st.text(alphabet="<>[]()!|`*_~#-+=.:/\\&;@$1a\n\t {}%\"'", max_size=60),
    st.text(max_size=60),
)


def tokens(page: str) -> list[Token]:
    """Everything that a Markdown parser finds on a page, the inside of lines included."""
    found = PAGE.parse(page)
    return [*found, *(inner for token in found for inner in token.children or [])]


def kinds(page: str) -> set[str]:
    """What is on the page, as a Markdown parser sees it."""
    return {re.sub("_(open|close)$", "", token.type) for token in tokens(page)}


def shape(page: str) -> list[str]:
    """The page's blocks, without their text."""
    return [token.type for token in PAGE.parse(page)]


def story(text: str) -> Story:
    """A story in which every text that comes from outside is this one."""
    verdict = Verdict(health=Health.inconclusive, why=text, evidence={text: text, "rows": [{text: [text]}]})
    alert = Alert(
        source="generic",
        fingerprint="f",
        episode="1",
        starts_at=datetime(2026, 11, 23, tzinfo=UTC),
        firing=True,
        name=text,
        labels={text: text, "dataset": text},
        annotations={"summary": text},
        link=text,
        notes=(text,),
    )
    plan = Plan(
        action="rollback_dataset",
        parameters={"dataset": text},
        target=f"dataset:{text}",
        before={"version": text},
        after={"version": f"{text}.", text: text},
        summary=text,
        because=(text,),
    )
    gates = (e.Gate(name=text, says=Mode.ask, why=text),)
    return [
        (
            0,
            e.Opened(category=Category.data, severity=Severity.high, asset=f"dataset:{text}", title=text, alert=alert),
        ),
        (1, e.Alerted(alert=alert)),
        (1, e.AlertEnded(alert=alert)),
        (1, e.SetAside(sender=text, delivery="0" * 64, index=0, why=text)),
        (1, e.Started(flow="data", run=text)),
        (1, e.Checked(phase="confirm", verdict=verdict)),
        (1, e.Judged(version=text, verdict=verdict)),
        (1, e.Traced(dataset=text, version=text, models={text: [text]})),
        (1, e.NotPlanned(action="revert_model", target=text, why=text)),
        (1, e.Planned(plan=plan)),
        (1, e.Gated(plan=plan.hash, mode=Mode.ask, gates=gates, playbook="")),
        (1, e.Applying(plan=plan.hash, token=1)),
        (1, e.Applied(plan=plan.hash)),
        (1, e.Verified(plan=plan.hash, verdict=verdict)),
        (1, e.Conflicted(plan=plan.hash, why=text)),
        (1, e.Undoing(plan=plan.hash, why=text, token=2)),
        (1, e.Undone(plan=plan.hash)),
        (1, e.Failed(step=text, error=text)),
        (1, e.Escalated(to=text, why=text)),
        (1, e.Told(channel=text, title=text, delivered=False, why=text)),
        (1, e.Resolved(why=text)),
        (1, e.NotConfirmed(why=text)),
    ]


@settings(max_examples=40, deadline=None)
@given(text=hostile)
@example(text="x")
def test_nothing_from_outside_does_anything_on_the_page(tell: Tell, text: str) -> None:
    """Whatever any text says, a real parser finds no HTML, link, image, code or emphasis, and the blocks stay ours."""
    page = postmortem.render(tell(story(text)))
    assert kinds(page) <= OURS
    assert all(token.nesting >= 0 or token.type.endswith("_close") for token in tokens(page))
    assert "\x1b" not in page
    assert "\u202e" not in page


@pytest.mark.parametrize("text", HOSTILE)
def test_the_page_keeps_its_shape(tell: Tell, text: str) -> None:
    """A hostile text makes the same blocks as a harmless one: no row, no item and no heading more or less."""
    assert shape(postmortem.render(tell(story(text)))) == shape(postmortem.render(tell(story("harmless"))))


@settings(max_examples=300)
@given(text=hostile)
def test_escaped_text_is_shown_as_it_is(text: str) -> None:
    """Through the parser and back, alone, in a list and in a table: the reader sees what the alert said."""
    escaped = markdown(text)
    for page in (escaped, f"- {escaped}", f"| a |\n| - |\n| {escaped} |", f"# {escaped}"):
        shown = "".join(token.content for token in tokens(page) if token.type in ("text", "text_special"))
        expected = one_line(text)
        if page.startswith("|"):
            shown = shown.removeprefix("a")
        if page.startswith("#"):  # a heading drops number signs at its end
            shown, expected = shown.rstrip("# "), expected.rstrip("# ")
        assert shown == expected
    assert not re.search(
        r"[a-z]://|www\.|(?<!\\)@[\w-]*\.\w", escaped, re.ASCII
    )  # what GitHub makes a link of by itself


@given(text=st.text(max_size=100))
def test_one_line(text: str) -> None:
    """One line is one line: no control character is left, and nothing else is lost."""
    line = one_line(text)
    assert len(line.splitlines()) <= 1
    assert not any(ord(char) < 32 or 127 <= ord(char) < 160 for char in line)
    assert one_line(line) == line
    letters = [char for char in text if char.isalnum()]
    assert [char for char in line if char.isalnum()] == letters


def test_long_text_is_cut() -> None:
    """A text of any length leaves a line of bounded length that says that it was cut."""
    assert one_line("a" * 10_000) == "a" * (LONGEST - 1) + "…"
    assert len(markdown("|" * 10_000)) <= 2 * LONGEST
    assert len(chat("line\n" * 10_000, 100)) == 100


@pytest.mark.parametrize("text", ["<!channel> <@U1> <https://evil.example|ours>", "@everyone @here", "[a](https://b)"])
def test_chat_calls_nobody(text: str) -> None:
    """Neither a mention nor a link with another text is left for a chat to see."""
    plain = chat(text)
    assert not re.search(r"[<>@`]|\]\(", plain)
    assert "evil" not in text or "evil" in plain


def test_the_whole_story(tell: Tell, healed: Story) -> None:
    """Timeline, durations, evidence, before and after, every gate, who, and what is left open."""
    page = postmortem.render(tell(healed))
    for line in (
        "# Post-mortem: INC-7, DatasetBroken transactions",
        "| Status | resolved |",
        "| Severity | 2 (high) |",
        "| Asset | dataset:transactions |",
        "| Opened | 2026-11-23 07:00:00 UTC |",
        "| Time to mitigate | 16.5 s |",
        "| detect | 30.0 s |",
        "| confirm | 4.50 s |",
        "| verify | 4.00 s |",
        "- alert DatasetBroken from alertmanager, since 2026-11-23 06:59:30 UTC",
        "  - dataset: transactions",
        "  - summary: the mean of amount is 100 times too high",
        "  - mean: 8912.25",
        "  - fraud: 2",
        "### rollback_dataset on dataset:transactions: healthy",
        "### revert_model on models:/fraud@champion: healthy",
        "| version | 20261123T065800Z | 20261122T060000Z |",
        "| version | 2 | 1 |",
        "- the change was made: yes",
        "- and taken back: no",
        "| matrix | run | severity 2 (high) x medium risk: run |",
        "| asset | run | dataset:transactions is declared in the playbook |",
        "- intake:alertmanager: 1 event",
        "- flow:data: 19 events",
        "- could not tell pager: INC-7 resolved (LASTGOOD_CHANNEL_PAGER is not set)",
        "| 2026-11-23 07:00:16 UTC | 1.00 s | verify | flow:data | resolved: the data is good again |",
    ):
        assert line in page.splitlines(), line
    assert postmortem.questions(tell(healed)) == [
        "could not tell pager: INC-7 resolved (LASTGOOD_CHANNEL_PAGER is not set)"
    ]


def test_open_questions_come_from_the_record(tell: Tell) -> None:
    """What could not be told, who was in the way, what was left half done and who was not reached are asked about."""
    questions = "\n".join(postmortem.questions(tell(story("so"))))
    for asked in (
        "handed over to the so: so",
        "somebody else was there: so",
        "no safe plan for so: so",
        "so broke: so",
        "was set aside: so",
        "could not be told: looked: inconclusive, so",
        "could not tell so: so",
        "alert so: so",
    ):
        assert asked in questions
    half = story("so")[:12]
    assert "rollback_dataset on dataset:so was left applying" in postmortem.questions(tell(half))
    assert "the incident is open, nobody has closed it" in postmortem.questions(tell(half))


def test_every_beginning_of_the_story_renders(tell: Tell, healed: Story) -> None:
    """Also an incident that has only begun has a page."""
    for end in range(1, len(healed) + 1):
        assert postmortem.render(tell(healed[:end])).startswith("# Post-mortem: INC-7")


def test_much_evidence_stays_on_the_record(tell: Tell) -> None:
    """A page shows the outermost numbers of a verdict, and never all of a long result."""
    deep = {"rows": 5, "result": {f"column{n}": [{"mean": n}] for n in range(1000)}}
    shown = postmortem.numbers(Verdict(health=Health.healthy, why="", evidence=deep))
    assert len(shown) == postmortem.MOST
    assert shown[0] == ("rows", "5")


def test_writing(tell: Tell, healed: Story, tmp_path: Path) -> None:
    """The file is whole, is named like the incident, replaces the one before, and nothing else is left beside it."""
    incident = tell(healed)
    folder = tmp_path / "new" / "postmortems"
    for _ in range(2):
        path = postmortem.write(incident, folder)
        assert path == folder / "INC-7.md"
        assert path.read_text(encoding="utf-8") == postmortem.render(incident)
        assert [file.name for file in folder.iterdir()] == ["INC-7.md"]
    assert stat.S_IMODE(path.stat().st_mode) & 0o022 == 0


def test_a_page_that_cannot_be_made_leaves_the_old_one(tell: Tell, healed: Story, tmp_path: Path) -> None:
    """Where rendering breaks, the page written before stands, and no draft beside it."""
    incident = tell(healed)
    path = postmortem.write(incident, tmp_path)
    before = path.read_text(encoding="utf-8")
    incident.opened_at = None  # type: ignore[assignment]  # an incident that can't be rendered
    with pytest.raises(TypeError):
        postmortem.write(incident, tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["INC-7.md"]
    assert path.read_text(encoding="utf-8") == before
