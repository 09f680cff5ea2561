"""The contract of buffers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

from logflow.batch import Batch, Chunk
from logflow.receipt import Receipt
from logflow.telemetry.ledger import Account


@dataclass(frozen=True, slots=True)
class Waiting:
    """How much a buffer holds.

    Attributes:
        events: events not yet delivered, those in flight included.
        size: bytes of their packed entries.
        limit: most bytes it may hold.
        oldest_s: age of the oldest waiting batch in seconds; 0.0 when empty.
    """

    events: int
    size: int
    limit: int
    oldest_s: float


class Buffer(ABC):
    """Ordered chunks between routes and one output. All calls are made on the event loop's thread.

    The router calls :meth:`put`, the flusher :meth:`take` and then exactly one of :meth:`commit`,
    :meth:`discard` or :meth:`put_back` for every chunk.

    Order: chunks of one tag are handed out one at a time, in the order in which their events came; the
    next only after the one before was committed, discarded or put back. Those of different tags may be
    in flight at once.

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
        """Whether :meth:`put` would wait now. Never with a policy that drops."""

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
    async def take(self) -> Chunk:
        """Wait for the next chunk: whatever has gathered, up to ``chunk_limit``.

        The chunk's id, and what it is made of, are durable before this returns.
        """

    @abstractmethod
    async def commit(self, chunk: Chunk) -> None:
        """The chunk was delivered; its space may be used again."""

    @abstractmethod
    async def discard(self, chunk: Chunk, reason: str) -> None:
        """The chunk was dealt with in another way (dead letter, drop); accounted under ``reason``."""

    @abstractmethod
    def put_back(self, chunk: Chunk) -> None:
        """The chunk was not delivered and will be taken again, as it is, before its successors."""

    @property
    @abstractmethod
    def waiting(self) -> Waiting:
        """How much waits."""

    @abstractmethod
    async def close(self) -> None:
        """Release everything; what a disk buffer holds stays there. Safe twice, and without open."""
