r"""Where messages end in a stream: at newlines, or after as many bytes as they say (RFC 6587).

::

    frame = length " " message          octet counting: length in bytes, without leading zeros
          | message "\n"                what else there is

Each frame is told by how it begins, as senders mix them. Once lengths have been used, something that is
neither a length nor ``<`` means that one of them was wrong: then nobody knows where a message begins.
"""

from __future__ import annotations

import re

_LENGTH = re.compile(rb"([1-9][0-9]{0,9}) ")
_MAY_BE_LENGTH = re.compile(rb"[1-9][0-9]{0,9}")


class Framing:
    """Cuts a stream into messages; holds at most one that is not whole.

    Attributes:
        truncated: messages that were longer than allowed, and were cut.
        broken: whether a length was wrong, so that nothing more can be found.
    """

    def __init__(self, max_message: int, *, counted: bool) -> None:
        """``counted``: messages may begin with their length; otherwise each is a line."""
        self.truncated = 0
        self.broken = False
        self._limit = max_message
        self._rest = bytearray()
        self._wanted = 0
        """Bytes of the rest before which a message cannot be whole, unless a newline ends it."""
        self._counts_on = False
        self._may_count = counted
        self._counted = False
        self._skip = 0
        """Bytes of a counted message that are left out."""
        self._skip_line = False

    @property
    def kept(self) -> int:
        """Bytes of a message that is not whole, which are in memory."""
        return len(self._rest)

    @property
    def held(self) -> int:
        """Bytes of a message that is not whole, with those that are to be left out."""
        return len(self._rest) + self._skip + self._skip_line

    def feed(self, data: bytes) -> list[bytes]:
        """Take what has come; return the messages that it ends."""
        self._rest += data
        # Not looked into again and again: what comes byte by byte would cost its square.
        if len(self._rest) < self._wanted and (self._counts_on or b"\n" not in data):
            return []
        data, at = bytes(self._rest), 0
        self._wanted = 0
        found: list[bytes] = []
        while at < len(data) and not self.broken:
            if self._skip or self._skip_line:
                at = self._leave_out(data, at)
                continue
            end = self._frame(data, at, found)
            if end is None:
                break
            at = end
        self._rest = bytearray(data[at:])
        return found

    def rest(self) -> bytes:
        """Return what came of a message that will not come whole."""
        rest, self._rest = bytes(self._rest), bytearray()
        return rest

    def _leave_out(self, data: bytes, at: int) -> int:
        if self._skip:
            size = min(self._skip, len(data) - at)
            self._skip -= size
            return at + size
        newline = data.find(b"\n", at)
        self._skip_line = newline < 0
        return len(data) if newline < 0 else newline + 1

    def _frame(self, data: bytes, at: int, found: list[bytes]) -> int | None:
        """Take one frame; returns where the next one begins, or ``None`` if it is not whole."""
        if not self._may_count:
            return self._take_line(data, at, found)
        if match := _LENGTH.match(data, at):
            return self._take_counted(data, at, match.end(), int(match[1]), found)
        if (match := _MAY_BE_LENGTH.match(data, at)) and match.end() == len(data):
            return None
        if self._counted and data[at] != ord("<"):
            if data[at] in b"\r\n":
                return at + 1
            self.broken = True
            return None
        return self._take_line(data, at, found)

    def _take_counted(self, data: bytes, at: int, start: int, size: int, found: list[bytes]) -> int | None:
        self._counted = True
        kept = min(size, self._limit)
        if len(data) - start < kept:
            self._wanted, self._counts_on = start - at + kept, True
            return None
        found.append(data[start : start + kept])
        self.truncated += kept < size
        self._skip = size - kept
        return start + kept

    def _take_line(self, data: bytes, at: int, found: list[bytes]) -> int | None:
        newline = data.find(b"\n", at)
        if newline < 0 and len(data) - at <= self._limit:
            self._wanted, self._counts_on = self._limit + 1, False
            return None
        end = len(data) if newline < 0 else newline
        self.truncated += end - at > self._limit
        self._skip_line = newline < 0
        if end > at:
            found.append(data[at : min(end, at + self._limit)])
        return end + (newline >= 0)
