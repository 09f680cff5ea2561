r"""Parser ``logfmt``: ``level=info msg="it \"works\"" cached``.

::

    line   = blanks [pair {blanks pair}] blanks       blanks: characters up to U+0020
    pair   = key | key "=" | key "=" value            a key alone is true; key= is empty text
    key    = one or more characters except blanks, '"' and "="
    value  = word | '"' {character | escape} '"'      a word has no blanks and does not begin with '"'
    escape = as in JSON; a backslash before anything else stands for itself

A line without any ``=``, with an open quote, or with something right after a closing quote does not
match. A repeated key keeps its first place and its last value.
"""

from __future__ import annotations

import re
from typing import Any, Literal

from logflow.component import Parse
from logflow.event import Record
from logflow.packing import to_text
from logflow.parsers.base import TypedConfig, TypedParser

_BLANK = r"[\x00-\x20]"
_PAIR = re.compile(
    rf"""{_BLANK}*([^\x00-\x20"=]+)(?:(=)(?:"([^"\\]*(?:\\.[^"\\]*)*)"|([^\x00-\x20"][^\x00-\x20]*)?))?(?={_BLANK}|\Z)""",
    re.DOTALL,
).match
_ONLY_BLANKS = re.compile(rf"{_BLANK}*").fullmatch
_ESCAPE = re.compile(
    r"\\(?:u([dD][89abAB][0-9a-fA-F]{2})\\u([dD][c-fC-F][0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|(.))", re.DOTALL
)
_SIMPLE = {'"': '"', "\\": "\\", "/": "/", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}


def parse_logfmt(text: str) -> Record | None:
    """Parse a line; ``None`` when it does not match."""
    record: Record = {}
    position, found = 0, False
    while match := _PAIR(text, position):
        key, equals, quoted, word = match.groups()
        found = found or bool(equals)
        if quoted is not None:
            record[key] = _ESCAPE.sub(_unescape, quoted) if "\\" in quoted else quoted
        else:
            record[key] = (word or "") if equals else True
        position = match.end()
    return record if found and _ONLY_BLANKS(text, position) else None


def _unescape(match: re.Match[str]) -> str:
    high, low, code, simple = match.groups()
    if high:
        return chr(0x10000 + ((int(high, 16) - 0xD800) << 10) + int(low, 16) - 0xDC00)
    if code:
        number = int(code, 16)
        return match[0] if 0xD800 <= number < 0xE000 else chr(number)
    return _SIMPLE.get(simple, match[0])


class LogfmtParser(TypedParser):
    """Keys and values become fields."""

    class Config(TypedConfig):
        """Options of the parser ``logfmt``."""

        type: Literal["logfmt"] = "logfmt"

    def parse(self, line: bytes) -> Parse | None:
        """Parse one line."""
        record = parse_logfmt(to_text(line))
        return None if record is None else self.finish(self.convert(record))

    def native(self) -> dict[str, Any]:
        """``{"type", "types", "time"}``."""
        return {"type": "logfmt", **self.native_typed()}
