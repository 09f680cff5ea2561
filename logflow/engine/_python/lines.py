r"""Blocks of container lines to packed entries.

::

    block --split at \\n--> lines --container format, joins--> messages --parser--> records --> entries
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import msgspec
from typing_extensions import Buffer

from logflow.component import Parse, Parser
from logflow.engine.api import LineFormat, Parsed
from logflow.errors import MalformedData
from logflow.event import Record
from logflow.packing import pack_entries, to_text
from logflow.parsers.cri import CriLine, split_cri
from logflow.parsers.docker import DockerLine, split_docker

_encode = msgspec.msgpack.Encoder(order="sorted").encode
_decode_carry = msgspec.msgpack.Decoder(dict[str, tuple[int, bytes, bool]]).decode


@dataclass(slots=True)
class _Messages:
    """What the lines of a block hold, column by column."""

    times: list[int] = field(default_factory=list)
    texts: list[bytes] = field(default_factory=list)
    extras: list[Record] = field(default_factory=list)
    """Fields to add to each record, in order."""
    malformed: set[int] = field(default_factory=set)
    """Which of them the message parser is not to see."""
    truncated: int = 0


class PythonLineParser:
    """See :class:`logflow.engine.api.LineParser`."""

    def __init__(
        self, line_format: LineFormat, parser: Parser, max_line: int, stream: str | None, message_key: str
    ) -> None:
        self._parser = parser
        self._max_line = max_line
        self._extra: Record = {} if stream is None else {"stream": stream}
        self._message_key = message_key
        self._split: Callable[[bytes], CriLine | DockerLine | None] | None
        self._split = {"cri": split_cri, "docker": split_docker, "plain": None}[line_format]

    def parse(self, block: Buffer, carry: bytes, now_ns: int) -> Parsed:
        """Parse the whole lines of ``block``."""
        data = bytes(block)
        consumed = data.rfind(b"\n") + 1
        if not consumed:
            return Parsed(b"", 0, 0, carry, 0, 0, 0, 0)
        lines = data[: consumed - 1].split(b"\n")
        messages = _Messages()
        if self._split is None:
            for line in lines:
                self._add(messages, now_ns, line.removesuffix(b"\r"), self._extra)
        else:
            carry = self._join(messages, lines, carry, now_ns)
        return self._pack(messages, consumed, carry, len(lines))

    def flush(self, carry: bytes, now_ns: int) -> Parsed:  # noqa: ARG002 - a join has the time of its first piece
        """Make entries of the open joins."""
        messages = _Messages()
        for stream, (time_ns, text, cut) in _load(carry).items():
            self._add(messages, time_ns, text, {"stream": stream}, cut=cut)
        return self._pack(messages, 0, b"", 0)

    def _join(self, messages: _Messages, lines: list[bytes], carry: bytes, now_ns: int) -> bytes:
        """Take the lines out of their container format; return the open joins."""
        joins = _load(carry)
        split = self._split
        assert split is not None
        for line in lines:
            found = split(line)
            if found is None:
                messages.malformed.add(len(messages.texts))
                self._add(messages, now_ns, line.removesuffix(b"\r"), {})
                continue
            time_ns, stream, partial, text = found[:4]
            cut = False
            if stream in joins:
                time_ns, before, cut = joins.pop(stream)
                text = before if cut else before + text
            if partial:
                joins[stream] = (time_ns, text[: self._max_line], cut or len(text) > self._max_line)
            else:
                extra = (
                    {**found.extra, "stream": stream} if isinstance(found, DockerLine) else {"stream": stream}
                )
                self._add(messages, time_ns, text, extra, cut=cut)
        return _encode(joins) if joins else b""

    def _add(
        self, messages: _Messages, time_ns: int, text: bytes, extra: Record, *, cut: bool = False
    ) -> None:
        """Take a finished message, cut at ``max_line``."""
        if cut or len(text) > self._max_line:
            text = _whole_characters(text[: self._max_line])
            extra = {**extra, "truncated": True}
            messages.truncated += 1
        messages.times.append(time_ns)
        messages.texts.append(text)
        messages.extras.append(extra)

    def _pack(self, messages: _Messages, consumed: int, carry: bytes, lines: int) -> Parsed:
        """Parse the messages and pack the records."""
        parsed = self._parse_messages(messages)
        unparsed = 0
        times, records = messages.times, []
        for index, (result, extra) in enumerate(zip(parsed, messages.extras, strict=True)):
            if result is None:
                record: Record = {self._message_key: to_text(messages.texts[index])}
                unparsed += 1
            else:
                found, record = result
                if found is not None:
                    times[index] = found
            for key, value in extra.items():
                record.setdefault(key, value)
            records.append(record)
        entries = pack_entries(times, records)
        malformed = len(messages.malformed)
        return Parsed(
            entries, len(records), consumed, carry, lines, unparsed - malformed, malformed, messages.truncated
        )

    def _parse_messages(self, messages: _Messages) -> list[Parse | None]:
        if not messages.malformed:
            return self._ask_parser(messages.texts)
        good = (text for index, text in enumerate(messages.texts) if index not in messages.malformed)
        results = iter(self._ask_parser(list(good)))
        return [
            None if index in messages.malformed else next(results) for index in range(len(messages.texts))
        ]

    def _ask_parser(self, texts: list[bytes]) -> list[Parse | None]:
        return self._parser.parse_many(texts) if texts else []


def _load(carry: bytes) -> dict[str, tuple[int, bytes, bool]]:
    try:
        return _decode_carry(carry) if carry else {}
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise MalformedData(f"the state of open partial lines is damaged: {error}") from error


def _whole_characters(text: bytes) -> bytes:
    """Drop a UTF-8 character at the end that was cut in its middle."""
    for back in range(1, min(4, len(text) + 1)):
        byte = text[-back]
        if byte >= 0xC0:
            length = 2 if byte < 0xE0 else 3 if byte < 0xF0 else 4
            return text[:-back] if back < length else text
        if byte < 0x80:
            break
    return text
