"""Text in other encodings than UTF-8: brought to it by Python's codecs, a block at a time.

What is no text in its encoding becomes U+FFFD. A byte-order mark at the beginning is no text either.
"""

from __future__ import annotations

import codecs
from codecs import BOM_UTF8, BOM_UTF16_BE, BOM_UTF16_LE
from typing import Annotated, NamedTuple

from pydantic import AfterValidator
from typing_extensions import Buffer

from logflow.engine.api import LineParser, Parsed
from logflow.sources.parsed import together

UTF8 = "utf-8"


def _check(name: str) -> str:
    """Return the name under which Python knows an encoding.

    Raises:
        ValueError: it knows none, or one that does not decode bytes to text.
    """
    try:
        "".encode(name)
        codecs.getincrementaldecoder(name)
    except LookupError as error:
        raise ValueError(f"{name!r} is not a text encoding that Python knows") from error
    return codecs.lookup(name).name


Encoding = Annotated[str, AfterValidator(_check)]
"""The name of an encoding, as it stands in a configuration."""


_UTF16 = {"utf-16": "utf-16-le", "utf-16-le": "utf-16-le", "utf-16-be": "utf-16-be"}
"""What an encoding of two bytes a unit is taken for where no byte-order mark tells."""


class Units(NamedTuple):
    """What a file's bytes are made of, as far as finding lines goes: bytes, or the units of UTF-16.

    Data are whole units from their first byte on. At their end there may be a half one, which is in no line.
    """

    encoding: str
    width: int
    newline: bytes
    bom: bytes

    def after_last(self, data: bytes, first: int = 0) -> int:
        """Where the last line ends of those that end behind ``first``; 0 if none does."""
        if self.width == 1:
            return data.rfind(self.newline, first) + 1
        text = self._text(data[first:])
        end = text.rfind("\n") + 1
        return first + len(self._bytes(text[:end])) if end else 0

    def after_next(self, data: bytes) -> int:
        """Where the first line ends; 0 if none does."""
        if self.width == 1:
            return data.find(self.newline) + 1
        text = self._text(data)
        return len(self._bytes(text[: text.find("\n") + 1]))

    def lines(self, data: bytes) -> list[bytes]:
        """Whole lines, without their newlines."""
        if self.width == 1:
            return data.split(self.newline)[:-1]
        return [self._bytes(line) for line in self._text(data).split("\n")[:-1]]

    def whole(self, size: int) -> int:
        """The bytes of the whole units among so many."""
        return size - size % self.width

    def without_nuls(self, data: bytes) -> bytes:
        """Leave out the NULs at the end, and half a unit."""
        size = len(data.rstrip(b"\0"))
        return data[: self.whole(min(size + size % self.width, len(data)))]

    def nuls(self, data: bytes) -> int:
        """How many bytes of NULs there are at the beginning, in whole units."""
        return self.whole(len(data) - len(data.lstrip(b"\0")))

    def readable(self, data: bytes) -> bytes:
        """Make text of a beginning, so that formats can be told: only ASCII need be right."""
        return data if self.width == 1 else self._text(data).encode(errors="replace")

    def _text(self, data: bytes) -> str:
        return data[: self.whole(len(data))].decode(self.encoding, "surrogatepass")

    def _bytes(self, text: str) -> bytes:
        return text.encode(self.encoding, "surrogatepass")


def units_of(encoding: str, head: bytes) -> Units:
    """Tell what a file in an encoding is made of; ``head`` is its first two bytes or less."""
    if encoding not in _UTF16:
        return Units(encoding, 1, b"\n", BOM_UTF8)
    name = _UTF16[encoding]
    if encoding == "utf-16" and head.startswith(BOM_UTF16_BE):
        name = "utf-16-be"
    return Units(name, 2, "\n".encode(name), BOM_UTF16_BE if name == "utf-16-be" else BOM_UTF16_LE)


def can_be_followed(encoding: str) -> bool:
    """Whether lines can be found in a file that grows: its newline is that of ASCII, or it is UTF-16."""
    return encoding in _UTF16 or "\n".encode(encoding) == b"\n"


class Recoder:
    """Brings a stream to UTF-8; characters may be cut anywhere."""

    def __init__(self, encoding: str) -> None:
        self._decode = codecs.getincrementaldecoder(encoding)("replace").decode if encoding != UTF8 else None

    def feed(self, data: bytes, *, final: bool = False) -> bytes:
        """Return what is whole; ``final``: there is no more."""
        return self._decode(data, final).encode() if self._decode is not None else data


class RecodedLines:
    """A line parser of lines in another encoding, each of which begins anew."""

    def __init__(self, lines: LineParser, units: Units, *, offsets: bool = False) -> None:
        """``offsets``: whether the parser adds those of lines; they are those of the bytes as they were."""
        self._lines = lines
        self._units = units
        self._offsets = offsets

    def parse(self, block: Buffer, carry: bytes, now_ns: int, offset: int = 0) -> Parsed:
        """Parse whole lines."""
        if not self._offsets:
            return self._lines.parse(self._recode(block), carry, now_ns, offset)
        results = []
        newline = self._units.newline
        for line in self._units.lines(bytes(block)):
            results.append(self._lines.parse(self._recode(line + newline), carry, now_ns, offset))
            carry = results[-1].carry
            offset += len(line) + len(newline)
        return together(results, carry)

    def _recode(self, block: Buffer) -> bytes:
        return str(block, self._units.encoding, "replace").encode()

    def flush(self, carry: bytes, now_ns: int) -> Parsed:
        """Make entries of what is open; its text was brought to UTF-8 before."""
        return self._lines.flush(carry, now_ns)
