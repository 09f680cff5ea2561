"""JSON objects in text: the rules, one by one."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from logflow.jsontext import MAX_DEPTH, decode_object, decode_objects
from tools.strategies import deep_json, messages


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b'{"a":1}', {"a": 1}),
        (b' \t\r\n{"a" : 1 }\n', {"a": 1}),
        (b"{}", {}),
        (b'{"a":1,"b":2,"\\u0061":3}', {"a": 3, "b": 2}),
        (b'{"a":-0,"b":-0.0,"c":1E+2}', {"a": 0, "b": -0.0, "c": 100.0}),
        (b'{"a":18446744073709551616}', {"a": 2**64}),
        (b'{"a":' + b"9" * 4300 + b"}", {"a": int("9" * 4300)}),
        (b'{"a":"\xff\xc3\xa9"}', {"a": "\\xffé"}),
        (b'{"\xe2\x82":1}', {"\\xe2\\x82": 1}),
        (b'{"a":"\\u0000\x7f\xe2\x80\xa8\\ud83d\\ude00"}', {"a": "\0\x7f\u2028😀"}),
        (b'{"a":1e-999}', {"a": 0.0}),
        (
            rb'{"a":"\ud83d \ud83d\ude00 \uDE00 \\ud800","\udc00":1}',
            {"a": "\ufffd 😀 \ufffd \\ud800", "\ufffd": 1},
        ),
        (b'{"a":"\xff\\ud800"}', {"a": "\\xff\ufffd"}),
        (deep_json(MAX_DEPTH), None),
    ],
)
def test_what_parses(text: bytes, expected: dict[str, Any] | None) -> None:
    """Valid objects, and the two liberties: invalid UTF-8 is escaped, integers may be of any size."""
    found = decode_object(text)
    assert found is not None
    if expected is not None:
        assert found == expected
        assert list(found) == list(expected)
        assert repr(found) == repr(expected)


@pytest.mark.parametrize(
    "text",
    [
        b"", b" ", b"[]", b"1", b'"a"', b"null", b"{", b'{"a":1,}', b"{'a':1}", b"{a:1}", b'{"a":01}',
        b'{"a":1.}', b'{"a":NaN}', b'{"a":Infinity}', b'{"a":1e999}',
        b'{"a":"\\ud80"}', b'{"a":"\\ud800\\u"}',
        b'{"a":"\x01"}', b'{"a":"\n"}', b'{"a":"\\x"}', b'{"a":1}x', b"{}{}", b"{} {}", b"\xef\xbb\xbf{}",
        b"\x0c{}", b"{\xff}", b'{"a":"\\\xff"}', b'{"a":' + b"9" * 4301 + b"}", b'{"a":tru}', b"{1:2}", b"\0",
        deep_json(MAX_DEPTH + 1), deep_json(5000), b'{"a":' * 5000, b'{"a":' * 200 + b"1" + b"}" * 200,
    ],
)  # fmt: skip
def test_what_does_not_parse(text: bytes) -> None:
    """It is None, never an exception."""
    assert decode_object(text) is None


def test_brackets_in_strings_are_no_nesting() -> None:
    """Only the levels count, not how many brackets there are."""
    wide = b'{"a":"' + b"[{" * 200 + b'\\"[","b":[' + b"[],{}," * 200 + b"0]}"
    assert decode_object(wide) is not None


@pytest.mark.slow
@given(st.lists(messages(), max_size=4))
@settings(max_examples=80, deadline=None)
def test_many_at_once_are_as_each_by_itself(texts: list[bytes]) -> None:
    """Whatever stands beside them."""
    assert repr(decode_objects(texts)) == repr([decode_object(text) for text in texts])


@pytest.mark.parametrize(
    "texts",
    [
        [b'{"a":[1,', b'{}]}', b"{}{}"],
        [b'{"a":1', b'}', b'{"x":1}{"y":2}'],
        [b"{}", b"{}\n{}", b"{\n}"],
        [b'{"a":{}', b"}", b"{} {}"],
        [b"{}", b"", b"{}"],
    ],
)  # fmt: skip
def test_texts_do_not_complete_each_other(texts: list[bytes]) -> None:
    """Two halves in two texts are two texts that do not parse, whatever a third makes up for."""
    assert decode_objects(texts) == [decode_object(text) for text in texts]
