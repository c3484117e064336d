"""One validation as one web page that needs no network: Great Expectations' Data Docs, made self-contained.

Great Expectations' own page loads nine scripts and styles from other people's servers, and puts some values
of the data into the page as they are. Here its renderer does the work, and of its page only the sections are
taken over, only with harmless tags, with every text escaped.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from html import escape
from html.parser import HTMLParser
from typing import Any

from expectations.engine import Validation

#: What a page may hold; whatever is not on these lists is left out.
_TAGS = frozenset(
    "a b br code div em h1 h2 h3 h4 h5 h6 i li ol p pre span strong table tbody td th thead tr ul".split()  # noqa: SIM905 - a list would be 26 lines
)
_ATTRIBUTES = frozenset({"class", "colspan", "rowspan", "hidden"})
#: Characters that mean something in HTML travel through Great Expectations as private ones, which mean nothing.
_HIDE = {ord(char): 0xE000 + place for place, char in enumerate("<>&\"'")}
_SHOW = {hidden: shown for shown, hidden in _HIDE.items()}

_CSS = """
body { font: 15px/1.45 system-ui, sans-serif; color: #1d2129; background: #fff; max-width: 70rem; margin: 2rem auto;
  padding: 0 1rem; }
h1 { font-size: 1.5rem; } h5 { font-size: 1.1rem; margin: 1.8rem 0 .4rem; border-bottom: 1px solid #ccd; }
h6 { margin: .8rem 0 .2rem; }
table { border-collapse: collapse; width: 100%; margin: .3rem 0; }
td, th { border: 1px solid #dde; padding: .3rem .5rem; text-align: left; vertical-align: top; overflow-wrap: anywhere; }
td table { width: auto; }
p.m-0 { display: none; } /* these open a fold, and here nothing is folded */
.badge, code { background: #eef; border-radius: 3px; padding: 0 .25rem; font-family: ui-monospace, monospace; }
.fa-check-circle::before { content: "\\2713 met"; color: #17692f; }
.fa-times::before { content: "\\2717 not met"; color: #b3261e; }
.fa-exclamation-triangle::before { content: "! no answer"; color: #8a5a00; }
.healthy { color: #17692f; } .unhealthy { color: #b3261e; } .inconclusive { color: #8a5a00; }
@media (prefers-color-scheme: dark) {
  body { color: #e4e6eb; background: #16181c; } td, th { border-color: #3a3d44; } .badge, code { background: #2c3140; }
  .fa-check-circle::before, .healthy { color: #6fd08c; } .fa-times::before, .unhealthy { color: #ff8a80; }
  .fa-exclamation-triangle::before, .inconclusive { color: #ffcf70; }
}
"""


def render(validation: Validation) -> str:
    """The Data Docs page of one validation: HTML text that loads nothing and runs nothing."""
    from great_expectations.core.expectation_validation_result import ExpectationSuiteValidationResultSchema
    from great_expectations.render.renderer.page_renderer import ValidationResultsPageRenderer

    result = ExpectationSuiteValidationResultSchema().load(_hidden(validation.result))
    for answer in result.results:
        if answer.expectation_config.type == "expect_table_columns_to_match_ordered_list":
            # The renderer orders the page by what this one saw, and fails where it saw nothing.
            answer.result.setdefault("observed_value", [])
    document = ValidationResultsPageRenderer().render(result)
    sections = _Sections()
    sections.feed(_view().render(document, show_how_to_buttons=False))
    sections.close()
    verdict = validation.verdict
    title = escape(f"{validation.suite}: {verdict.health}")
    failures = "".join(f"<li>{escape(one.severity)}: {escape(str(one))}</li>" for one in validation.failures)
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        # The browser itself is told to load nothing, whatever the page may say.
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">"
        f'<meta name="viewport" content="width=device-width"><title>{title}</title><style>{_CSS}</style></head>'
        f'<body><h1 class="{verdict.health}">{title}</h1><p>{escape(verdict.why)}</p><ul>{failures}</ul>'
        f"{''.join(sections.kept)}</body></html>\n"
    )


def warm_up() -> None:
    """Compile Great Expectations' templates, which takes as long as validating 100,000 rows."""
    templates = _view().env
    for name in templates.list_templates(extensions=["j2", "css"]):
        templates.get_template(name)


@cache
def _view() -> Any:
    """What writes pages. Its templates are compiled once for as long as it is there."""
    from great_expectations.render.view import DefaultJinjaPageView

    return DefaultJinjaPageView()


def _hidden(value: Any) -> Any:
    """The same JSON with every special character in its texts replaced by a private one."""
    if isinstance(value, str):
        return value.translate(_HIDE)
    if isinstance(value, Mapping):
        return {_hidden(key): _hidden(one) for key, one in value.items()}
    return [_hidden(one) for one in value] if isinstance(value, list | tuple) else value


class _Sections(HTMLParser):
    """Keeps the sections of a Data Docs page, rebuilt of allowed tags, allowed attributes and escaped text."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.kept: list[str] = []
        #: How many <div> deep we are inside a section; 0 is outside.
        self._depth = 0
        #: Inside <script> or <style>, whose text is code.
        self._code = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._code = tag in ("script", "style")
        if tag == "div" and (self._depth or "ge-section" in (dict(attrs).get("class") or "").split()):
            self._depth += 1
        if self._depth and tag in _TAGS:
            kept = [(name, value or "") for name, value in attrs if name in _ATTRIBUTES]
            written = "".join(f' {name}="{escape(value.translate(_SHOW))}"' for name, value in kept)
            self.kept.append(f"<{tag}{written}>")

    def handle_endtag(self, tag: str) -> None:
        self._code = False
        if self._depth and tag in _TAGS and tag != "br":
            self.kept.append(f"</{tag}>")
        if self._depth and tag == "div":
            self._depth -= 1

    def handle_data(self, data: str) -> None:
        if self._depth and not self._code:
            text = data.translate(_SHOW).replace("unknown % not null", "--")  # as for the others that are met
            self.kept.append(escape(text) if text.strip() else "\n")
