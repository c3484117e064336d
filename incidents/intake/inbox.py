"""The inbox: what was received, once for each distinct body; byte for byte where it holds no secret."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field

from sqlalchemy import Connection, bindparam, insert, select, update

from incidents.intake import Parsed
from incidents.models import now
from incidents.redaction import Rule, redact_document
from incidents.schema import deliveries

#: So many bodies or episodes are looked up at once; a statement can't carry much more than 30,000 values.
AT_ONCE = 500

_columns = deliveries.c
_KNOWN = select(_columns.sender, _columns.sha256).where(
    _columns.sender.in_(bindparam("senders", expanding=True)), _columns.sha256.in_(bindparam("hashes", expanding=True))
)
_KEEP = insert(deliveries)
_SEEN = (
    update(deliveries)
    .where(_columns.sender == bindparam("_sender"), _columns.sha256 == bindparam("_sha256"))
    .values(seen=_columns.seen + 1)
)


@dataclass(frozen=True)
class Delivery:
    """One body that a sender posted, and what was read from it."""

    sender: str
    body: bytes
    parsed: Parsed
    #: Which rules may find a secret in the body; None: nobody has looked.
    rules: Sequence[Rule] | None = None
    #: In hex, of the body as it came.
    sha256: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "sha256", hashlib.sha256(self.body).hexdigest())


def keep(connection: Connection, received: Sequence[Delivery]) -> list[bool]:
    """Store each body once, without secrets; returns for each delivery whether its body was there before."""
    asked = [(one.sender, one.sha256) for one in received]
    known = set[tuple[str, str]]()
    for start in range(0, len(asked), AT_ONCE):
        some = asked[start : start + AT_ONCE]
        senders, hashes = {sender for sender, _ in some}, [sha256 for _, sha256 in some]
        found = connection.execute(_KNOWN, {"senders": list(senders), "hashes": hashes})
        known.update((row.sender, row.sha256) for row in found)
    moment, was_there, new, again = now().isoformat(), [], [], []
    for one, key in zip(received, asked, strict=True):
        was_there.append(key in known)
        if key in known:
            again.append({"_sender": one.sender, "_sha256": one.sha256})
        else:
            row = {"sender": one.sender, "sha256": one.sha256, "received_at": moment, "seen": 1}
            new.append({**row, "body": redact_document(one.body, one.rules)})
            known.add(key)
    if new:
        connection.execute(_KEEP, new)
    if again:
        connection.execute(_SEEN, again)
    return was_there
