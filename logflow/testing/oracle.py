"""Numbered lines, and the oracle that says what became of them.

Every line carries where it came from, its place in that series, when it was written and a checksum
of its text, so that whatever a pipeline did to it can be told from the line alone::

    {"container":"web-0","seq":17,"written_ns":1767225600000000000,"crc":907060870,"text":"GET / 200"}

A series is what one container writes to one stream (``web-0/stdout``); the stream is not part of the
line: the pipeline adds it. Series count from 0, so the number of lines written says all that must
arrive. Seen at a destination, a line of a series is

========== ======================================================
lost       it did not arrive
doubled    it arrived again
disordered it arrived after a later line of its series, in one flow
damaged    it is not JSON of this form, or its text was changed
unknown    nobody wrote it
========== ======================================================
"""

from __future__ import annotations

import zlib
from array import array
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

_BLOCK_BYTES = 8 << 20
_EXAMPLES = 5


class NumberedLine(msgspec.Struct):
    """What the oracle reads of a delivered record; other fields are ignored."""

    container: str
    seq: int
    written_ns: int
    crc: int
    text: str
    stream: str = ""


@dataclass(frozen=True, slots=True)
class Text:
    """A text, encoded once, that many numbered lines can carry."""

    json: str
    crc: int

    @classmethod
    def of(cls, text: str) -> Text:
        """Encode ``text``."""
        return cls(msgspec.json.encode(text).decode(), zlib.crc32(text.encode()))


@dataclass(frozen=True, slots=True)
class DeliveryVerdict:
    """What became of the written lines at one destination, in numbers of lines.

    Attributes:
        written: lines that had to arrive.
        delivered: different ones among them that arrived.
        lost: ones that did not arrive.
        doubled: arrivals beyond the first of each line.
        disordered: first arrivals after a later line of the same series and flow.
        damaged: arrivals that are no numbered line or whose text was changed.
        unknown: arrivals that nobody wrote.
        examples: a few of what went wrong, as text.
    """

    written: int
    delivered: int
    lost: int
    doubled: int
    disordered: int
    damaged: int
    unknown: int
    examples: tuple[str, ...]

    @property
    def exactly_once(self) -> bool:
        """Whether each line arrived, whole, once and in order, and nothing else did."""
        return not (self.lost or self.doubled or self.disordered or self.damaged or self.unknown)


def numbered_line(container: str, seq: int, written_ns: int, text: Text) -> bytes:
    """Format one line, without its newline."""
    return (
        f'{{"container":"{container}","seq":{seq},"written_ns":{written_ns},'
        f'"crc":{text.crc},"text":{text.json}}}'
    ).encode()


class Oracle:
    """Compares what arrived at one destination with what was written."""

    def __init__(self, written: Mapping[str, int]) -> None:
        """Expect ``written[series]`` lines of each series."""
        self._seen = {series: bytearray(count) for series, count in written.items()}
        self._last: dict[tuple[str, str], int] = {}
        self._decoder = msgspec.json.Decoder(NumberedLine)
        self._doubled = self._disordered = self._damaged = self._unknown = 0
        self._examples: list[str] = []
        self._written_ns = array("q")
        self._latencies_ns = array("q")

    def feed(self, lines: bytes, flow: str = "", received_ns: int | None = None) -> None:
        """Take JSON Lines that arrived.

        Args:
            lines: whole lines.
            flow: names what keeps an order, such as a file; order is not compared across flows.
            received_ns: when they arrived; their latencies are then kept.
        """
        for line in self._decode(lines):
            series = f"{line.container}/{line.stream}" if line.stream else line.container
            if zlib.crc32(line.text.encode()) != line.crc:
                self._damaged += self._note(f"{series} {line.seq}: its text was changed")
                continue
            seen = self._seen.get(series)
            if seen is None or not 0 <= line.seq < len(seen):
                self._unknown += self._note(f"{series} {line.seq}: nobody wrote it")
                continue
            self._arrived(flow, series, seen, line.seq)
            if received_ns is not None:
                self._written_ns.append(line.written_ns)
                self._latencies_ns.append(received_ns - line.written_ns)

    def feed_file(self, path: Path) -> None:
        """Take a file of JSON Lines; the file is a flow. A torn last line is damaged."""
        with path.open("rb") as file:
            rest = b""
            while block := file.read(_BLOCK_BYTES):
                whole, newline, tail = block.rpartition(b"\n")
                if newline:
                    self.feed(rest + whole, flow=str(path))
                    rest = tail
                else:
                    rest += block
        self.feed(rest, flow=str(path))

    def verdict(self) -> DeliveryVerdict:
        """Say what became of the lines so far."""
        examples = [*self._examples, *self._lost_examples(_EXAMPLES - len(self._examples))]
        written = sum(map(len, self._seen.values()))
        lost = sum(seen.count(0) for seen in self._seen.values())
        return DeliveryVerdict(
            written, written - lost, lost, self._doubled, self._disordered, self._damaged, self._unknown,
            tuple(examples),
        )  # fmt: skip

    def latencies_ns(self, written_before_ns: int | None = None) -> list[int]:
        """Nanoseconds from write to arrival, of all lines or of those written before a time."""
        if written_before_ns is None:
            return self._latencies_ns.tolist()
        pairs = zip(self._written_ns, self._latencies_ns, strict=True)
        return [latency_ns for written_ns, latency_ns in pairs if written_ns < written_before_ns]

    def _arrived(self, flow: str, series: str, seen: bytearray, seq: int) -> None:
        if seen[seq]:
            self._doubled += self._note(f"{series} {seq}: it arrived again ({flow})")
            return
        seen[seq] = 1
        last = self._last.get((flow, series), -1)
        if seq < last:
            self._disordered += self._note(f"{series} {seq}: it arrived after {last} ({flow})")
        else:
            self._last[flow, series] = seq

    def _decode(self, lines: bytes) -> Sequence[NumberedLine]:
        try:
            return self._decoder.decode_lines(lines)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return list(self._decode_each(lines))

    def _decode_each(self, lines: bytes) -> Iterator[NumberedLine]:
        for line in lines.split(b"\n"):
            if not line:
                continue
            try:
                yield self._decoder.decode(line)
            except (msgspec.DecodeError, UnicodeDecodeError) as error:
                self._damaged += self._note(f"{line[:80]!r}: {error}")

    def _lost_examples(self, limit: int) -> Iterator[str]:
        for series, seen in self._seen.items():
            if limit <= 0:
                return
            if (first := seen.find(0)) >= 0:
                yield f"{series} {first}: it did not arrive ({seen.count(0)} of {len(seen)} did not)"
                limit -= 1

    def _note(self, example: str) -> int:
        if len(self._examples) < _EXAMPLES:
            self._examples.append(example)
        return 1


def percentile(values: Sequence[int], share: float) -> int:
    """The smallest value that at least ``share`` of the values do not exceed; 0 without values."""
    if not values:
        return 0
    rank = -(-share * len(values) // 1)  # rounded up: the nearest-rank definition
    return sorted(values)[max(int(rank) - 1, 0)]
