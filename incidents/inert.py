"""Text that came from outside, made harmless for the place where it is shown.

A label or an annotation of an alert is written by whoever can make a system fail. In a terminal, a chat or a page it
must stay text: no escape sequence, no mention of everybody, no link, no HTML.
"""

from __future__ import annotations

import re
import unicodedata

#: More of one value than this helps nobody to read it, in characters.
LONGEST = 1000

#: Marks that turn the direction of writing, so that a line reads otherwise than it is stored.
_BIDI = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")

#: Everything that could begin a construct inside a line of CommonMark, GitHub's or Prefect's Markdown included. An
#: underscore between two letters can't, and the names of actions are full of them; an @ only where a name with a dot
#: follows or no letter stands before it.
_INSIDE = re.compile(r"[\\`*\[\]<&|~$]|(?<![^\W_])_|_(?![^\W_])|:(?=//)|(?<=[wW]{3})\.|(?<!\w)@|@(?=[\w-]*\.)")

#: What could begin a block, where the text stands at the beginning of a line or of a list's item.
_AT_START = re.compile(r"^([-+=#:>]|\d+(?=[.)](?:\s|$)))")

#: The look-alikes that no chat reads as a tag, a link or a mention.
_CHAT = str.maketrans({"<": "＜", ">": "＞", "@": "＠", "`": "ˋ"})


def one_line(text: object, longest: int = LONGEST) -> str:
    """The text in one line, without control characters, and cut at ``longest`` characters."""
    kept = "".join(" " if _is_control(char) else char for char in str(text)[: longest * 4])
    line = " ".join(kept.split())
    return line if len(line) <= longest else line[: longest - 1] + "…"


def markdown(text: object, longest: int = LONGEST) -> str:
    """The text so that Markdown shows it and does nothing else with it."""
    line = _INSIDE.sub(lambda match: "\\" + match[0], one_line(text, longest))
    return _AT_START.sub(lambda match: f"{match[1]}\\" if match[1].isdigit() else f"\\{match[1]}", line)


def chat(text: str, longest: int = LONGEST) -> str:
    """The text so that a chat shows it and calls nobody; its lines stay lines."""
    lines = [one_line(line, longest) for line in text[: longest * 4].splitlines()]
    plain = "\n".join(lines).strip().translate(_CHAT).replace("](", "] (")
    return plain if len(plain) <= longest else plain[: longest - 1] + "…"


def _is_control(char: str) -> bool:
    return unicodedata.category(char) in ("Cc", "Cs", "Zl", "Zp") or char in _BIDI
