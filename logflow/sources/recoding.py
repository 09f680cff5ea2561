"""Text in other encodings than UTF-8: brought to it by Python's codecs, a block at a time.

What is no text in its encoding becomes U+FFFD. A byte-order mark at the beginning is no text either.
"""

from __future__ import annotations

import codecs
from typing import Annotated

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


def keeps_newlines(encoding: str) -> bool:
    """Whether a newline is the byte that it is in ASCII, and that byte is nothing else."""
    return "\n".encode(encoding) == b"\n"


class Recoder:
    """Brings a stream to UTF-8; characters may be cut anywhere."""

    def __init__(self, encoding: str) -> None:
        self._decode = codecs.getincrementaldecoder(encoding)("replace").decode if encoding != UTF8 else None

    def feed(self, data: bytes, *, final: bool = False) -> bytes:
        """Return what is whole; ``final``: there is no more."""
        return self._decode(data, final).encode() if self._decode is not None else data


class RecodedLines:
    """A line parser of lines in another encoding, each of which begins anew."""

    def __init__(self, lines: LineParser, encoding: str, *, offsets: bool = False) -> None:
        """``offsets``: whether the parser adds those of lines; they are those of the bytes as they were."""
        self._lines = lines
        self._encoding = encoding
        self._offsets = offsets

    def parse(self, block: Buffer, carry: bytes, now_ns: int, offset: int = 0) -> Parsed:
        """Parse whole lines."""
        if not self._offsets:
            return self._lines.parse(self._recode(block), carry, now_ns, offset)
        results = []
        for line in bytes(block).split(b"\n")[:-1]:
            results.append(self._lines.parse(self._recode(line + b"\n"), carry, now_ns, offset))
            carry = results[-1].carry
            offset += len(line) + 1
        return together(results, carry)

    def _recode(self, block: Buffer) -> bytes:
        return str(block, self._encoding, "replace").encode()

    def flush(self, carry: bytes, now_ns: int) -> Parsed:
        """Make entries of what is open; its text was brought to UTF-8 before."""
        return self._lines.flush(carry, now_ns)
