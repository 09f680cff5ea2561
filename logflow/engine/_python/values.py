"""JSON objects as lines, however they were written."""

from __future__ import annotations

import re

from logflow.engine.api import JsonLines
from logflow.errors import MalformedData

_STRING = rb'"[^"\\]*(?:\\.[^"\\]*)*"'
_TOKEN = re.compile(_STRING + rb'|[\[\]{}]|"', re.DOTALL)
_STRING_OR_NEWLINE = re.compile(_STRING + rb"|[\r\n]", re.DOTALL)
_BLANKS = re.compile(rb"[ \t\r\n]*")
_BLANKS_AND_COMMAS = re.compile(rb"[ \t\r\n,]*")


def json_lines(data: bytes, *, array: bool) -> JsonLines:
    """See :meth:`logflow.engine.api.Engine.json_lines`."""
    lines: list[bytes] = []
    at = consumed = 0
    while True:
        blanks = (_BLANKS_AND_COMMAS if array else _BLANKS).match(data, at)
        assert blanks is not None
        at = consumed = blanks.end()
        match data[at : at + 1]:
            case b"":
                break
            case b"[" if not array:
                array, at = True, at + 1
            case b"]" if array:
                array, at = False, at + 1
            case b"{":
                end = _object_end(data, at)
                if end is None:
                    break
                lines += (_STRING_OR_NEWLINE.sub(_blank, data[at:end]), b"\n")
                at = end
            case _:
                raise MalformedData(f"at byte {at} there is no JSON object")
    return JsonLines(b"".join(lines), consumed, array)


def _object_end(data: bytes, start: int) -> int | None:
    """Find where an object ends, by its brackets; ``None`` if the data ends within it."""
    open_brackets = 0
    for token in _TOKEN.finditer(data, start):
        text = token[0]
        if text in b"{[":
            open_brackets += 1
        elif text in b"}]":
            open_brackets -= 1
            if not open_brackets:
                return token.end()
        elif text == b'"':  # a string that does not end
            return None
    return None


def _blank(found: re.Match[bytes]) -> bytes:
    """Newlines between tokens become blanks; in strings, where JSON has none, they stay."""
    return b" " if found[0] in b"\r\n" else found[0]
