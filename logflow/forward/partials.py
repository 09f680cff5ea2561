"""Messages that Docker's log driver has cut into pieces, put together again.

What a container writes in one line above 16 KiB comes as several events, a frame each::

    {log: "one…", partial_message: "true", partial_id: "8f1c…", partial_ordinal: "1", partial_last: "false"}
    {log: "…two", partial_message: "true", partial_id: "8f1c…", partial_ordinal: "2", partial_last: "true"}

The event that is made of them has the time and the fields of the first, without those that say what it is a
piece of. A piece that waits for others is answered together with its message, when that is safe. What does
not become whole goes on as it came: when no more of it comes, a piece is missing, or it takes too much.

A client that sends the next piece only after the answer to this one, as Docker does with
``fluentd-request-ack``, would wait in vain. So pieces that want an answer are not held for long, and not held
at all for a tag where that did not help before.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass, field
from itertools import chain, pairwise
from typing import Any, NamedTuple

import msgpack

from logflow.batch import Batch, DeliveryKey
from logflow.component import Context, Emit
from logflow.memory import Lease
from logflow.packing import ENTRY_HEADER, pack_record, to_text
from logflow.receipt import Receipt

_MARK = "partial_message"
_FIELDS = (_MARK, "partial_id", "partial_ordinal", "partial_last")
_TEXT = "log"
_HEAD_BYTES = len(ENTRY_HEADER) + 8
"""Of an entry, before its record."""

MESSAGE_BYTES = 4 << 20
"""What the pieces of one message may take."""
HELD_BYTES = 16 << 20
"""What all pieces that are held may take."""
WAIT_S = 5.0
"""How long the next piece is waited for."""
WAIT_FOR_ANSWER_S = 0.5
"""The same where the client waits for an answer."""
_LOOK_S = 0.25
_REMEMBERED = 1024


class _Key(NamedTuple):
    tag: str
    id: str
    answered: bool


class _Piece(NamedTuple):
    key: _Key
    ordinal: int
    last: bool
    text: bytes
    """As it was sent: a character may be cut in its middle."""


@dataclass(slots=True)
class _Message:
    """The pieces of a message so far."""

    seen_s: float = 0.0
    events: list[Batch] = field(default_factory=list)
    texts: list[bytes] = field(default_factory=list)
    answers: list[list[Receipt]] = field(default_factory=list)
    size: int = 0

    def joined(self) -> Batch:
        """Make one event of the pieces; its key is made of theirs."""
        first = self.events[0]
        ((_, record),) = first.events()
        record = {name: value for name, value in record.items() if name not in _FIELDS}
        record[_TEXT] = to_text(b"".join(self.texts))
        entry = first.entries[:_HEAD_BYTES] + pack_record(record)
        return first.with_entries(entry, 1).with_origin(self._origin())

    def _origin(self) -> DeliveryKey | None:
        name = hashlib.blake2b(digest_size=16)
        for event in self.events:
            if not isinstance(event.origin, DeliveryKey):
                return None
            name.update(len(event.origin.key).to_bytes(4, "little") + event.origin.key)
        return DeliveryKey(name.digest())


class _Ready(NamedTuple):
    """What goes on, and the answers that wait for it."""

    batch: Batch
    answers: list[Receipt]
    whole: _Key | None = None
    """It is a message that was put together."""


class Partials:
    """The pieces that wait, of all connections of a source."""

    def __init__(
        self,
        context: Context,
        emit: Emit,
        lease: Lease,
        spawn: Callable[[Coroutine[Any, Any, None]], asyncio.Task[None]],
    ) -> None:
        """Hold nothing.

        Args:
            context: of the source.
            emit: takes what goes on.
            lease: the memory of what is held.
            spawn: starts a task that the source owns.
        """
        self._engine = context.engine
        self._clock = context.clock
        self._emit = emit
        self._lease = lease
        self._incomplete = context.counter(
            "partial_messages_incomplete",
            "Messages of which a piece did not come; the others went on as they came.",
        )
        self._spawn = spawn
        self._held: dict[_Key, _Message] = {}
        self._size = 0
        self._watcher: asyncio.Task[None] | None = None
        self._done: dict[_Key, Receipt] = {}
        """Receipts of messages whose pieces may come again, as their answers got lost."""
        self._alone: dict[str, None] = {}
        """Tags whose pieces come one by one, each after the answer to the one before."""

    async def emit(self, batch: Batch) -> Receipt:
        """Hand on what came one event a frame; a piece goes on when its message is whole."""
        if _MARK.encode() not in batch.entries:
            return await self._emit(batch)
        if batch.origin is not None:
            answer = Receipt(1)
            for ready in self._take(batch, [answer]):
                await self._go_on(ready)
            return answer
        found = [ready.batch for event in self._events(batch) for ready in self._take(event, [])]
        if not found:
            return Receipt(0)
        entries = b"".join(one.entries for one in found)
        return await self._emit(batch.with_entries(entries, sum(one.count for one in found)))

    async def flush(self) -> None:
        """Nothing more comes: let everything go on as it is."""
        for key in list(self._held):
            for ready in self._release(key):
                await self._go_on(ready)

    def _events(self, batch: Batch) -> Iterator[Batch]:
        starts = [*self._engine.offsets(batch.entries), len(batch.entries)]
        for start, end in pairwise(starts):
            yield batch.with_entries(batch.entries[start:end], 1)

    def _take(self, event: Batch, answers: list[Receipt]) -> list[_Ready]:
        """Keep a piece, or return what goes on now."""
        piece = _read(event, answered=bool(answers))
        if piece is None:
            return [_Ready(event, answers)]
        message = self._held.get(piece.key)
        if message is None:
            if self._passes(piece):
                return self._pass(piece.key, event, answers)
            message = self._held[piece.key] = _Message()
            self._watch()
        position = piece.ordinal - 1
        if position < len(message.events):
            if event.origin is None or message.events[position].origin != event.origin:
                return [_Ready(event, answers)]
            message.answers[position] += answers  # it was sent again, over another connection
            return []
        if position > len(message.events):
            return [*self._give_up(piece.key), _Ready(event, answers)]
        self._add(message, event, piece, answers)
        if piece.last:
            self._forget(piece.key)
            return [_Ready(message.joined(), list(chain(*message.answers)), piece.key)]
        granted = self._lease.resize(self._size)
        if message.size > MESSAGE_BYTES or self._size > HELD_BYTES or not granted:
            return self._give_up(piece.key)
        return []

    def _passes(self, piece: _Piece) -> bool:
        return piece.ordinal != 1 or (piece.key.answered and piece.key.tag in self._alone)

    def _pass(self, key: _Key, event: Batch, answers: list[Receipt]) -> list[_Ready]:
        done = self._done.get(key)
        if done is None:
            return [_Ready(event, answers)]
        _settle_after(done, answers)
        return []

    def _add(self, message: _Message, event: Batch, piece: _Piece, answers: list[Receipt]) -> None:
        message.seen_s = self._clock.monotonic()
        message.events.append(event)
        message.texts.append(piece.text)
        message.answers.append(answers)
        size = 2 * len(event.entries)
        message.size += size
        self._size += size

    def _forget(self, key: _Key) -> _Message:
        message = self._held.pop(key)
        self._size -= message.size
        self._lease.resize(self._size)
        return message

    def _release(self, key: _Key) -> list[_Ready]:
        """Let the pieces of a message go on as they came."""
        message = self._forget(key)
        return [_Ready(*pair) for pair in zip(message.events, message.answers, strict=True)]

    def _give_up(self, key: _Key) -> list[_Ready]:
        self._incomplete()
        return self._release(key)

    async def _go_on(self, ready: _Ready) -> None:
        receipt = await self._emit(ready.batch)
        if ready.whole is not None and ready.answers:
            _remember(self._done, ready.whole, receipt)
        _settle_after(receipt, ready.answers)

    def _watch(self) -> None:
        if self._watcher is None or self._watcher.done():
            self._watcher = self._spawn(self._release_late())

    async def _release_late(self) -> None:
        while self._held:
            await self._clock.sleep(_LOOK_S)
            now_s = self._clock.monotonic()
            for key, message in list(self._held.items()):
                wait_s = WAIT_FOR_ANSWER_S if key.answered else WAIT_S
                if now_s - message.seen_s < wait_s or self._held.get(key) is not message:
                    continue
                if key.answered:
                    _remember(self._alone, key.tag, None)
                for ready in self._give_up(key):
                    await self._go_on(ready)


def _read(event: Batch, *, answered: bool) -> _Piece | None:
    """Read the piece that an event is; ``None`` if it is none."""
    try:
        record = msgpack.unpackb(event.entries[_HEAD_BYTES:], raw=True, strict_map_key=False)
        mark, name, ordinal, last = (record.get(key.encode()) for key in _FIELDS)
        text, number = record.get(_TEXT.encode()), int(ordinal)
    except (ValueError, TypeError):
        return None
    if (
        mark not in (b"true", True)
        or not isinstance(name, bytes)
        or not isinstance(text, bytes)
        or number < 1
    ):
        return None
    return _Piece(_Key(event.tag, to_text(name), answered), number, last in (b"true", True), text)


def _settle_after(receipt: Receipt, answers: list[Receipt]) -> None:
    for answer in answers:
        receipt.add_done_callback(answer.settle)


def _remember(known: dict[Any, Any], key: Any, value: Any) -> None:
    """Keep a value among the latest ones."""
    known.pop(key, None)
    known[key] = value
    if len(known) > _REMEMBERED:
        del known[next(iter(known))]
