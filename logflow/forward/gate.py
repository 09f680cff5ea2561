"""A bound on the memory that large frames take, over all connections of a source.

Each client may have one frame on its way and one that waits to be handed on; with a hundred clients and
8 MiB each that is more than a machine may have to spare, above all when the outputs stand still. So a
large frame needs a pass before it is read any further; without one, its rest stays in the client's
socket until others have been dealt with. Who waits longest goes first.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable


class Pass:
    """The right to hold one large frame; give it back with :meth:`leave`."""

    def __init__(self, gate: Gate, size: int, admit: Callable[[], None]) -> None:
        self._gate = gate
        self._admit = admit
        self.size = size
        self.admitted = False

    def leave(self) -> None:
        """The frame takes no memory any more, or will never come."""
        self._gate.leave(self)

    def open(self) -> None:
        """Tell whoever waits that it may go on."""
        self.admitted = True
        self._admit()


class Gate:
    """Admits large frames up to a limit; one that is larger than the limit comes in alone.

    Attributes:
        held: bytes of the frames that were admitted.
    """

    def __init__(self, limit: int) -> None:
        """Admit ``limit`` bytes at once."""
        self._limit = limit
        self._waiting: deque[Pass] = deque()
        self.held = 0

    def enter(self, size: int, admit: Callable[[], None]) -> Pass:
        """Ask for room for ``size`` bytes.

        The pass says whether there is some already; if not, ``admit`` is called when there is.
        """
        entry = Pass(self, size, admit)
        if self._waiting or not self._fits(size):
            self._waiting.append(entry)
        else:
            self.held += size
            entry.admitted = True
        return entry

    def leave(self, entry: Pass) -> None:
        """Give back what a pass stands for, whether it was admitted or still waits."""
        if entry.admitted:
            self.held -= entry.size
            entry.admitted = False
        elif entry in self._waiting:
            self._waiting.remove(entry)
        self._admit_next()

    def _admit_next(self) -> None:
        while self._waiting and self._fits(self._waiting[0].size):
            entry = self._waiting.popleft()
            self.held += entry.size
            entry.open()

    def _fits(self, size: int) -> bool:
        return not self.held or self.held + size <= self._limit
