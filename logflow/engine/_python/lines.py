r"""Blocks of container lines to packed entries.

::

    block --split at \n--> lines --container format, joins--> messages --parser--> records --> entries
                             └──── where they are alike: see fast.py ───────────────────────┘
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
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
_Joins: TypeAlias = dict[str, Held]
"""Open joins by stream: time and place of the first piece, text so far, whether some of it was left out."""
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
    offset_key: str | None = None

    def add(self, message: Held, extra: Record, max_line: int) -> None:
        """Take a finished message and cut it at ``max_line``."""
        text = message.text
        if message.cut or len(text) > max_line:
            text = _whole_characters(text[:max_line])
            extra = {**extra, "truncated": True}
            self.truncated += 1
        if self.offset_key is not None and message.at is not None:
            extra = {**extra, self.offset_key: extra.get(self.offset_key, message.at)}
        self.times.append(message.time_ns)
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
    at: int | None = None
    """Offset of the next line, where that is wanted."""


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
        offset_key: str | None = None,
    ) -> None:
        self._parser = parser
        self._offset_key = offset_key
        self._max_line = max_line
        self._stream = stream
        self._extra: Record = {} if stream is None else {"stream": stream}
        self._message_key = message_key
        self._split: Callable[[bytes], CriLine | DockerLine | None] | None
        self._split = {"cri": split_cri, "docker": split_docker, "plain": None}[line_format]
        self._joiner = (
            None if multiline is None else Joiner(multiline, max_line, timed=line_format != "plain")
        )
        # Lines that differ in their offsets are not alike.
        plain = offset_key is None
        self._fast = _fast_path(line_format, parser, max_line, stream, message_key) if plain else None

    def parse(self, block: Buffer, carry: bytes, now_ns: int, offset: int = 0) -> Parsed:
        """Parse the whole lines of ``block``."""
        data = bytes(block)
        consumed = data.rfind(b"\n") + 1
        if not consumed:
            return Parsed(b"", 0, 0, carry, 0, 0, 0, 0)
        state = _load(carry)
        state.at = None if self._offset_key is None else offset
        counts = _Counts()
        entries = self._without_joiner(state, counts)
        entries += b"".join(self._pack_lots(data[:consumed], state, now_ns, counts))
        return Parsed(
            entries, counts.events, consumed, _dump(state), counts.lines,
            counts.unparsed, counts.malformed, counts.truncated,
        )  # fmt: skip

    def flush(self, carry: bytes, now_ns: int) -> Parsed:  # noqa: ARG002 - a join has the time of its first piece
        """Make entries of the open joins."""
        messages, counts, state = self._messages(), _Counts(), _load(carry)
        for stream in sorted(state.joins):
            self._take(messages, state, stream, state.joins[stream], _STREAM.get(stream, {"stream": stream}))
        self._close_all(messages, state)
        entries = self._pack(messages, counts)
        return Parsed(entries, counts.events, 0, b"", 0, counts.unparsed, 0, counts.truncated)

    def _without_joiner(self, state: _State, counts: _Counts) -> bytes:
        """Finish what an earlier configuration left open, if events are not joined any more."""
        if self._joiner is not None or not state.opens:
            return b""
        messages = self._messages()
        self._close_all(messages, state)
        return self._pack(messages, counts)

    def _messages(self) -> _Messages:
        return _Messages(offset_key=self._offset_key)

    def _close_all(self, messages: _Messages, state: _State) -> None:
        sink = self._sink(messages)
        for key in sorted(state.opens):
            close(state.opens, key, sink)

    def _take(self, messages: _Messages, state: _State, stream: str, line: Held, extra: Record) -> None:
        """Take a message out of the container format: an event, or a line of one."""
        if self._joiner is None:
            messages.add(line, extra, self._max_line)
            return
        if line.cut or len(line.text) > self._max_line:
            line = replace(line, text=_whole_characters(line.text[: self._max_line]), cut=True)
        self._joiner.add(state.opens, stream + OPEN_MARK, line, extra, self._sink(messages))

    def _sink(self, messages: _Messages) -> Sink:
        def sink(message: Held, extra: Record) -> None:
            messages.add(message, extra, self._max_line)

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
        messages = self._messages()
        if self._split is None:
            stream = self._stream or ""
            for line, at in _placed(lines, state):
                message = Held(now_ns, _without_newline(line), cut=False, at=at)
                self._take(messages, state, stream, message, self._extra)
        else:
            self._join(self._split, messages, lines, state, now_ns)
        return self._pack(messages, counts)

    def _join(
        self, split: Callable[[bytes], CriLine | DockerLine | None],
        messages: _Messages, lines: list[bytes], state: _State, now_ns: int,
    ) -> None:  # fmt: skip
        """Take the lines out of their container format; ``state`` is brought up to date."""
        max_line, joins = self._max_line, state.joins
        for line, at in _placed(lines, state):
            found = split(line[:-1])
            if found is None:
                messages.malformed.add(len(messages.texts))
                messages.add(Held(now_ns, _without_newline(line), cut=False, at=at), {}, max_line)
                continue
            time_ns, stream, partial, text = found[:4]
            message = Held(time_ns, text, cut=False, at=at)
            if (before := joins.pop(stream, None)) is not None:
                message = replace(before, text=before.text if before.cut else before.text + text)
            if partial:
                cut = message.cut or len(message.text) > max_line
                joins[stream] = replace(message, text=message.text[:max_line], cut=cut)
            else:
                extra = _STREAM[stream]
                if isinstance(found, DockerLine) and found.extra:
                    extra = {**found.extra, **extra}
                self._take(messages, state, stream, message, extra)

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


def _placed(lines: list[bytes], state: _State) -> Iterator[tuple[bytes, int | None]]:
    """Give lines with their offsets, where these are wanted."""
    for line in lines:
        at = state.at
        yield line, at
        if at is not None:
            state.at = at + len(line)


def _load(carry: bytes) -> _State:
    if not carry:
        return _State()
    state = _State()
    try:
        for key, value in _decode_carry(carry).items():
            if len(value) in (3, 4):
                state.joins[key] = _load_line(value)
            else:
                state.opens[key] = _load_open(key, value)
    except (msgspec.MsgspecError, UnicodeDecodeError, MalformedData, RecursionError) as error:
        raise MalformedData(f"the state of open partial lines is damaged: {error}") from error
    return state


def _load_open(key: str, value: list[Any]) -> Open:
    places = value[8:]
    _check_types(value, (int, int, bytes, bool, int, int, bytes, list, *[int] * len(places[:1])))
    time_ns, last_ns, text, cut, number, lines, attrs, held = value[:8]
    if not key.endswith(OPEN_MARK) or not (0 <= number < 1 << 32 and 0 <= lines < 1 << 32):
        raise MalformedData("the state of an open event cannot be read")
    try:
        whole = not attrs or skip(attrs, 0, MAX_DEPTH - 1) == len(attrs)
    except Short:
        whole = False
    if not whole:
        raise MalformedData("the attributes of an open event cannot be read")
    stream = key.removesuffix(OPEN_MARK)
    extra: Record = {"attrs": msgspec.Raw(attrs)} if attrs else {}
    if stream:
        extra["stream"] = stream
    lines_held = [_load_line(line) for line in held]
    return Open(time_ns, last_ns, text, cut, number, extra, lines, lines_held, *map(_place, places))


def _load_line(value: Any) -> Held:
    places = value[3:] if isinstance(value, list) else []
    _check_types(value, (int, bytes, bool, *[int] * len(places[:1])))
    return Held(*value[:3], *map(_place, places))


def _place(at: int) -> int:
    if at < 0:
        raise MalformedData("an offset is negative")
    return at


def _check_types(values: Any, types: tuple[type, ...]) -> None:
    if not isinstance(values, list) or [type(value) for value in values] != list(types):
        raise MalformedData("it is of other types")


def _dump(state: _State) -> bytes:
    carry: dict[str, Any] = {key: _dump_line(join) for key, join in state.joins.items()}
    for key, event in state.opens.items():
        attrs = pack_value(event.extra["attrs"], 2) if "attrs" in event.extra else b""
        held = [_dump_line(line) for line in event.held]
        carry[key] = (
            event.time_ns, event.last_ns, event.text, event.cut, event.state, event.lines, attrs, held,
            *_dump_place(event.at),
        )  # fmt: skip
    return _encode(carry) if carry else b""


def _dump_line(line: Held) -> tuple[Any, ...]:
    return line.time_ns, line.text, line.cut, *_dump_place(line.at)


def _dump_place(at: int | None) -> tuple[int, ...]:
    return () if at is None else (at,)


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
