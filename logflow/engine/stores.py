"""What outputs to stores ask of an engine: events in the forms of their bulk interfaces."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple, Protocol

from typing_extensions import Buffer


class Wrapping(NamedTuple):
    """What stands around JSON objects: ``before[which]``, ``insert``, ``between``, the object, ``after``."""

    before: Sequence[bytes]
    between: bytes
    after: bytes
    which: Sequence[int] | None = None
    """Which item of ``before`` each event has; ``None``: all have the first."""
    insert: Literal["seconds"] | Sequence[int] | None = None
    """A number for each event; ``seconds``: its time since 1970, with nine decimals; ``None``: nothing."""


class LokiForm(NamedTuple):
    """How entries are written for Loki."""

    streams: int
    """How many streams there are."""
    which: Sequence[int] | None = None
    """Which of them each event belongs to; ``None``: all to the first."""
    line_key: str | None = None
    """The field that is the line, where it is text; else, and where it is not, the record as JSON is."""
    extra: Sequence[bytes] | None = None
    """More fields of each event's ``EntryAdapter``, written already."""


class OtlpForm(NamedTuple):
    """How entries are written for OpenTelemetry."""

    groups: int
    """How many resources there are."""
    which: Sequence[int] | None
    """Which of them each event belongs to; ``None``: all to the first."""
    body: str | None
    """The field that is the body; the others are the fields with a level and with hexadecimal ids."""
    severity: str | None
    trace_id: str | None
    span_id: str | None
    uid: bytes
    """Begins the unique id of each record; its place follows."""
    places: Sequence[int]


class StoreForms(Protocol):
    """A part of :class:`logflow.engine.api.Engine`; the rules that stand there hold here too."""

    def to_wrapped(
        self,
        entries: Buffer,
        tag: str,
        wrapping: Wrapping,
        time_key: str | None = "@timestamp",
        tag_key: str | None = "@tag",
    ) -> bytes:
        """Format each entry as the object of :meth:`to_ndjson`, in its wrapping, and without a newline.

        Raises:
            MalformedData: the wrapping has fewer items than there are entries.
        """
        ...

    def to_loki(self, entries: Buffer, form: LokiForm) -> list[bytes]:
        """Write entries as ``EntryAdapter`` of Loki, each as field 2; one string of bytes for each stream.

        A line is the record as :meth:`to_ndjson` writes it, without time and tag.

        Raises:
            MalformedData: the form has fewer items than there are entries.
        """
        ...

    def to_otlp(self, entries: Buffer, form: OtlpForm) -> list[bytes]:
        """Write entries as ``LogRecord`` of OpenTelemetry, each as field 2; bytes for each group.

        Text and keys are those of :meth:`to_ndjson`; integers beyond 63 bits are their digits. Fields that
        are neither body, severity nor an id become attributes, in order; the last one is ``log.record.uid``.

        Raises:
            MalformedData: the form has fewer items than there are entries.
        """
        ...

    def snappy(self, data: Buffer) -> bytes:
        """Make a snappy block of data. The engines' blocks differ, and give the same data."""
        ...
