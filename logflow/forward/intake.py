"""Frames made into batches, without I/O.

::

    frames ──► requests: neighbours with one tag and no chunk id are put together
           ──► Opening: decompress, normalize, make the delivery key (may run in a thread)
           ──► parts: a batch of bounded size each, however large the request is

A few kilobytes may decompress to gigabytes, and an event of three bytes takes twelve in canonical form. So a
request is opened a part at a time, and the next one only when the one before has been handed on. Where the
cuts are depends on the payload alone: a resend has the same parts, which are recognised one by one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, NamedTuple

from typing_extensions import Buffer

from logflow.batch import Batch, DeliveryKey
from logflow.compression import PIECE_BYTES, ZSTD_WINDOW_BYTES, decompress_pieces
from logflow.engine.api import Engine, Frame
from logflow.errors import LimitExceeded, MalformedData
from logflow.forward.frames import MAX_TAG_BYTES, NO_OPTION, Option, read_option
from logflow.forward.identity import Fingerprint, delivery_key, part_key
from logflow.forward.refused import refused_events
from logflow.packing import to_text

_NIL = 0xC0
_ENTRY = b"\x92"
_ARRAYS = frozenset((*range(0x90, 0xA0), 0xDC, 0xDD))
_MERGED_BYTES = 1 << 20

PART_BYTES = 9 << 20
"""A part ends with the event that reaches this; a chunk of the default size fits into one.

A resend that was taken in part before is cut at the same places only while this stays as it is."""

_GROWTH = 5
"""Bytes that a small request takes when it is opened, for each of its own: a copy and four times as much."""


@dataclass(slots=True)
class Request:
    """What is handled as one: a frame, or several that need no answer.

    Attributes:
        tag: the tag as received.
        parts: the entries of each frame; the payload as received when it is compressed.
        size: bytes of all parts.
        option: the frame's option.
        messages: whether it is made of frames of one event.
    """

    tag: bytes
    parts: list[Buffer]
    size: int
    option: Option
    messages: bool = False


class RequestPart(NamedTuple):
    """A part of a request."""

    batch: Batch
    skipped: Mapping[str, int]
    """Events that are no good, by reason."""
    mended: Mapping[str, int]
    """Events in which something was put right, by what it was."""
    refused: Batch | None = None
    """Some of those that are no good, made into events."""


def requests(data: Buffer, frames: Iterable[Frame]) -> Iterator[Request]:
    """Make requests of the frames that lie in ``data``.

    Raises:
        MalformedData: a frame has no known form; what came before it has been yielded.
    """
    view = memoryview(data)
    pending: Request | None = None
    for frame in frames:
        try:
            option = _option(view, frame)
        except MalformedData:
            if pending is not None:
                yield pending
            raise
        if frame.mode == "other":
            continue
        payload: Buffer = view[frame.start : frame.end]
        if frame.mode == "message":
            payload = _ENTRY + payload
        size = frame.end - frame.start
        # A packed payload stands alone: torn, it would take the next one with it.
        merges = option is NO_OPTION and frame.mode != "packed"
        if (
            merges
            and pending is not None
            and pending.tag == frame.tag
            and pending.size + size < _MERGED_BYTES
        ):
            pending.parts.append(payload)
            pending.size += size
            pending.messages &= frame.mode == "message"
            continue
        if pending is not None:
            yield pending
        pending = Request(frame.tag, [payload], size, option, frame.mode == "message")
        if not merges:
            yield pending
            pending = None
    if pending is not None:
        yield pending


def _option(view: memoryview, frame: Frame) -> Option:
    """Read a frame's option, and refuse the frame where that can be done without looking into it."""
    if frame.mode == "other":
        if view[frame.start] != _NIL:
            raise MalformedData("this is not the Forward Protocol: neither an array nor nil")
        return NO_OPTION
    if len(frame.tag) > MAX_TAG_BYTES:
        raise LimitExceeded(f"a tag has {len(frame.tag):,} bytes; {MAX_TAG_BYTES:,} are allowed")
    if frame.option_start == frame.option_end:
        return NO_OPTION
    option = read_option(bytes(view[frame.option_start : frame.option_end]))
    if frame.mode != "packed" and option.compressed != "none":
        raise MalformedData("only a packed payload can be compressed")
    plain = Option()
    return NO_OPTION if option == plain else option


class Opening:
    """A request that is being opened, part by part; one thread at a time.

    Attributes:
        tag: the request's tag as text.
        messages: whether the request is made of frames of one event.
        kept: bytes that it holds itself, between two parts.
        done: whether all parts have been opened.
    """

    def __init__(
        self,
        engine: Engine,
        request: Request,
        peer: bytes,
        *,
        limit: int,
        now_ns: int,
        groups: bool = True,
        attributes: Mapping[str, Any] = MappingProxyType({}),
    ) -> None:
        """Begin; nothing is opened yet.

        Args:
            engine: normalizes the entries.
            request: from :func:`requests`.
            peer: who sent it, from ``identity.peer_identity``.
            limit: most bytes that a payload may become when it is decompressed.
            now_ns: time of events that have none.
            groups: whether the fields of a group are added to the events in it.
            attributes: those of the batches.
        """
        self.tag = to_text(request.tag)
        self.messages = request.messages
        self.kept = 0
        self._engine = engine
        self._request = request
        self._peer = peer
        self._attributes = attributes
        self._now_ns = now_ns
        self._payload = _Payload(request, limit)
        self._group = b"" if groups else None
        self._key: DeliveryKey | None = None
        self._parts = 0
        self.done = False

    @property
    def cost(self) -> int:
        """Most bytes that the next part takes while it is opened."""
        size, how = self._request.size, self._request.option.compressed
        if how == "none":
            return min(_GROWTH * size, 2 * PART_BYTES)
        window = size + ZSTD_WINDOW_BYTES if how == "zstd" else 0
        return 2 * PART_BYTES + 2 * PIECE_BYTES + window

    @property
    def quick(self) -> bool:
        """Whether the next part is as large as the request and no larger."""
        return self._request.option.compressed == "none"

    def next(self) -> RequestPart | None:
        """Open the next part; ``None`` after the last one. Takes its time where that is large.

        Raises:
            MalformedData: the rest of the request cannot be used.
            LimitExceeded: it is too large when decompressed.
        """
        if self.done:
            return None
        size = PART_BYTES
        while True:
            data, last = self._payload.window(size)
            if not self._parts:
                self._begin(data, last=last)
            normal = self._engine.normalize(data, self._now_ns, limit=PART_BYTES, group=self._group)
            if normal.consumed or last:
                break
            size *= 2  # a single event that is larger than a part
        torn = normal.consumed < len(memoryview(data)) and len(normal.entries) < PART_BYTES
        if last and torn:
            raise MalformedData("the payload ends in the middle of an event")
        self.done = last and normal.consumed == len(memoryview(data))
        self.kept = self._payload.used(normal.consumed)
        self._group = normal.group if self._group is not None else None
        origin = part_key(self._key, self._parts) if self._key else None
        self._parts += 1
        batch = Batch(self.tag, normal.entries, normal.events, origin, self._attributes)
        refused = None
        if normal.refused:
            refused = refused_events(self._engine, data, normal, batch, self._now_ns)
        return RequestPart(batch, normal.skipped, normal.mended, refused)

    def _begin(self, data: Buffer, *, last: bool) -> None:
        """Look at the payload as a whole, as far as that is needed."""
        if memoryview(data) and memoryview(data)[0] not in _ARRAYS:
            raise MalformedData("the payload is not made of events")
        option = self._request.option
        fingerprint = Fingerprint()
        if not last and option.compressed != "none":
            # Before anything of it is handed on, it must be known that there is an end to it.
            for piece in self._payload.pieces():
                fingerprint.update(piece)
        elif option.chunk and not option.unique:
            fingerprint.update(data if last else self._payload.plain)
        if option.chunk:
            self._key = delivery_key(self._peer, self._request.tag, option, fingerprint)


class _Payload:
    """The entries of a request as bytes, decompressed as far as they are needed."""

    def __init__(self, request: Request, limit: int) -> None:
        parts = request.parts
        self.plain: Buffer = parts[0] if len(parts) == 1 else b"".join(parts)
        self._how = request.option.compressed
        self._limit = limit
        self._at = 0
        self._rest: list[bytes] = []
        self._pieces = self.pieces() if self._how != "none" else None

    def pieces(self) -> Iterator[bytes]:
        """Decompress all of it anew.

        Raises:
            MalformedData: it is damaged.
            LimitExceeded: it is larger than allowed.
        """
        assert self._how != "none"
        return decompress_pieces(self.plain, self._how, self._limit)

    def window(self, size: int) -> tuple[Buffer, bool]:
        """Return the next ``size`` bytes, or less at the end, and whether it is the end."""
        if self._pieces is None:
            end = self._at + size
            return memoryview(self.plain)[self._at : end], end >= len(memoryview(self.plain))
        have, ended = sum(map(len, self._rest)), False
        while have <= size and not ended:
            piece = next(self._pieces, None)
            if piece is None:
                ended = True
            else:
                self._rest.append(piece)
                have += len(piece)
        data = b"".join(self._rest)
        self._rest = [data]
        return (data, True) if ended else (memoryview(data)[:size], False)

    def used(self, size: int) -> int:
        """Go on after ``size`` bytes; returns how many are held beside the request."""
        if self._pieces is None:
            self._at += size
            return 0
        rest = b"".join(self._rest)[size:]
        self._rest = [rest]
        return len(rest)
