"""Requests in JSON, however they arrive."""

from __future__ import annotations

import json
from typing import Any

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from logflow.errors import LimitExceeded, MalformedData
from logflow.forward import jsontext
from logflow.forward.jsontext import JsonRequests, json_ack

REQUESTS = [["app", 1_700_000_000, {"n": 1, "x": "caf\u00e9 ]["}, {"chunk": "c"}], ["app", 5, {"n": 2}, None]]


def unpacked(data: bytes) -> list[Any]:
    unpacker = msgpack.Unpacker()
    unpacker.feed(data)
    return list(unpacker)


@settings(max_examples=50, deadline=None)
@given(size=st.integers(1, 60), ascii_only=st.booleans(), blank=st.sampled_from(["", "\n", " "]))
def test_they_are_found_in_whatever_pieces_they_come(size: int, ascii_only: bool, blank: str) -> None:
    text = blank.join(json.dumps(request, ensure_ascii=ascii_only) for request in REQUESTS).encode()
    requests = JsonRequests()
    pieces = [requests.feed(text[start : start + size]) for start in range(0, len(text), size)]
    assert unpacked(b"".join(pieces)) == REQUESTS


@given(text=st.text(alphabet='a"\\[] é', max_size=20), size=st.integers(1, 5))
def test_what_stands_in_quotes_ends_nothing(text: str, size: int) -> None:
    request = [text, 1, {text: [text]}]
    data = json.dumps([*request], ensure_ascii=False).encode() * 2
    requests = JsonRequests()
    found = b"".join(requests.feed(data[start : start + size]) for start in range(0, len(data), size))
    assert unpacked(found) == [request, request]


def test_the_work_is_in_proportion_to_what_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    """A bracket within quotes, or one too few, has nothing decoded again and again."""
    decoded: list[int] = []
    monkeypatch.setattr(jsontext, "_packed", lambda text: decoded.append(len(text)) or b"")
    requests = JsonRequests()
    requests.feed(b'["' + b"a" * 100_000)
    for _ in range(3000):
        requests.feed(b"]")
    assert decoded == []
    requests.feed(b'"]')
    assert decoded == [103_004]


@pytest.mark.parametrize("text", [b"[1 2]", b"[}]", b'["a":1]', b"[nul]"])
def test_what_is_no_json_is_refused_at_its_end(text: bytes) -> None:
    with pytest.raises(MalformedData, match="not JSON"):
        JsonRequests().feed(text)


@pytest.mark.parametrize("text", [b'{"a":1}]', b"[1]5", b"5]"])
def test_what_is_no_array_is_refused(text: bytes) -> None:
    with pytest.raises(MalformedData, match="not an array"):
        JsonRequests().feed(text)


@pytest.mark.parametrize("text", [b"[" * 900_000 + b"]", b"[" + b"1" * 5000 + b"]", b"[" * 1_100_000])
def test_what_is_too_much_is_refused(text: bytes) -> None:
    with pytest.raises(LimitExceeded):
        JsonRequests().feed(text)


def test_the_answer_is_json_too() -> None:
    assert json_ack(msgpack.packb("c")) == b'{"ack": "c"}'
