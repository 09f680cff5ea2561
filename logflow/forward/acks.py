"""Answers that wait for their receipts, sent in the order in which the requests came.

Naive clients expect that order. A request that is not safe yet holds back the answers after it, which
costs nothing but time: those events are safe already.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from logflow.receipt import Receipt

MOST_OPEN = 1024
MOST_OPEN_BYTES = 64 * 1024 * 1024


@dataclass(slots=True)
class _Open:
    receipt: Receipt
    answer: bytes
    size: int


class AckQueue:
    """The open requests of one connection."""

    def __init__(self, send: Callable[[bytes], None], changed: Callable[[], None]) -> None:
        """Call ``send`` with each answer, whole, and ``changed`` after some have been sent."""
        self._send = send
        self._changed = changed
        self._open: deque[_Open] = deque()
        self._bytes = 0
        self._closed = False

    def __len__(self) -> int:
        return len(self._open)

    @property
    def full(self) -> bool:
        """Whether no further request should be read now."""
        return len(self._open) >= MOST_OPEN or self._bytes >= MOST_OPEN_BYTES

    def add(self, receipt: Receipt, answer: bytes, size: int) -> None:
        """Send ``answer`` once ``receipt`` and all before it have resolved.

        Args:
            receipt: of the request's batch.
            answer: what to send.
            size: bytes of the request.
        """
        if self._closed:
            return
        self._open.append(_Open(receipt, answer, size))
        self._bytes += size
        receipt.add_done_callback(self._settled)

    def close(self) -> None:
        """The connection is gone: nothing is sent any more."""
        self._closed = True
        self._open.clear()
        self._bytes = 0

    def _settled(self) -> None:
        before = len(self._open)
        while self._open and self._open[0].receipt.done:
            done = self._open.popleft()
            self._bytes -= done.size
            self._send(done.answer)
        if len(self._open) < before:
            self._changed()
