"""A part of the record to take along: one file that proves itself, to whoever has neither us nor the database.

Every line is a JSON object. First the events in their order, as they are stored, each with its hash; then the manifest;
last the signature over all bytes before it. ``docs/verify_bundle.py`` checks it with nothing of ours.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from sqlalchemy import func, select

from incidents.anchors import Anchor
from incidents.ledger import GENESIS, Ledger
from incidents.models import Frozen, canonical, now
from incidents.schema import events

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

#: What is signed is this and the SHA-256 of the lines, so that a signature is good for nothing else.
PURPOSE = b"lastgood bundle 1\n"


class NoKey(Exception):
    """The file that should hold the signing key holds none; the message says what is wrong, and nothing of it."""


class Bundle(Frozen):
    """What was written."""

    count: int
    #: The public key in hex; empty where it is not signed.
    signed_by: str = ""


def write(
    ledger: Ledger,
    to: BinaryIO,
    *,
    since: datetime | None = None,
    anchors: Iterable[Anchor] = (),
    key: Ed25519PrivateKey | None = None,
) -> Bundle:
    """Write everything from the first event at or after ``since`` on, without a gap; sign it where there is a key."""
    sha256, count, first, last = hashlib.sha256(), 0, None, None

    def put(line: str) -> None:
        data = line.encode() + b"\n"
        sha256.update(data)
        to.write(data)

    start = _start(ledger, since)
    for row in _from(ledger, start):
        count, first, last = count + 1, first or row, row
        put(json.dumps(dict(row._mapping), ensure_ascii=False))
    manifest = {
        "format": 1,
        "made_at": now().isoformat(),
        "since": None if since is None else since.astimezone(UTC).isoformat(),
        "count": count,
        "before": _hash_before(ledger, start),
        "first": None if first is None else {"seq": first.seq, "hash": first.hash},
        "last": None if last is None else {"seq": last.seq, "hash": last.hash},
        "anchors": [anchor.model_dump(mode="json") for anchor in anchors],
    }
    put(canonical({"manifest": manifest}))
    if key is None:
        put(canonical({"signature": None, "why": "there was no key to sign with"}))
        return Bundle(count=count)
    public = key.public_key().public_bytes_raw()
    signature = key.sign(PURPOSE + sha256.digest())
    put(canonical({"signature": signature.hex(), "key": public.hex()}))
    return Bundle(count=count, signed_by=public.hex())


def load_key(path: Path) -> Ed25519PrivateKey:
    """The Ed25519 private key in a PEM file.

    Raises:
        NoKey: it cannot be read, is encrypted, or is another kind of key.
    """
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        key = load_pem_private_key(path.read_bytes(), password=None)
    except OSError as error:
        raise NoKey(f"LASTGOOD_SIGNING_KEY: {path} cannot be read: {error.strerror}") from None
    except (ValueError, TypeError):
        raise NoKey(f"LASTGOOD_SIGNING_KEY: {path} is no private key in PEM without a password") from None
    if not isinstance(key, Ed25519PrivateKey):
        raise NoKey(f"LASTGOOD_SIGNING_KEY: {path} is no Ed25519 key; `openssl genpkey -algorithm ed25519` makes one")
    return key


def _start(ledger: Ledger, since: datetime | None) -> int:
    """The number of the first event at or after that moment; the one after the last where there is none."""
    moment = "" if since is None else since.astimezone(UTC).isoformat(timespec="microseconds")
    with ledger.engine.connect() as connection:
        first = connection.scalar(select(func.min(events.c.seq)).where(events.c.at >= moment))
        last = connection.scalar(select(func.max(events.c.seq))) or 0
    return int(first if first is not None else last + 1)


def _from(ledger: Ledger, start: int) -> Iterator[Any]:
    with ledger.engine.connect() as connection:
        query = select(events).where(events.c.seq >= start).order_by(events.c.seq)
        yield from connection.execution_options(yield_per=1000).execute(query)


def _hash_before(ledger: Ledger, start: int) -> str:
    with ledger.engine.connect() as connection:
        found = connection.scalar(select(events.c.hash).where(events.c.seq == start - 1))
    return str(found) if found is not None else GENESIS
