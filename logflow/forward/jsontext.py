"""Requests in JSON, as Go's ``fluent-logger`` sends them with ``MarshalAsJSON``, made into packed ones.

::

    ["tag", time, {record}, {"chunk": id}?] ...  ──►  the same in msgpack        {"ack": id} goes back in JSON

A connection speaks JSON if its first byte is ``[`` or ``{``; Fluentd tells it by that, too.
"""

from __future__ import annotations

import json
import re

import msgpack

from logflow.errors import LimitExceeded, MalformedData
from logflow.packing import pack_value

FIRST_BYTES = frozenset(b"[{")
_MOST_CHARACTERS = 1 << 20
"""Longest request: as objects it takes many times as much, for a moment."""

_BLANKS = re.compile(r"\s*")
_decoder = json.JSONDecoder(strict=False)


class JsonRequests:
    """Gathers the requests of one connection."""

    def __init__(self) -> None:
        self._text = ""
        self._rest = b""

    def feed(self, data: bytes) -> bytes:
        """Take what was received; returns the requests that it completes, packed.

        Raises:
            MalformedData: it is no JSON, or no array.
            LimitExceeded: a request is too long.
        """
        data, self._rest = self._rest + data, b""
        if cut := _unfinished(data):
            data, self._rest = data[:-cut], data[-cut:]
        self._text += data.decode("utf-8", "backslashreplace")
        packed: list[bytes] = []
        at = 0
        # Only the bracket that closes it can complete a request.
        while self._text.find("]", at) >= 0:
            blanks = _BLANKS.match(self._text, at)
            assert blanks is not None
            try:
                request, at = _decoder.raw_decode(self._text, blanks.end())
            except json.JSONDecodeError:
                break
            except (RecursionError, ValueError):  # the digits of a number are bounded, too
                raise LimitExceeded("a request in JSON nests too deep, or has too long a number") from None
            if not isinstance(request, list):
                raise MalformedData("this is JSON, but no request of the Forward Protocol: not an array")
            packed.append(pack_value(request))
        self._text = self._text[at:].lstrip()
        if self._text and self._text[0] != "[":
            raise MalformedData("this is JSON, but no request of the Forward Protocol: not an array")
        if len(self._text) > _MOST_CHARACTERS:
            raise LimitExceeded(f"a request in JSON is longer than {_MOST_CHARACTERS:,} characters")
        return b"".join(packed)


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
