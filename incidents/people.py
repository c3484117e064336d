"""Who is who among those who answer."""

from __future__ import annotations

import unicodedata

from incidents.inert import one_line


def identity(actor: str) -> str:
    """An actor so that ``Anna`` and ``anna`` are one person, and so is a name in letters that only look different."""
    return unicodedata.normalize("NFKC", one_line(actor)).casefold()
