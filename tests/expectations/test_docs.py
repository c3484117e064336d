"""The page of one validation: whole without a network, and safe whatever the data says."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from demo.transactions import break_feed, generate, write_parquet
from expectations.docs import _Sections, _view, render, warm_up
from expectations.engine import Validation, validate


class Page(HTMLParser):
    """What a browser would see: the tags, their attributes, and the text."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.text = ""
        self.styles = ""
        self._style = False
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note the tag."""
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}
        self._style = tag == "style"

    def handle_endtag(self, tag: str) -> None:
        """Leave a style."""
        self._style = self._style and tag != "style"

    def handle_data(self, data: str) -> None:
        """Note the text, and apart from it the style sheet."""
        if self._style:
            self.styles += data
        else:
            self.text += data


SCRIPT = "<script>alert('x')</script>"
BREAKOUT = "\"'><img src=x onerror=alert(1)>&lt;b&gt;"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the datasets of this module lie."""
    return tmp_path_factory.mktemp("docs")


@pytest.fixture(scope="module")
def broken(folder: Path) -> Validation:
    """A broken feed whose values try to become part of the page."""
    frame = break_feed(generate(20_000))
    frame.loc[frame.index[:5], "merchant_category"] = SCRIPT
    frame.loc[frame.index[5:10], "currency"] = BREAKOUT
    frame.loc[frame.index[5], "transaction_id"] = SCRIPT
    return validate("transactions", write_parquet(frame, folder / "broken"))


def assert_offline(html: str) -> Page:
    """Nothing on the page makes a browser load or run something."""
    page = Page(html)
    assert page.tags.isdisjoint({"script", "link", "img", "iframe", "object", "embed", "base", "form", "svg"})
    allowed = {"class", "colspan", "rowspan", "hidden", "lang", "charset", "http-equiv", "content", "name"}
    assert page.attributes <= allowed
    assert "@import" not in page.styles
    assert "url(" not in page.styles
    assert "default-src 'none'" in html
    return page


def test_the_page_needs_no_network(broken: Validation) -> None:
    """No tag and no attribute that loads, and none of the addresses that Great Expectations' page loads from."""
    html = render(broken)
    assert_offline(html)
    for address in ("http:", "https:", "file:", "cdn", "//"):
        assert address not in html


def test_the_failing_expectations_are_on_it(broken: Validation) -> None:
    """The verdict, each failure in plain words, and Great Expectations' own sections with what it saw."""
    page = assert_offline(render(broken))
    assert broken.failures
    assert broken.verdict.why in page.text
    for one in broken.failures:
        assert str(one) in page.text
    for rendered in ("quantiles must be within", "values must not be null", "% of 20000 total rows", "crypto_exchange"):
        assert rendered in page.text


def test_values_of_the_data_are_text(broken: Validation) -> None:
    """A script in a category and an attribute's end in a currency are shown as they are, and do nothing."""
    html = render(broken)
    page = assert_offline(html)
    assert page.text.count(SCRIPT) >= 2
    assert page.text.count(BREAKOUT) >= 2
    assert SCRIPT not in html
    assert "<img" not in html


@given(value=st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs", "Co"]), min_size=1, max_size=40))
@settings(max_examples=10, deadline=None)
def test_any_value_is_text(broken: Validation, value: str) -> None:
    """Whatever stands in the place of a value, the page shows it, and holds no tag or attribute by it."""
    shown = f"a{value}z"
    result = _swap(broken.result, "crypto_exchange", shown)
    assert result != broken.result
    page = assert_offline(render(broken.model_copy(update={"result": result})))
    assert " ".join(shown.split()) in " ".join(page.text.split())


def _swap(value: object, old: str, new: str) -> object:
    """Replace a text everywhere in JSON."""
    if isinstance(value, dict):
        return {key: _swap(one, old, new) for key, one in value.items()}
    if isinstance(value, list):
        return [_swap(one, old, new) for one in value]
    return value.replace(old, new) if isinstance(value, str) else value


def test_only_harmless_parts_of_a_section_are_kept() -> None:
    """Should Great Expectations put more into its sections one day, what loads or runs still stays out."""
    sections = _Sections()
    sections.feed(
        '<p>before</p><div class="a ge-section"><div onclick="x()" style="background:url(y)"><script>run()</script>'
        '<img src="z"><style>p{}</style><a href="http://elsewhere">kept</a><svg onload="x()"></svg></div>in</div>after'
    )
    sections.close()
    assert "".join(sections.kept) == '<div class="a ge-section"><div><a>kept</a></div>in</div>'


def test_an_expectation_without_an_answer_is_shown(folder: Path) -> None:
    """A column that is not there, with a name that is markup: the page says what could not be evaluated."""
    frame = generate(10_000).rename(columns={"currency": "<b>currency</b>"})
    path = folder / "renamed.parquet"
    frame.to_parquet(path)
    page = assert_offline(render(validate("transactions", [path])))
    assert "unknown <b>currency</b>" in page.text
    assert "does not exist" in page.text


def test_a_page_without_any_answer(broken: Validation) -> None:
    """Great Expectations' renderer fails when it does not know the columns; the page is made all the same."""
    error = {"raised_exception": True, "exception_message": "disk on fire", "exception_traceback": ""}
    answers = broken.model_dump(mode="json")["result"]["results"]
    silent = [{**answer, "success": False, "result": {}, "exception_info": error} for answer in answers]
    page = assert_offline(render(broken.model_copy(update={"result": {**broken.result, "results": silent}})))
    assert page.text.count("disk on fire") >= broken.expectations


def test_a_good_version_has_a_page_too(folder: Path) -> None:
    """Healthy, in the title, with every column that the suite speaks of."""
    found = validate("transactions", write_parquet(generate(20_000), folder / "good"))
    page = assert_offline(render(found))
    assert "transactions: healthy" in page.text
    for column in ("amount", "merchant_category", "is_fraud"):
        assert column in page.text


def test_what_was_made_beforehand_is_all_that_a_page_needs(broken: Validation) -> None:
    """A child of the fork server compiles no template any more: the server has compiled them all."""
    _view.cache_clear()
    warm_up()
    compiled = set(_view().env.cache.keys())
    render(broken)
    assert set(_view().env.cache.keys()) == compiled
