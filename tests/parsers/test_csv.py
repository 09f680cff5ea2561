"""Parser csv."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from logflow.component import Parser

MakeParser = Callable[..., Parser]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (b"1,2,3", ["1", "2", "3"]),
        (b",,", ["", "", ""]),
        (b'"a,b",c,"d""e"', ["a,b", "c", 'd"e']),
        (b'"",x,""', ["", "x", ""]),
        (b'a"b,c,d', ['a"b', "c", "d"]),
        (b' "a",b,c', [' "a"', "b", "c"]),
        (b"1,2", None),
        (b"1,2,3,4", None),
        (b"1,2,3,", None),
        (b'"1,2,3', None),
        (b'"1"x,2,3', None),
        (b'"1","2","3', None),
        (b'"1","2","3"",', None),
        (b"", None),
    ],
)
def test_lines(make_parser: MakeParser, line: bytes, expected: list[str] | None) -> None:
    """As RFC 4180 has them; another number of values does not match."""
    found = make_parser("csv", columns=["x", "y", "z"]).parse(line)
    assert (found and list(found[1].values())) == expected


def test_other_characters(make_parser: MakeParser) -> None:
    """Delimiters and quotes that mean something to regular expressions."""
    parser = make_parser("csv", columns=["a", "b"], delimiter="|", quote="^", types={"b": "int"})
    assert parser.parse(b"^x|^^^|5") == (None, {"a": "x|^", "b": 5})


@given(
    st.lists(
        st.text(st.characters(exclude_characters="\r\n\0", exclude_categories=["Cs"])), min_size=1, max_size=5
    )
)
@settings(max_examples=150, deadline=None)
def test_what_a_writer_wrote_is_read_back(make_parser: MakeParser, values: list[str]) -> None:
    """Python's own, with its quoting."""
    out = io.StringIO()
    csv.writer(out, lineterminator="").writerow(values)
    columns = [f"c{index}" for index in range(len(values))]
    found = make_parser("csv", columns=columns).parse(out.getvalue().encode())
    assert found == (None, dict(zip(columns, values, strict=True)))
