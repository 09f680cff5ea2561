"""JSON objects as lines, however they were written."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from logflow.engine.api import Engine
from logflow.errors import MalformedData

drawn_often = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
OBJECTS = st.dictionaries(
    st.text(max_size=5),
    st.recursive(st.none() | st.text(max_size=8) | st.integers(), lambda inner: st.lists(inner, max_size=3)),
    max_size=4,
)


@pytest.mark.parametrize(
    "text",
    [
        b'{"a":1}{"a":2}', b'{"a":1}\n{"a":2}\n', b'[{"a":1},{"a":2}]', b' [ {"a":1} , \n{"a":2} ] ',
        b'{"a":\n 1}\r\n\r\n{"a":\r\n2\n}', b'[{"a":1}][{"a":2}]', b'[{"a":1} {"a":2}]',
    ],
)  # fmt: skip
def test_every_way_to_write_objects(engine: Engine, text: bytes) -> None:
    """One after another, over lines, in arrays."""
    done = engine.json_lines(text)
    assert [json.loads(line) for line in done.lines.splitlines()] == [{"a": 1}, {"a": 2}]
    assert (done.consumed, done.array) == (len(text), False)


@pytest.mark.parametrize(
    "text", [b"plain", b"1", b"null", b'{"a":1},{"a":2}', b'{"a":1}]', b"[1]", b"[[{}]]", b'"{"']
)
def test_what_is_no_object_is_refused(engine: Engine, text: bytes) -> None:
    """Whatever it is."""
    with pytest.raises(MalformedData, match="no JSON object"):
        engine.json_lines(text)


def test_brackets_and_newlines_in_strings_mean_nothing(engine: Engine) -> None:
    """Raw newlines in them are no JSON, and stay so."""
    text = b'{"a":"}]\\"{[","b":"\n"}'
    assert engine.json_lines(text).lines == text + b"\n"


@given(st.lists(OBJECTS, max_size=6), st.booleans(), st.sampled_from([None, 1]), st.integers(1, 40))
@drawn_often
def test_in_pieces_it_is_the_same(
    engine: Engine, objects: list[Any], in_array: bool, indent: int | None, size: int
) -> None:
    """However they arrive."""
    text = (
        json.dumps(objects, indent=indent)
        if in_array
        else "".join(json.dumps(item, indent=indent) for item in objects)
    ).encode()
    lines, rest, array = b"", b"", False
    for start in range(0, len(text), size):
        done = engine.json_lines(rest + text[start : start + size], array=array)
        lines, rest, array = (
            lines + done.lines,
            (rest + text[start : start + size])[done.consumed :],
            done.array,
        )
    assert [json.loads(line) for line in lines.splitlines()] == objects
    assert (rest, array) == (b"", False)
