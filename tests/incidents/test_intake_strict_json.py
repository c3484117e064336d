"""Bytes become a JSON value or one kind of error, whatever they are."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from incidents.intake.strict_json import DEEPEST, Malformed, parse

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(JSON)
def test_every_json_value_comes_back_as_it_is(value: Any) -> None:
    """What a correct writer writes is read as it was meant, in both ways of writing text."""
    for ascii_only in (True, False):
        written = json.dumps(value, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass")
        with suppress(Malformed):  # a lone surrogate written out is not UTF-8
            assert parse(written) == value
    assert parse(json.dumps(value).encode()) == value


@given(st.binary() | st.text(alphabet='[]{}",:0123456789eE+-.tfn\\u \n').map(str.encode))
def test_no_bytes_raise_anything_but_malformed(body: bytes) -> None:
    """Arbitrary bytes, and arbitrary heaps of JSON's own characters, are read or refused."""
    with suppress(Malformed):
        json.dumps(parse(body), allow_nan=False)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b" \n\t ",
        b"not json",
        b'{"a": 1}{"a": 2}',
        b"{'a': 1}",
        b'{"a": 1 /* why */}',
        b'{"a": NaN}',
        b"[-Infinity]",
        b"[1e400]",
        b"[-1e400]",
        b"[" + b"9" * 5000 + b"]",
        b'["\xff\xfe"]',
        b'["\xed\xa0\x80"]',
        '{"a": 1}'.encode("utf-16"),
        '{"a": 1}'.encode("utf-16-le"),
        b'["\x00"]',
        b"[" * 100_000,
        b"[" * (DEEPEST + 1) + b"]" * (DEEPEST + 1),
        b'{"x":' * (DEEPEST + 1) + b"1" + b"}" * (DEEPEST + 1),
    ],
)
def test_it_refuses(body: bytes) -> None:
    """What is not exactly one JSON document, or more than can be held, is malformed."""
    with pytest.raises(Malformed):
        parse(body)


def test_it_takes_what_is_just_within_the_bounds() -> None:
    """The deepest allowed nesting, a long integer, a UTF-8 mark at the beginning, and a key that stands twice."""
    assert parse(b"[" * DEEPEST + b"]" * DEEPEST)
    assert parse(b"9" * 4000) == int("9" * 4000)
    assert parse(b'\xef\xbb\xbf{"a": 1}') == {"a": 1}
    assert parse(b'{"source": "a", "source": ["a", "b"]}') == {"source": ["a", "b"]}


def test_the_error_repeats_nothing_of_the_body() -> None:
    """A body may hold secrets, and the message goes into the answer and the log."""
    for body in (b'{"password": hunter2}', b"hunter2", b'"hunter2'):
        with pytest.raises(Malformed) as error:
            parse(body)
        assert "hunter2" not in str(error.value)
        assert error.value.__suppress_context__
