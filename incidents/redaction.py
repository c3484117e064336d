"""Takes secrets out of text before it is stored: the record is kept for ever, and is shown to everybody.

A short table of what real systems leak in alerts, each rule with its name. In doubt it takes too much: what is lost can
be asked for again, what is on the record cannot be taken back. It knows no secret that looks like any other word.

Sources of the forms: the vendors' own pages, RFC 6750 (bearer), RFC 7519 (JWT), RFC 7468 (PEM).
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

#: What stands in the place of a secret.
GONE = "***"

#: How the name of a value ends that is a secret: ``db_password``, ``apiKey``, ``X-Auth-Token``; but not ``max_tokens``.
_NAME = (
    r"(?:passw(?:or)?d|passphrase|pwd|secret|token|credentials?|authorization"
    r"|(?:api|access|secret|private|account|shared|signing)[_-]?key(?:[_-]?id)?)"
)
_NAME_MARKERS = (
    *("passw", "passphrase", "pwd", "secret", "token", "credential", "authorization"),
    *("_key", "-key", "ikey", "skey", "tkey", "ekey", "dkey", "gkey"),
)
_SECRET_NAME = re.compile(rf"{_NAME}$", re.I)


@dataclass(frozen=True)
class Rule:
    """One kind of secret, and how it is known."""

    name: str
    #: One of these, in lower case, is in every text that holds one; looking for them first is what makes it fast.
    markers: tuple[str, ...]
    #: Its groups, where it has any, are kept; the rest of what it matches goes. No pattern may look twice at a text.
    pattern: re.Pattern[str]

    def apply(self, text: str) -> tuple[str, int]:
        """The text without this kind of secret, and how many there were."""
        count = 0

        def gone(match: re.Match[str]) -> str:
            nonlocal count
            kept = f"{match[1]}{GONE}{match[2]}" if match.re.groups else GONE
            count += kept != match[0]
            return kept

        return self.pattern.sub(gone, text), count


RULES: tuple[Rule, ...] = (
    Rule(
        "private key",
        ("private key",),
        re.compile(
            r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----.*?"
            r"(?:-----END [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----|\Z)",
            re.S,
        ),
    ),
    Rule("login in a URL", ("@",), re.compile(r"(://)[^/?#\s]*(@)")),
    Rule(
        "webhook",
        ("hooks.slack", "webhook.office.com", "office.com/webhook", "discord", "events.pagerduty.com"),
        re.compile(
            r"(hooks\.slack(?:-gov)?\.com/|webhook\.office\.com/|outlook\.office\.com/webhook/"
            r"|discord(?:app)?\.com/api/webhooks/|events\.pagerduty\.com/integration/)[^\s\"'<>|]+()",
            re.I,
        ),
    ),
    Rule(
        "secret in a URL",
        ("token", "key=", "keyid=", "key_id=", "key-id=", "secret", "passw", "pwd", "auth", "credential", "sig"),
        re.compile(
            r"([?&;#][^?&;#=\s]{0,60}(?:(?:token|secret|passw|pwd|auth|credential|sig)[^?&;#=\s]{0,60}|key(?:[_-]?id)?)=)"
            r"[^&#\s]*()",
            re.I,
        ),
    ),
    Rule("JWT", ("eyj",), re.compile(r"(?<![\w-])eyJ[\w-]{8,}(?:\.[\w-]*){2,4}", re.A)),
    Rule(
        "bearer token",
        ("bearer",),
        re.compile(
            r"\b(bearer\s{1,9})(?=[a-z._~+/=-]{0,300}\d|[a-z._~+/=-]{16})[\w.~+/=-]{6,}()",
            re.I | re.A,
        ),
    ),
    Rule("AWS access key", ("akia", "asia"), re.compile(r"(?<![A-Za-z0-9])A(?:KIA|SIA)[A-Z0-9]{16}(?![A-Za-z0-9])")),
    Rule(
        "vendor's token",
        (
            "xox",
            "xapp-",
            "ghp_",
            "gho_",
            "ghu_",
            "ghs_",
            "ghr_",
            "github_pat_",
            "glpat-",
            "hf_",
            "sk-",
            "aiza",
            "_live_",
        ),
        re.compile(
            r"(?<![A-Za-z0-9])(?:xox[a-z]-[\w-]{10,}|xapp-[\w-]{10,}|gh[pousr]_\w{30,}|github_pat_\w{22,}"
            r"|glpat-[\w-]{20,}|hf_\w{30,}|sk-[\w-]{20,}|AIza[\w-]{35}|[rs]k_live_\w{16,})",
            re.A,
        ),
    ),
    Rule(
        "secret with its name",
        _NAME_MARKERS,
        re.compile(
            rf"({_NAME}[\"']?\s{{0,5}}[:=]\s{{0,5}}[\"']?)"
            r"(?:(?<=\")[^\"\n]{0,2000}(?=\")|(?<=')[^'\n]{0,2000}(?=')"
            r"|(?:(?:bearer|basic|digest|token)\s{1,5})?[^\s&#]+)()",
            re.I,
        ),
    ),
)


_ALL_MARKERS = tuple(dict.fromkeys(marker for rule in RULES for marker in rule.markers))


def _any_of(words: Sequence[str]) -> re.Pattern[str]:
    """A pattern that finds any of the words, by their first letter: most texts are through it in a microsecond."""
    letters = dict.fromkeys(word[0] for word in words)
    rests = {letter: "|".join(re.escape(word[1:]) for word in words if word[0] == letter) for letter in letters}
    return re.compile("|".join(f"{re.escape(letter)}(?:{rest})" for letter, rest in rests.items()))


_ANY_MARKER = _any_of(_ALL_MARKERS)

#: What stands in every secret that is shorter than the shortest token.
_SHORT = re.compile("[@:=]")
_SHORTEST_TOKEN = 12

#: What a marker is made of, written as JSON allows as well: as numbers, or a slash behind a backslash; with the four
#: letters that Unicode takes for an ASCII one where case does not count. The few signs that Go's encoder writes so are
#: none.
_WRITTEN_OTHERWISE = re.compile(r"\\u(?:00(?:3[0-9d]|[4-7][0-9a-f]|2[0def])|013[01]|017f|212a)|\\/", re.I)


def possible(text: str) -> tuple[Rule, ...]:
    """The rules that may match somewhere in the text, which may be JSON."""
    lower = text.lower()
    if _ANY_MARKER.search(lower) is None:
        return ()
    found = {marker for marker in _ALL_MARKERS if marker in lower}
    return tuple(rule for rule in RULES if not found.isdisjoint(rule.markers))


@dataclass
class Redaction:
    """Redacts, and counts what it took out."""

    #: Which rules may match, where that is known beforehand.
    rules: Sequence[Rule] | None = None
    count: int = 0
    #: The names of the rules that matched, each once, in their order.
    names: list[str] = field(default_factory=list)

    def text(self, text: str) -> str:
        """The text without secrets."""
        if len(text) < _SHORTEST_TOKEN and not _SHORT.search(text):
            return text
        for rule in possible(text) if self.rules is None else self.rules:
            text, found = rule.apply(text)
            self._counted(rule.name, found)
        return text

    def named(self, name: str, value: Any) -> Any:
        """A value without secrets, and none of it where it is a text whose name says that it is one."""
        if isinstance(value, str) and value not in ("", GONE) and _SECRET_NAME.search(name):
            self._counted("secret with its name", 1)
            return GONE
        return self.tree(value)

    def tree(self, value: Any) -> Any:
        """A JSON value without secrets, in its keys too."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, list):
            return [self.tree(inner) for inner in value]
        if isinstance(value, dict):
            return {self.text(name): self.named(name, inner) for name, inner in value.items()}
        return value

    def document(self, text: str) -> Any:
        """A JSON document without secrets, read with every pair of it, also one whose key stands a second time."""

        def flat(value: Any) -> Any:  # an object in it was a pair's value before, so it is clean
            if isinstance(value, list):
                return [flat(inner) for inner in value]
            return self.text(value) if isinstance(value, str) else value

        def pairs(found: list[tuple[str, Any]]) -> dict[str, Any]:
            return {self.text(name): pair(name, value) for name, value in found}

        def pair(name: str, value: Any) -> Any:
            if value is None or isinstance(value, bool | dict) or not _SECRET_NAME.search(name):
                return flat(value)
            return self.named(name, str(value))

        return flat(json.loads(text, object_pairs_hook=pairs))

    def note(self, where: str) -> str:
        """What was taken out of where, for people: ``1 secret (JWT) redacted in annotation runbook``."""
        return f"{self.count} secret{'s' if self.count > 1 else ''} ({', '.join(self.names)}) redacted in {where}"

    def _counted(self, name: str, found: int) -> None:
        self.count += found
        if found and name not in self.names:
            self.names.append(name)


def redact(text: str) -> str:
    """The text without secrets."""
    return Redaction().text(text)


def redact_tree(value: Any) -> Any:
    """A JSON value without secrets."""
    return Redaction().tree(value)


def possible_in_document(raw: bytes) -> Sequence[Rule]:
    """The rules that may match somewhere in a JSON document, in its keys or values; all where it hides letters.

    Raises:
        UnicodeDecodeError: it is not UTF-8.
    """
    text = raw.decode("utf-8-sig")
    return RULES if _WRITTEN_OTHERWISE.search(text) else possible(text)


def redact_document(raw: bytes, rules: Sequence[Rule] | None = None) -> bytes:
    """A JSON document without secrets; byte for byte as it is where it holds none, and written anew where it does.

    ``rules``: what ``possible_in_document`` found, where that was asked before.
    """
    rules = possible_in_document(raw) if rules is None else rules
    if not rules:
        return raw
    redaction = Redaction(rules)
    clean = redaction.document(raw.decode("utf-8-sig"))
    return json.dumps(clean, separators=(",", ":")).encode() if redaction.count else raw
