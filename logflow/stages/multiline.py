"""Stage ``multiline``: joins events that are lines of one message, such as a stack trace.

The rules are those of :mod:`logflow.multiline`. Only events that may begin a message, and those of streams in
which one is open, are looked at one by one::

    marks  0 0 1 0 0 0 1 0    may begin one, found by the engine for the whole batch
    open   . . x x x . x x    of the event's stream
    out    0 0     2   5      as they were but for the text of joined ones, which the engine puts in place
"""

from __future__ import annotations

import re
import struct
from collections import OrderedDict
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

import msgspec
from pydantic import ConfigDict, Field

from logflow.batch import Batch, Origin
from logflow.component import Context, Stage
from logflow.config.fields import ExpressionField, FieldName
from logflow.config.multiline import MultilineConfig
from logflow.config.options import FilterConfig
from logflow.engine.changes import Regex
from logflow.event import NANOSECOND
from logflow.expressions import compile_expression
from logflow.multiline import END, Multiline
from logflow.packing import ENTRY_HEADER, pack_value

_MOST_BYTES = 64 << 20
"""Of all that is held; beyond it, what was opened first goes on as it is."""

_IDENTITY = ("stream", "source", "container_id", "kubernetes.pod_id", "kubernetes.container_name", "_PID")
"""Fields that tell streams apart: of container lines, Docker's driver, Kubernetes metadata, the journal."""

_Key: TypeAlias = tuple[str, bytes]
"""A stream of the host's, and what ``by`` gives."""

_AS_IT_IS = bytes(4)
_EXT = struct.Struct(">II").unpack_from
_decode = msgspec.msgpack.decode


@dataclass(frozen=True, slots=True)
class _Line:
    """An event, and the text of its field."""

    entry: bytes
    text: str

    @property
    def size(self) -> int:
        """Bytes of the text and of a newline."""
        return len(self.text.encode()) + 1


@dataclass(eq=False, slots=True)
class _Open:
    """A message that is not finished.

    Attributes:
        batch: the batch that its last line came with, without events; the same object for all of its lines.
        entry: the event of its first line.
        texts: its lines.
        size: their bytes.
        state: of the rules.
        last_ns: time of the last line.
        at_s: when that came.
        origins: where its lines came from.
        held: lines that may turn out not to belong to it.
    """

    batch: Batch
    entry: bytes
    texts: list[str]
    size: int
    state: int
    last_ns: int
    at_s: float
    origins: list[Origin]
    held: list[_Line] = field(default_factory=list)

    def note(self, batch: Batch) -> None:
        """A line came with this batch."""
        if self.batch is not batch:
            self.origins.append(batch.origin)
            self.batch = batch

    @property
    def text(self) -> str | None:
        """All of its lines; None if it has one, which is as it was."""
        return "\n".join(self.texts) if len(self.texts) > 1 else None


class _Made:
    """What goes on of a batch: entries, and the texts that some of them get."""

    def __init__(self, batch: Batch, now_s: float = 0.0) -> None:
        self.batch = batch.with_entries(b"", 0)
        self.stream = batch.stream
        self.now_s = now_s
        self.count = 0
        self.values: list[tuple[bytes]] = [(b"",)]
        self._entries: list[bytes] = []
        self._ids: list[bytes] = []

    def put(self, entries: bytes, count: int, text: str | None = None) -> None:
        """Add entries as they are, or one with another text."""
        self._entries.append(entries)
        self.count += count
        if text is None:
            self._ids.append(_AS_IT_IS * count)
        else:
            self._ids.append(len(self.values).to_bytes(4, "little"))
            self.values.append((pack_value(text),))

    @property
    def entries(self) -> bytes:
        return b"".join(self._entries)

    @property
    def ids(self) -> bytes:
        return b"".join(self._ids)


class MultilineStage(Stage):
    """Holds messages back until the next line shows that they are complete, or ``timeout`` is over."""

    class Config(MultilineConfig, FilterConfig):
        """Options of the stage ``multiline``."""

        model_config = ConfigDict(extra="forbid", frozen=True)

        type: Literal["multiline"] = "multiline"
        field: FieldName = Field(
            "message",
            description="Field that holds a line. An event without text there ends the one before it.",
        )
        by: list[ExpressionField] = Field(
            default_factory=lambda: [compile_expression(name) for name in _IDENTITY],
            description="Only lines for which these all give the same are joined; lines of different peers, "
            "files or tags never are. Unless set, these are what tells streams of containers and processes "
            f"apart: {', '.join(f'`{name}`' for name in _IDENTITY)}.",
        )
        max_open: int = Field(
            1000, ge=1, le=100_000,
            description="Most events that wait for further lines; beyond that, the one that was begun first "
            "goes on as it is. This is counted.",
        )  # fmt: skip

    def __init__(self, config: MultilineStage.Config, context: Context) -> None:
        super().__init__(config, context)
        self.config: MultilineStage.Config = config
        engine = context.engine
        self._rules = config.rules()
        self._by_state: dict[int, list[tuple[Regex, bool, int]]] = {}
        for rule in self._rules.rules:
            step = engine.regex(rule.pattern), rule.negate, rule.to
            for state in rule.states:
                self._by_state.setdefault(state, []).append(step)
        self._begins = engine.condition(compile_expression(_beginning(config.field, self._rules)))
        self._texts = engine.computation(compile_expression(config.field))
        self._grouping = engine.grouping(config.by)
        self._placement = engine.placement([config.field])
        self._opens: OrderedDict[tuple[str, bytes], _Open] = OrderedDict()
        self._streams: dict[str, dict[bytes, _Open]] = {}
        self._size = 0
        self._early = context.counter(
            "multiline_ended_early", "Events that went on before they were complete, as too many were open."
        )

    # -- in ---------------------------------------------------------------------------------------

    def apply(self, batch: Batch) -> Sequence[Batch]:
        """Join what belongs together; hold what may not be complete."""
        around = batch.tag, batch.attributes.get("source"), self.context.clock.time_ns()
        marks = self._begins.mark(batch.entries, *around)
        made, others, done = _Made(batch, self.context.clock.monotonic()), list[Batch](), 0
        if made.stream not in self._streams and 1 not in marks:
            return [batch]
        groups = self._grouping.apply(batch.entries, *around)
        ids = memoryview(groups.ids).cast("I")
        texts = self._texts.values(batch.entries, *around)
        keys = [(made.stream, key) for key in groups.keys]
        starts = [*self.context.engine.offsets(batch.entries), len(batch.entries)]
        for index in self._touched(made.stream, marks, groups.keys, ids):
            if done < index:
                made.put(batch.entries[starts[done] : starts[index]], index - done)
            entry = batch.entries[starts[index] : starts[index + 1]]
            self._take(keys[ids[index]], entry, _decode(texts[index]), made)
            if len(self._opens) > self.config.max_open or self._size > _MOST_BYTES:
                others += self._keep_bounds(made)
            done = index + 1
        made.put(batch.entries[starts[done] :], batch.count - done)
        return [*others, self._batch(made)]

    def _touched(self, stream: str, marks: bytes, keys: Sequence[bytes], ids: Sequence[int]) -> Iterator[int]:
        """Events that may begin a message, or whose stream has an open one when they are reached."""
        index = 0
        while index < len(marks):
            opens = self._streams.get(stream)
            if not opens:
                index = marks.find(1, index)
                if index < 0:
                    return
                yield index
            elif marks[index] or keys[ids[index]] in opens:
                yield index
            index += 1

    def _take(self, key: _Key, entry: bytes, text: object, made: _Made) -> None:
        """Take an event of a stream."""
        event, time_ns = self._opens.get(key), _time_ns(entry)
        if event is not None:
            state = self._next(event.state, text) if isinstance(text, str) else None
            if state is not None and time_ns - event.last_ns <= self._rules.timeout_ns:
                assert isinstance(text, str)
                event.last_ns, event.state, event.at_s = time_ns, state, made.now_s
                event.note(made.batch)
                self._go_on(event, _Line(entry, text), made)
                if state == END:
                    self._end(key, made)
                return
            self._end(key, made)
        state = self._begin(text) if isinstance(text, str) else None
        if state is None or state == END or not isinstance(text, str):
            made.put(entry, 1)
        else:
            batch, size = made.batch, len(text.encode()) + 1
            self._opens[key] = event = _Open(
                batch, entry, [text], size, state, time_ns, made.now_s, [batch.origin]
            )
            self._streams.setdefault(key[0], {})[key[1]] = event
            self._size += size

    def _begin(self, text: str) -> int | None:
        return None if self._rules.spares_json and text.startswith("{") else self._next(0, text)

    def _next(self, state: int, text: str) -> int | None:
        for regex, negate, to in self._by_state.get(state, ()):
            if regex.found(text) is not negate:
                return to
        return None

    def _go_on(self, event: _Open, line: _Line, made: _Made) -> None:
        rules = self._rules
        event.held.append(line)
        self._size += line.size
        if event.state in rules.held and len(event.texts) + len(event.held) <= rules.max_lines:
            return
        lines, event.held = event.held, []
        size = sum(line.size for line in lines)
        if len(event.texts) + len(lines) > rules.max_lines or event.size + size > rules.max_bytes + 1:
            made.put(event.entry, 1, event.text)
            self._size -= event.size
            event.entry, event.texts, event.size = lines[0].entry, [], 0
        event.texts += [line.text for line in lines]
        event.size += size

    # -- what is open -----------------------------------------------------------------------------

    def _end(self, key: _Key, made: _Made) -> None:
        """Let an open message go."""
        event = self._opens.pop(key)
        opens = self._streams[key[0]]
        del opens[key[1]]
        if not opens:
            del self._streams[key[0]]
        self._size -= event.size
        made.put(event.entry, 1, event.text)
        for line in event.held:
            self._size -= line.size
            made.put(line.entry, 1)

    def _keep_bounds(self, made: _Made) -> Iterator[Batch]:
        """Let messages go that were begun first, while there are too many or they are too large."""
        while len(self._opens) > self.config.max_open or self._size > _MOST_BYTES:
            key, event = next(iter(self._opens.items()))
            self._early()
            if key[0] == made.stream:  # behind what came before it in this batch
                self._end(key, made)
            else:
                yield self._ended([key], event.batch)

    def _ended(self, keys: Iterable[_Key], batch: Batch) -> Batch:
        made = _Made(batch)
        for key in keys:
            self._end(key, made)
        return self._batch(made)

    # -- out --------------------------------------------------------------------------------------

    def _batch(self, made: _Made) -> Batch:
        entries = made.entries
        if len(made.values) > 1:
            entries = self._placement.apply(entries, made.ids, made.values)
        return made.batch.with_entries(entries, made.count)

    def flush(self, now_s: float | None) -> Sequence[Batch]:
        """Let go what has waited for ``timeout``."""
        due: dict[str, list[_Key]] = {}
        for key, event in self._opens.items():
            if now_s is None or now_s - event.at_s >= self.config.timeout:
                due.setdefault(key[0], []).append(key)
        return [self._ended(keys, self._opens[keys[0]].batch) for keys in due.values()]

    def flush_stream(self, stream: str) -> Sequence[Batch]:
        """Let go everything of a stream."""
        opens = self._streams.get(stream)
        if not opens:
            return ()
        batch = next(iter(opens.values())).batch
        return [self._ended([(stream, key) for key in opens], batch)]

    def holds(self, stream: str) -> Collection[Origin]:
        """Return where the lines came from that are held."""
        return [origin for event in self._streams.get(stream, {}).values() for origin in event.origins]


def _beginning(path: str, rules: Multiline) -> str:
    """An expression that is true for every event that may begin a message."""
    words = [re.escape(word) for word in rules.hints]
    patterns = words and ["|".join(words)]
    patterns = patterns or [rule.pattern for rule in rules.rules if 0 in rule.states and not rule.negate]
    return " or ".join(f"matches({path}, {pattern!r})" for pattern in patterns)


def _time_ns(entry: bytes) -> int:
    seconds, nanoseconds = _EXT(entry, len(ENTRY_HEADER))
    return int(seconds) * NANOSECOND + int(nanoseconds)
