"""Sources of messages from a broker: made into events, and acknowledged once these are safe.

A message is one line, or several; with the parser ``json`` it may be one object over several lines, or many
objects one after the other, as the outputs ``kafka`` and ``nats`` write them.
"""

from __future__ import annotations

from abc import abstractmethod
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from pydantic import Field

from logflow.batch import Batch
from logflow.component import Context, Emit, Source
from logflow.config.fields import NonEmpty, ParserField, Size, parse_size
from logflow.config.options import SourceConfig
from logflow.errors import MalformedData
from logflow.net.tags import DEFAULT_MAX_TAGS, MaxTags, Tags

_MOST_TAG_BYTES = 1024
_RETRY_S = 5.0


class MessagesConfig(SourceConfig):
    """What sources of messages have in common."""

    tag: NonEmpty
    tag_header: NonEmpty | None = Field(
        None,
        description="Header that has the tag, such as `tag`, which our own outputs set; none unless set.",
    )
    max_tags: MaxTags = DEFAULT_MAX_TAGS
    parse: ParserField = Field(
        {"type": "json", "time_key": "@timestamp"},
        validate_default=True,
        description="Parser of the messages; what it does not match is kept as `message`.",
    )
    max_message: Size = Field(
        parse_size("1MiB"),
        ge=64,
        description="Longest message of one line; what is longer is cut and marked.",
    )


class MessageReader:
    """Makes messages into batches; may be used from any thread."""

    def __init__(self, config: MessagesConfig, context: Context) -> None:
        parser = context.parser(config.parse)
        self._engine = context.engine
        self._clock = context.clock
        self._tags = Tags(config.max_tags, context)
        self._json = parser.config.type == "json"
        self._lines = context.engine.line_parser("plain", parser, max_line=config.max_message)
        self._count_lines = context.counter("lines_read", "Lines read.")
        self._count_unparsed = context.counter(
            "lines_unparsed", "Messages that the parser did not match; kept as they were."
        )

    def batch(self, tag: str, values: Sequence[bytes]) -> Batch:
        """Make the events of messages, in order."""
        block = self._objects(values) if self._json else b"\n".join([*values, b""])
        parsed = self._lines.parse(block, b"", self._clock.time_ns())
        self._count_lines(parsed.lines)
        self._count_unparsed(parsed.unparsed)
        return self._tags.limit(Batch(tag, parsed.entries, parsed.events))

    def _objects(self, values: Sequence[bytes]) -> bytes:
        """Put each object on a line of its own; anything else stays as it is."""
        if (lines := self._lines_of(b"\n".join([*values, b""]))) is not None:
            return lines
        one_by_one = (self._lines_of(value) for value in values)
        return b"".join(
            lines if lines is not None else value.replace(b"\n", b" ") + b"\n"
            for lines, value in zip(one_by_one, values, strict=True)
        )

    def _lines_of(self, text: bytes) -> bytes | None:
        try:
            found = self._engine.json_lines(text)
        except MalformedData:
            return None
        return found.lines if not text[found.consumed :].strip() and not found.array else None


class MessageSource(Source):
    """Reads messages until it is cancelled; a broker that is away is tried again."""

    acknowledges = True
    placeholder: ClassVar[str]
    """What may stand in the option ``tag`` for the place that messages come from, such as ``{topic}``."""

    config: MessagesConfig

    def __init__(self, config: MessagesConfig, context: Context) -> None:
        super().__init__(config, context)
        self._reader = MessageReader(config, context)

    async def preview(self, data: bytes, path: str | None = None) -> Sequence[Batch]:  # noqa: ARG002
        """Return what would be read if ``data`` were a message."""
        return [self._reader.batch(self.tag_for(self.placeholder.strip("{}"), {}), [data])]

    async def run(self, emit: Emit) -> None:
        """Read until cancelled; brokers that are away are named once, and tried again."""
        said = False
        while True:
            try:
                await self.connect()
                said = False
                await self.read(emit)
            except Exception as error:
                if not said:
                    said = True
                    self.context.log.warning("Cannot read now: %s.", self.undelivered(error))
                await self.close()
            await self.context.clock.sleep(_RETRY_S)

    @abstractmethod
    async def connect(self) -> None:
        """Get ready to read."""

    @abstractmethod
    async def read(self, emit: Emit) -> None:
        """Read for as long as nothing fails."""

    @abstractmethod
    def undelivered(self, error: Exception) -> Exception:
        """Return the error with what to do."""

    def tag_for(self, place: str, headers: Mapping[str, bytes | str]) -> str:
        """The tag of a message that comes from a topic or a subject.

        The header that names it comes from outside: only what can be a tag is one.
        """
        otherwise = self.config.tag.replace(self.placeholder, place)
        header = headers.get(self.config.tag_header) if self.config.tag_header else None
        if header is None:
            return otherwise
        tag = header.decode("utf-8", "replace") if isinstance(header, bytes) else header
        usable = tag.isprintable() and " " not in tag and all(tag.split(".")) and len(tag) <= _MOST_TAG_BYTES
        return tag if usable else otherwise


@dataclass(eq=False)
class _Step:
    end: int
    done: bool = False


class MessageProgress:
    """How far a sequence of messages is safe: up to the first of which something is not."""

    def __init__(self) -> None:
        self._steps: deque[_Step] = deque()
        self.safe: int | None = None
        """Everything before this is; ``None``: nothing has come to its end yet."""

    @property
    def open(self) -> bool:
        """Whether something is not safe yet."""
        return bool(self._steps)

    def begin(self, end: int) -> _Step:
        """Messages before ``end`` are on their way."""
        step = _Step(end)
        self._steps.append(step)
        return step

    def finish(self, step: _Step) -> None:
        """Those of a step are safe."""
        step.done = True
        while self._steps and self._steps[0].done:
            self.safe = self._steps.popleft().end
