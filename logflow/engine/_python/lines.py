r"""Blocks of container lines to packed entries.

::

    block --split at \n--> lines --container format, joins--> messages --parser--> records --> entries
                             └──── where they are alike: see fast.py ───────────────────────┘
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from io import BytesIO
from typing import Any, TypeAlias

import msgspec
from typing_extensions import Buffer

from logflow.component import Parse, Parser
from logflow.engine._python.fast import LOT, FastLines, FastPlain, Packed, Texts
from logflow.engine._python.fast_cri import FastCri
from logflow.engine._python.fast_docker import FastDocker
from logflow.engine._python.multiline import OPEN_MARK, Held, Joiner, Open, Sink, close
from logflow.engine._python.walk import Short, skip
from logflow.engine.api import LineFormat, Parsed
from logflow.errors import MalformedData
from logflow.event import Record
from logflow.jsontext import MAX_DEPTH
from logflow.multiline import Multiline
from logflow.packing import pack_entries, pack_value, to_text
from logflow.parsers.cri import CriLine, split_cri
from logflow.parsers.docker import DockerLine, split_docker
from logflow.parsers.json import JsonParser
from logflow.parsers.raw import RawParser

_encode = msgspec.msgpack.Encoder(order="sorted").encode
_Joins: TypeAlias = dict[str, tuple[int, bytes, bool]]
"""Open joins by stream: time of the first piece, text so far, whether some of it was left out."""
_decode_carry = msgspec.msgpack.Decoder(dict[str, list[Any]], strict=True).decode
_FEW = 32
"""Lines that are tried together after a lot of them turned out to be unlike."""
_STREAM: dict[str, Record] = {"stdout": {"stream": "stdout"}, "stderr": {"stream": "stderr"}}


@dataclass(slots=True)
class _Messages:
    """What lines hold, column by column."""

    times: list[int] = field(default_factory=list)
    texts: list[bytes] = field(default_factory=list)
    extras: list[Record] = field(default_factory=list)
    """Fields to add to each record, in order."""
    malformed: set[int] = field(default_factory=set)
    """Which of them the message parser is not to see."""
    truncated: int = 0

    def add(self, time_ns: int, text: bytes, extra: Record, max_line: int, *, cut: bool = False) -> None:
        """Take a finished message and cut it at ``max_line``."""
        if cut or len(text) > max_line:
            text = _whole_characters(text[:max_line])
            extra = {**extra, "truncated": True}
            self.truncated += 1
        self.times.append(time_ns)
        self.texts.append(text)
        self.extras.append(extra)


@dataclass(slots=True)
class _Counts:
    """What :class:`logflow.engine.api.Parsed` counts."""

    lines: int = 0
    events: int = 0
    unparsed: int = 0
    malformed: int = 0
    truncated: int = 0


@dataclass(slots=True)
class _State:
    """What is open between blocks."""

    joins: _Joins = field(default_factory=dict)
    opens: dict[str, Open] = field(default_factory=dict)


class PythonLineParser:
    """See :class:`logflow.engine.api.LineParser`."""

    def __init__(
        self,
        line_format: LineFormat,
        parser: Parser,
        *,
        max_line: int,
        stream: str | None,
        message_key: str,
        multiline: Multiline | None = None,
    ) -> None:
        self._parser = parser
        self._max_line = max_line
        self._stream = stream
        self._extra: Record = {} if stream is None else {"stream": stream}
        self._message_key = message_key
        self._split: Callable[[bytes], CriLine | DockerLine | None] | None
        self._split = {"cri": split_cri, "docker": split_docker, "plain": None}[line_format]
        self._joiner = (
            None if multiline is None else Joiner(multiline, max_line, timed=line_format != "plain")
        )
        self._fast = _fast_path(line_format, parser, max_line, stream, message_key)

    def parse(self, block: Buffer, carry: bytes, now_ns: int) -> Parsed:
        """Parse the whole lines of ``block``."""
        data = bytes(block)
        consumed = data.rfind(b"\n") + 1
        if not consumed:
            return Parsed(b"", 0, 0, carry, 0, 0, 0, 0)
        state = _load(carry)
        counts = _Counts()
        entries = self._without_joiner(state, counts)
        entries += b"".join(self._pack_lots(data[:consumed], state, now_ns, counts))
        return Parsed(
            entries, counts.events, consumed, _dump(state), counts.lines,
            counts.unparsed, counts.malformed, counts.truncated,
        )  # fmt: skip

    def flush(self, carry: bytes, now_ns: int) -> Parsed:  # noqa: ARG002 - a join has the time of its first piece
        """Make entries of the open joins."""
        messages, counts, state = _Messages(), _Counts(), _load(carry)
        for stream, (time_ns, text, cut) in sorted(state.joins.items()):
            self._take(
                messages, state, stream, Held(time_ns, text, cut), _STREAM.get(stream, {"stream": stream})
            )
        self._close_all(messages, state)
        entries = self._pack(messages, counts)
        return Parsed(entries, counts.events, 0, b"", 0, counts.unparsed, 0, counts.truncated)

    def _without_joiner(self, state: _State, counts: _Counts) -> bytes:
        """Finish what an earlier configuration left open, if events are not joined any more."""
        if self._joiner is not None or not state.opens:
            return b""
        messages = _Messages()
        self._close_all(messages, state)
        return self._pack(messages, counts)

    def _close_all(self, messages: _Messages, state: _State) -> None:
        sink = self._sink(messages)
        for key in sorted(state.opens):
            close(state.opens, key, sink)

    def _take(self, messages: _Messages, state: _State, stream: str, line: Held, extra: Record) -> None:
        """Take a message out of the container format: an event, or a line of one."""
        if self._joiner is None:
            messages.add(line.time_ns, line.text, extra, self._max_line, cut=line.cut)
            return
        if line.cut or len(line.text) > self._max_line:
            line = Held(line.time_ns, _whole_characters(line.text[: self._max_line]), cut=True)
        self._joiner.add(state.opens, stream + OPEN_MARK, line, extra, self._sink(messages))

    def _sink(self, messages: _Messages) -> Sink:
        def sink(time_ns: int, text: bytes, extra: Record, cut: bool) -> None:
            messages.add(time_ns, text, extra, self._max_line, cut=cut)

        return sink

    def _pack_lots(self, block: bytes, state: _State, now_ns: int, counts: _Counts) -> Iterator[bytes]:
        """Pack the lines, some at a time, the fast way where that is possible."""
        stream = BytesIO(block)
        while lot := stream.readlines(LOT):
            counts.lines += len(lot)
            packed = self._pack_alike(lot, state, now_ns, counts)
            if packed is not None:
                yield packed
                continue
            # One line that is unlike the others should not cost all of them the fast way.
            step = _FEW if self._fast is not None else len(lot)
            for start in range(0, len(lot), step):
                few = lot[start : start + step]
                packed = self._pack_alike(few, state, now_ns, counts)
                yield self._pack_exactly(few, state, now_ns, counts) if packed is None else packed

    def _pack_alike(self, lines: list[bytes], state: _State, now_ns: int, counts: _Counts) -> bytes | None:
        """Pack lines the fast way; ``None`` when they must go the exact way."""
        if self._fast is None or state.opens:
            return None
        packed = self._fast.pack(lines, state.joins, now_ns)
        if packed is None or not self._stand_alone(lines, packed):
            return None
        counts.events += len(lines)
        counts.unparsed += packed.unparsed
        return packed.entries

    def _stand_alone(self, lines: list[bytes], packed: Packed) -> bool:
        """Whether none of the lines can begin an event."""
        if self._joiner is None:
            return True
        if self._joiner.spares_json and type(self._parser) is JsonParser and not packed.unparsed:
            return True
        return self._joiner.is_idle(lines)

    def _pack_exactly(self, lines: list[bytes], state: _State, now_ns: int, counts: _Counts) -> bytes:
        messages = _Messages()
        if self._split is None:
            stream = self._stream or ""
            for line in lines:
                self._take(
                    messages, state, stream, Held(now_ns, _without_newline(line), cut=False), self._extra
                )
        else:
            self._join(self._split, messages, lines, state, now_ns)
        return self._pack(messages, counts)

    def _join(
        self, split: Callable[[bytes], CriLine | DockerLine | None],
        messages: _Messages, lines: list[bytes], state: _State, now_ns: int,
    ) -> None:  # fmt: skip
        """Take the lines out of their container format; ``state`` is brought up to date."""
        max_line, joins = self._max_line, state.joins
        for line in lines:
            found = split(line[:-1])
            if found is None:
                messages.malformed.add(len(messages.texts))
                messages.add(now_ns, _without_newline(line), {}, max_line)
                continue
            time_ns, stream, partial, text = found[:4]
            cut = False
            if stream in joins:
                time_ns, before, cut = joins.pop(stream)
                text = before if cut else before + text
            if partial:
                joins[stream] = time_ns, text[:max_line], cut or len(text) > max_line
            else:
                extra = _STREAM[stream]
                if isinstance(found, DockerLine) and found.extra:
                    extra = {**found.extra, **extra}
                self._take(messages, state, stream, Held(time_ns, text, cut), extra)

    def _pack(self, messages: _Messages, counts: _Counts) -> bytes:
        """Parse the messages and pack the records."""
        times, records = messages.times, []
        unparsed = 0
        for index, result in enumerate(self._parse(messages)):
            if result is None:
                record: Record = {self._message_key: to_text(messages.texts[index])}
                unparsed += 1
            else:
                found, record = result
                if found is not None:
                    times[index] = found
            for key, value in messages.extras[index].items():
                record.setdefault(key, value)
            records.append(record)
        counts.events += len(records)
        counts.unparsed += unparsed - len(messages.malformed)
        counts.malformed += len(messages.malformed)
        counts.truncated += messages.truncated
        return pack_entries(times, records)

    def _parse(self, messages: _Messages) -> list[Parse | None]:
        """Ask the message parser about all messages but the malformed."""
        malformed = messages.malformed
        if not malformed:
            return self._ask(messages.texts)
        good = [text for index, text in enumerate(messages.texts) if index not in malformed]
        results = iter(self._ask(good))
        return [None if index in malformed else next(results) for index in range(len(messages.texts))]

    def _ask(self, texts: list[bytes]) -> list[Parse | None]:
        """Ask the message parser; texts for which a plugin raises, as it must not, do not match."""
        try:
            return self._parser.parse_many(texts)
        except Exception:
            return [self._ask_for_one(text) for text in texts]

    def _ask_for_one(self, text: bytes) -> Parse | None:
        try:
            return self._parser.parse(text)
        except Exception:
            return None


def _fast_path(
    line_format: LineFormat, parser: Parser, max_line: int, stream: str | None, message_key: str
) -> FastLines | None:
    """Return the fast path for messages that are JSON objects without a time, or are not parsed."""
    if type(parser) is JsonParser and parser.config.time_key is None:
        texts = Texts(message_key, unless_json=True)
    elif type(parser) is RawParser:
        texts = Texts(parser.config.key, unless_json=False)
    else:
        return None
    if line_format == "docker":
        return FastDocker(max_line) if texts.unless_json else None
    return FastCri(texts, max_line) if line_format == "cri" else FastPlain(texts, max_line, stream)


def _without_newline(line: bytes) -> bytes:
    return line[:-1].removesuffix(b"\r")


def _load(carry: bytes) -> _State:
    if not carry:
        return _State()
    state = _State()
    try:
        for key, value in _decode_carry(carry).items():
            if len(value) == 3:
                _check_types(value, (int, bytes, bool))
                state.joins[key] = value[0], value[1], value[2]
            else:
                state.opens[key] = _load_open(key, value)
    except (msgspec.MsgspecError, UnicodeDecodeError, MalformedData, RecursionError) as error:
        raise MalformedData(f"the state of open partial lines is damaged: {error}") from error
    return state


def _load_open(key: str, value: list[Any]) -> Open:
    _check_types(value, (int, int, bytes, bool, int, int, bytes, list))
    time_ns, last_ns, text, cut, number, lines, attrs, held = value
    if not key.endswith(OPEN_MARK) or not (0 <= number < 1 << 32 and 0 <= lines < 1 << 32):
        raise MalformedData("an open event is none")
    try:
        whole = not attrs or skip(attrs, 0, MAX_DEPTH - 1) == len(attrs)
    except Short:
        whole = False
    if not whole:
        raise MalformedData("the attributes of an open event are no value")
    for line in held:
        _check_types(line, (int, bytes, bool))
    stream = key.removesuffix(OPEN_MARK)
    extra: Record = {"attrs": msgspec.Raw(attrs)} if attrs else {}
    if stream:
        extra["stream"] = stream
    return Open(time_ns, last_ns, text, cut, number, extra, lines, [Held(*line) for line in held])


def _check_types(values: Any, types: tuple[type, ...]) -> None:
    if not isinstance(values, list) or [type(value) for value in values] != list(types):
        raise MalformedData("it is of other types")


def _dump(state: _State) -> bytes:
    carry: dict[str, Any] = dict(state.joins)
    for key, event in state.opens.items():
        attrs = pack_value(event.extra["attrs"], 2) if "attrs" in event.extra else b""
        held = [(line.time_ns, line.text, line.cut) for line in event.held]
        carry[key] = (
            event.time_ns, event.last_ns, event.text, event.cut, event.state, event.lines, attrs, held,
        )  # fmt: skip
    return _encode(carry) if carry else b""


def _whole_characters(text: bytes) -> bytes:
    """Drop a UTF-8 character at the end that was cut in its middle.

    What stands before may be such a beginning too, where a text is not UTF-8; cutting twice is cutting once.
    """
    while (end := _cut_character(text)) is not None:
        text = text[:end]
    return text


def _cut_character(text: bytes) -> int | None:
    """Return where the character begins that a text ends in the middle of, if it does."""
    for back in range(1, min(4, len(text) + 1)):
        byte = text[-back]
        if byte >= 0xC0:
            length = 2 if byte < 0xE0 else 3 if byte < 0xF0 else 4
            return len(text) - back if back < length else None
        if byte < 0x80:
            break
    return None
