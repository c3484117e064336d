"""Has the code changed since it was imported?"""

from __future__ import annotations

import site
import sys
from functools import cache
from pathlib import Path


def fingerprint() -> tuple[int, ...]:
    """Times of change of every imported file outside of the installed packages, and of the folders of those."""
    return tuple(_changed(path) for path in (*_own_files(len(sys.modules)), *site.getsitepackages()))


def _changed(path: str) -> int:
    try:
        return Path(path).stat().st_mtime_ns
    except OSError:
        return 0


@cache
def _own_files(_modules: int) -> tuple[str, ...]:
    """Files of our own modules; looked up anew when the number of imported modules has changed."""
    installed = (sys.base_prefix, *site.getsitepackages())
    files = (getattr(module, "__file__", None) for module in list(sys.modules.values()))
    return tuple(sorted({file for file in files if file and not file.startswith(installed)}))
