"""Bytes to a JSON value: one document of RFC 8259 in UTF-8, bounded in depth, and every error is the same error.

A key that stands twice in an object is allowed, and its last value counts: real senders write such objects.
"""

from __future__ import annotations

import json
import math
from typing import Any, NoReturn

from pydantic import JsonValue

#: Objects and arrays inside each other. Real alerts have five levels.
DEEPEST = 256


class Malformed(Exception):
    """The bytes are not one JSON document; the message says why and repeats nothing of them."""


def parse(body: bytes) -> JsonValue:
    """Read the one document in ``body``.

    Raises:
        Malformed: it is not JSON in UTF-8, nested deeper than ``DEEPEST``, or holds a number that JSON or Python
            can't hold.
    """
    try:
        value: JsonValue = json.loads(body.decode("utf-8-sig"), parse_constant=_refuse, parse_float=_finite)
    except UnicodeDecodeError:
        raise Malformed("the body is not UTF-8") from None
    except json.JSONDecodeError as error:
        raise Malformed(f"the body is not one JSON document: line {error.lineno}, column {error.colno}") from None
    except ValueError:  # Python refuses an integer of more than 4,300 digits
        raise Malformed("the body holds a number that is too long") from None
    except RecursionError:
        value = None
        too_deep = True
    else:
        # a document with so few brackets can't be too deep, and needs no look
        too_deep = body.count(b"{") + body.count(b"[") > DEEPEST and _deeper(value, DEEPEST)
    if too_deep:
        raise Malformed(f"the body is nested deeper than {DEEPEST} levels")
    return value


def _refuse(_constant: str) -> NoReturn:
    raise Malformed("the body holds NaN or Infinity, which JSON does not have")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise Malformed("the body holds a number that is too large")
    return number


def _deeper(value: Any, limit: int) -> bool:
    """Whether arrays and objects stand more than ``limit`` deep. It goes level by level, so it can't run too deep."""
    level = [value]
    for _ in range(limit + 1):
        level = [node for node in level if isinstance(node, dict | list)]
        if not level:
            return False
        level = [child for node in level for child in (node.values() if isinstance(node, dict) else node)]
    return True
