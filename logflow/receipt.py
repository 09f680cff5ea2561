"""Receipts: how a source learns that its events are safe."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator, Sequence


class Receipt:
    """What a source gets back for a batch; resolved once its events are safe in every output.

    ``await receipt`` waits; ``add_done_callback`` is for sources that keep many of them open. Only
    after it may a source report progress: a file position, an ack, a 200 OK. A receipt is never
    failed: what cannot be delivered waits, is put to the dead letters or is dropped for a counted
    reason, and each of the last two settles it.
    """

    __slots__ = ("_callbacks", "_parts")

    def __init__(self, parts: int) -> None:
        """Expect ``parts`` calls of :meth:`settle`; 0 is a receipt that is resolved from the start."""
        self._parts = parts
        self._callbacks: list[Callable[[], None]] = []

    @property
    def done(self) -> bool:
        """Whether the events are safe."""
        return self._parts <= 0

    def expect(self, parts: int = 1) -> None:
        """Expect so many parts more; while the receipt is not done, and on the event loop's thread only."""
        self._parts += parts

    def settle(self) -> None:
        """One output (or buffer) has taken responsibility for the events."""
        self._parts -= 1
        if self._parts == 0:
            callbacks, self._callbacks = self._callbacks, []
            for callback in callbacks:
                callback()

    def add_done_callback(self, callback: Callable[[], None]) -> None:
        """Call ``callback`` once the events are safe; at once if they already are."""
        if self.done:
            callback()
        else:
            self._callbacks.append(callback)

    def __await__(self) -> Generator[object, None, None]:
        if self.done:
            return
        future = asyncio.get_running_loop().create_future()
        self._callbacks.append(lambda: None if future.done() else future.set_result(None))
        yield from future


def all_of(receipts: Sequence[Receipt]) -> Receipt:
    """Make one receipt that is resolved once all of them are."""
    if len(receipts) == 1:
        return receipts[0]
    whole = Receipt(len(receipts))
    for receipt in receipts:
        receipt.add_done_callback(whole.settle)
    return whole
