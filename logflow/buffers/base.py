"""The contract of buffers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TypeAlias

from logflow.batch import Batch, Chunk
from logflow.config.options import BufferOptions
from logflow.receipt import Receipt
from logflow.telemetry.ledger import Account


@dataclass(frozen=True, slots=True)
class Waiting:
    """How much a buffer holds.

    Attributes:
        events: events not yet delivered, those in flight included.
        size: bytes that they take: their packed entries, and what each batch and each tag costs beside them.
        limit: most bytes it may hold.
        oldest_s: age of the oldest waiting batch in seconds; 0.0 when empty.
    """

    events: int
    size: int
    limit: int
    oldest_s: float


BATCH_BYTES = 600
"""What a waiting batch takes in memory besides its packed entries, as measured."""
TAG_BYTES = 1300
"""What a tag of which something waits takes in memory, as measured."""


@dataclass(frozen=True, slots=True)
class GroupLimits:
    """How much may be taken in one go; a single chunk may always be.

    Attributes:
        chunks: most chunks.
        size: most bytes of packed entries.
        events: most events.
    """

    chunks: int = 1
    size: int = 1 << 62
    events: int = 1 << 62


Dropped: TypeAlias = Mapping[str, int]
"""How many events of a chunk were not delivered, by the reason under which they are accounted for."""

NOTHING_DROPPED: Dropped = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Left:
    """What becomes of the events that a buffer holds when the process ends.

    Attributes:
        on_disk: events that stay on disk.
        again: events that their sources read again, or are sent again.
        lost: events that nobody has but this buffer.
    """

    on_disk: int = 0
    again: int = 0
    lost: int = 0


class Buffer(ABC):
    """Ordered chunks between routes and one output. All calls are made on the event loop's thread.

    The router calls :meth:`put`, the flusher :meth:`take_group` and then exactly one of
    :meth:`commit_group` and :meth:`put_back` for every chunk. :meth:`take`, :meth:`commit` and
    :meth:`discard` are the same for one chunk.

    Order: chunks of one tag are handed out in the order in which their events came; the next only after those
    before were committed, discarded or put back. A group holds several of one tag only if they come from
    different places, such as files; those of different tags may be in flight at once.

    Repeats: a batch whose origin was accepted before is dropped with the reason ``duplicate`` and
    its receipt settled, as the events are safe already.
    """

    @abstractmethod
    async def open(self, account_of: Callable[[str], Account]) -> None:
        """Recover what an earlier process left; ``account_of(tag)`` says where it is accounted.

        Raises:
            ComponentError: the buffer's place cannot be used.
        """

    @property
    @abstractmethod
    def full(self) -> bool:
        """Whether :meth:`put` would wait now, or one does. Never with a policy that drops."""

    @property
    def problem(self) -> str | None:
        """Why nothing can be stored now, such as a full disk; ``None`` while all is well."""
        return None

    @abstractmethod
    async def wait_for_room(self) -> None:
        """Return when the buffer is not full; woken by an event, not by polling."""

    @abstractmethod
    async def put(self, batch: Batch, account: Account, receipt: Receipt) -> None:
        """Take a batch whose events have entered ``account``; wait or drop when full.

        Settles one part of ``receipt`` when the events are safe: once written (and synced, as the options
        say) for disk, once committed for memory; at once when they are dropped or a repeat. An empty
        batch (count 0) only moves the progress of its stream on. May be called by several tasks; a
        cancelled put has either taken the whole batch or nothing of it.
        """

    @abstractmethod
    async def take(self, *, fresh: bool = True, retries: bool = True) -> Chunk:
        """Wait for the next chunk: whatever has gathered, up to ``chunk_limit``.

        The chunk's id, and what it is made of, are durable before this returns.

        Args:
            fresh: take a chunk that was never put back.
            retries: take one that was, and whose delay is over.

        Raises:
            OSError: what the chunk is made of cannot be written down now; it goes on waiting.
        """

    async def take_group(
        self,
        limits: GroupLimits,  # noqa: ARG002 - a buffer that can take several at once overrides this
        *,
        fresh: bool = True,
        retries: bool = True,
    ) -> list[Chunk]:
        """Wait for the next chunk, then take what else is due now, up to ``limits``.

        Raises:
            OSError: as :meth:`take`; every chunk goes on waiting.
        """
        return [await self.take(fresh=fresh, retries=retries)]

    @abstractmethod
    async def commit(self, chunk: Chunk, dropped: Dropped = NOTHING_DROPPED) -> None:
        """The chunk has been dealt with: its events were delivered, apart from those in ``dropped``."""

    async def commit_group(self, chunks: Sequence[tuple[Chunk, Dropped]]) -> None:
        """Commit several chunks, each with what was dropped of it; all have been when this returns."""
        for chunk, dropped in chunks:
            await self.commit(chunk, dropped)

    async def discard(self, chunk: Chunk, reason: str) -> None:
        """The chunk was dealt with in another way (dead letter, drop); accounted under ``reason``."""
        await self.commit(chunk, {reason: chunk.count})

    @abstractmethod
    def put_back(self, chunk: Chunk, delay_s: float = 0.0, *, firm: bool = False) -> None:
        """The chunk was not delivered and will be taken again, as it is, before its successors.

        Args:
            chunk: what was taken.
            delay_s: not before this many seconds.
            firm: :meth:`hurry` does not shorten the delay, as the destination asked for it.
        """

    @abstractmethod
    def hurry(self) -> None:
        """Chunks that were put back are due now, as what held them up seems to be over."""

    @abstractmethod
    def pace_together(self, interval_s: float) -> None:
        """Whoever takes chunks takes those of all tags in one go, at most every ``interval_s`` seconds.

        After a quiet time, and for a tag of which much has gathered, there is no wait.
        """

    @abstractmethod
    def gather(self, interval_s: float) -> None:
        """Whoever takes chunks lets events of all tags gather for ``interval_s``, also after a quiet time.

        A full chunk does not wait, and nothing does while the buffer is half full, or after :meth:`release`.
        """

    @abstractmethod
    def release(self) -> None:
        """Nothing gathers any more, as the service or the output ends."""

    @property
    @abstractmethod
    def waiting(self) -> Waiting:
        """How much waits."""

    def left(self) -> Left:
        """What becomes of the events that wait if the process ends now."""
        return Left(on_disk=self.waiting.events)

    def abandon(self, reason: str, *, everything: bool = False) -> None:  # noqa: B027 - of a disk nothing is lost
        """Drop what would be lost, or everything that is only in memory; accounted for under ``reason``."""

    def reconfigure(self, options: BufferOptions) -> bool:  # noqa: ARG002
        """Go on with other options of the same type of buffer; ``False`` if that takes a restart."""
        return False

    @abstractmethod
    async def close(self) -> None:
        """Release everything; what a disk buffer holds stays there. Safe twice, and without open."""


def account_for(batches: Iterable[tuple[Account, int]], dropped: Dropped) -> None:
    """Account for what a chunk was made of: delivered, apart from ``dropped``.

    Which of the batches the dropped events belong to is not known, so the first ones are charged.

    Args:
        batches: the account of each, and how many events of it are in the chunk.
        dropped: events by reason.
    """
    left = Counter(dropped)
    for account, events in batches:
        for reason in list(left):
            charged = min(events, left[reason])
            account.drop(charged, reason)
            events -= charged  # noqa: PLW2901
            left[reason] -= charged
        account.deliver(events)
