"""The chain: every event's hash covers its own stored bytes and the hash of the event before."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from json.encoder import encode_basestring
from typing import Any

#: The hash before the first event.
GENESIS = "0" * 64


def chain(before: str, row: Sequence[Any]) -> str:
    """The hash of a row of ``events`` that follows the hash ``before``; the row's own hash is not looked at.

    It is ``models.digest`` of the hash before and the columns as they stand in the table, only faster to make.

    Raises:
        TypeError: a column that holds text holds something else.
    """
    seq, *texts = row[:7]
    columns = ",".join(map(encode_basestring, texts))
    return hashlib.sha256(f"[{encode_basestring(before)},{seq},{columns}]".encode()).hexdigest()
