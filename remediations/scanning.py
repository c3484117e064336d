"""Are a model's files safe to load? picklescan reads what a pickle would import, and never loads it."""

from __future__ import annotations

import logging
import pickletools
from pathlib import Path
from zipfile import is_zipfile

from incidents.models import Frozen, Health, Verdict
from remediations.artifacts import Unreadable, digest_of, fetched, files

#: Of a larger version nothing is fetched, so that no model fills the disk of the worker: a person looks through it.
MOST_BYTES = 20 * 1024**3

#: Files of which it is known that whoever loads them unpickles them.
_PICKLES = {".pkl", ".pickle", ".joblib", ".pt", ".pth", ".ckpt"}


class Scan(Frozen):
    """What one look through the files of a version found."""

    #: SHA-256 of the files that are the model; empty where they could not be read.
    digest: str
    verdict: Verdict


def scan(model: str, version: int | str) -> Scan:
    """Look through the files of a version. Inconclusive, and never an exception: the artifact store is away, or there
    are more bytes than ``MOST_BYTES``.
    """
    try:
        size = sum(file.bytes for file in files(model, version))
        if size > MOST_BYTES:
            why = f"its files have {size} bytes, and no more than {MOST_BYTES} are looked through"
            return Scan(digest="", verdict=Verdict(health=Health.inconclusive, why=why))
        with fetched(model, version) as folder:
            return Scan(digest=digest_of(folder), verdict=look_through(folder))
    except Unreadable as error:
        return Scan(digest="", verdict=Verdict(health=Health.inconclusive, why=str(error)))


def look_through(folder: Path) -> Verdict:
    """Unhealthy: a file imports what can run anything. Inconclusive: a pickle could not be read to its end."""
    from picklescan.scanner import SafetyLevel, scan_file_path

    logging.getLogger("picklescan").setLevel(logging.CRITICAL)  # what it finds is in the verdict
    unsafe: list[str] = []
    unread: list[str] = []
    unknown: set[str] = set()
    there = [file for file in sorted(folder.rglob("*")) if file.is_file()]
    for file in there:
        name = str(file.relative_to(folder))
        try:
            found = scan_file_path(str(file))
        except Exception as error:  # a file that breaks the scanner is not one that was found safe
            unread.append(f"{name} ({type(error).__name__})")
            continue
        named = [(f"{one.module}.{one.name}", one.safety) for one in found.globals]
        unsafe += [f"{name} imports {what}" for what, safety in named if safety is SafetyLevel.Dangerous]
        if not _meant_as_pickle(file):
            continue  # any text may begin like a pickle of the oldest kind, and then break off
        unknown |= {what for what, safety in named if safety is SafetyLevel.Suspicious}
        if found.scan_err or (not named and not _is_pickle(file)):
            unread.append(name)
    seen = {
        "files": len(there),
        "unsafe": sorted(unsafe)[:50],
        "unread": unread[:50],
        "unknown": sorted(unknown)[:50],
    }
    if unsafe:
        why, health = f"unsafe to load: {'; '.join(sorted(unsafe)[:3])}", Health.unhealthy
    elif not there:
        why, health = "it has no files, so nothing is known about it", Health.inconclusive
    elif unread:
        why, health = f"a pickle could not be read to its end: {', '.join(unread[:3])}", Health.inconclusive
    else:
        why, health = f"{len(there)} files import nothing that is known to be unsafe", Health.healthy
    return Verdict(health=health, why=why, evidence=seen)


def _meant_as_pickle(file: Path) -> bool:
    """Whether it is called like one, or begins like one of protocol 2 and later."""
    with file.open("rb") as stream:
        return file.suffix in _PICKLES or stream.read(1) == b"\x80"


def _is_pickle(file: Path) -> bool:
    """Whether it is a pickle or a ZIP of some; picklescan calls everything else safe."""
    if is_zipfile(file):
        return True
    try:
        with file.open("rb") as stream:
            for _ in pickletools.genops(stream):
                pass
    except Exception:  # whatever a broken pickle makes of it
        return False
    return True
