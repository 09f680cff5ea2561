"""Requests in JSON, as Go's ``fluent-logger`` sends them with ``MarshalAsJSON``, made into packed ones.

::

    ["tag", time, {record}, {"chunk": id}?] ...  ──►  the same in msgpack        {"ack": id} goes back in JSON

A connection speaks JSON if its first byte is ``[`` or ``{``; Fluentd tells it by that, too.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

import msgpack

from logflow.errors import LimitExceeded, MalformedData
from logflow.packing import pack_value

FIRST_BYTES = frozenset(b"[{")
_MOST_CHARACTERS = 1 << 20
"""Longest request: as objects it takes many times as much, for a moment."""

_MOST_PIECES = 1000
_MOST_OPEN = 200
"""Brackets that may be open at once: more than any request has."""

_BRACKET = re.compile(r'["\[\]]')
_QUOTE = re.compile(r'["\\]')
_decoder = json.JSONDecoder(strict=False)


class JsonRequests:
    """Gathers the requests of one connection.

    What has come is looked at once, to find the bracket that closes a request; only then it is decoded. So
    the work stays in proportion to the bytes, however they arrive.
    """

    def __init__(self) -> None:
        self._pieces: list[str] = []
        self._size = 0
        self._rest = b""
        self._open = 0
        self._quoted = self._escaped = False

    def feed(self, data: bytes) -> bytes:
        """Take what was received; returns the requests that it completes, packed.

        Raises:
            MalformedData: it is no JSON, or no array.
            LimitExceeded: a request is too long.
        """
        data, self._rest = self._rest + data, b""
        if cut := _unfinished(data):
            data, self._rest = data[:-cut], data[-cut:]
        text = data.decode("utf-8", "backslashreplace")
        packed: list[bytes] = []
        at = 0
        for end in self._ends(text):
            self._keep(text[at:end])
            packed.append(_packed("".join(self._pieces)))
            self._pieces, self._size, at = [], 0, end
        self._keep(text[at:])
        return b"".join(packed)

    def _keep(self, text: str) -> None:
        """Keep a piece of a request."""
        if not self._pieces:
            text = text.lstrip()
            if text and text[0] != "[":
                raise MalformedData("this is JSON, but not a request of the Forward Protocol: not an array")
        if text:
            self._pieces.append(text)
            self._size += len(text)
        if self._size > _MOST_CHARACTERS:
            raise LimitExceeded(f"a request in JSON is longer than {_MOST_CHARACTERS:,} characters")
        if len(self._pieces) > _MOST_PIECES:
            self._pieces = ["".join(self._pieces)]

    def _ends(self, text: str) -> Iterator[int]:
        """Find the ends of requests in what came, which goes on where the text before it ended."""
        at = int(self._escaped and bool(text))
        self._escaped = self._escaped and not text
        while (found := (_QUOTE if self._quoted else _BRACKET).search(text, at)) is not None:
            at = found.end()
            match found.group():
                case '"':
                    self._quoted = not self._quoted
                case "[":
                    self._open += 1
                    if self._open > _MOST_OPEN:
                        raise LimitExceeded("a request in JSON nests too deep")
                case "]":
                    self._open = max(self._open - 1, 0)
                    if not self._open:
                        yield at
                case _:  # a backslash, and what it stands before
                    self._escaped = at == len(text)
                    at += 1


def _packed(text: str) -> bytes:
    """Pack a whole request."""
    try:
        request, end = _decoder.raw_decode(text)
    except json.JSONDecodeError as error:
        raise MalformedData(f"this is not JSON: {error.msg}") from None
    except (RecursionError, ValueError):  # the digits of a number are bounded, too
        raise LimitExceeded("a request in JSON nests too deep, or has too long a number") from None
    if not isinstance(request, list) or end != len(text):
        raise MalformedData("this is JSON, but not a request of the Forward Protocol: not an array")
    return pack_value(request)


def json_ack(chunk: bytes) -> bytes:
    """Build the answer to a request whose option had the (packed) chunk id ``chunk``."""
    value = msgpack.unpackb(chunk, unicode_errors="backslashreplace")
    return json.dumps({"ack": value}).encode()


def _unfinished(data: bytes) -> int:
    """How many bytes at the end begin a character that is not whole."""
    for back in range(1, min(4, len(data) + 1)):
        byte = data[-back]
        if byte >= 0xC0:
            size = 2 if byte < 0xE0 else 3 if byte < 0xF0 else 4
            return back if back < size else 0
        if byte < 0x80:
            return 0
    return 0
