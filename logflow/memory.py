"""The memory that a process may take for events on their way, divided among those who hold them.

::

    Memory (limit of the process)
    ├── Share (of a source, of a buffer): what it asked for; less if all together asked for too much
    │   ├── Lease   granted: counts against the share
    │   └── Lease   waits in line until others have given something back
    └── Share

Whoever wants to hold something asks *before* allocating it, and for what it will take rather than for
what has arrived: a few kilobytes may decompress to gigabytes. Memory is divided once and not fought
over, so that one source cannot starve another.

Leases grow while data arrives, so all of them might wait for each other and none could finish. To rule
that out, a part of a share is kept for one lease at a time: the one that has waited longest may grow into
it until it shrinks or is released. Small leases have a line and a quarter of the room to themselves, so
that a few large ones that stand still do not stop everybody else; and tiny ones an eighth of it, so that
those who need next to nothing do not wait behind a crowd.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

DEFAULT_LIMIT_BYTES = 512 * 1024 * 1024
"""The limit unless the configuration says another."""

SMALL_BYTES = 256 * 1024
"""Leases up to this are small ones."""

TINY_BYTES = 32 * 1024
"""Leases up to this are tiny ones."""


class Memory:
    """The limit of the whole process."""

    def __init__(self, limit_bytes: int) -> None:
        """Divide ``limit_bytes``."""
        self.limit_bytes = limit_bytes
        self._asked = 0

    def share(self, asked_bytes: int, *, alone_bytes: int = 0) -> Share:
        """Hand out a share; close it when it is not needed any more.

        Args:
            asked_bytes: the most that its leases may hold together.
            alone_bytes: the part of it that only one lease at a time may use.
        """
        self._asked += asked_bytes
        return Share(self, asked_bytes, alone_bytes)

    def granted(self, asked_bytes: int) -> int:
        """How much of a share is there for whoever asked for so much."""
        if self._asked <= self.limit_bytes:
            return asked_bytes
        return asked_bytes * self.limit_bytes // self._asked

    def returned(self, asked_bytes: int) -> None:
        """A share was closed."""
        self._asked -= asked_bytes


class Share:
    """A part of the memory; its leases wait in line for each other.

    Attributes:
        held: bytes that its leases hold.
        grants: how often a lease that waited was granted; if that stands still while some wait, whoever
            holds them up is slow.
    """

    def __init__(self, memory: Memory, asked_bytes: int, alone_bytes: int) -> None:
        self._memory = memory
        self._asked = asked_bytes
        self._alone = alone_bytes
        self._lines: tuple[deque[Lease], ...] = (deque(), deque(), deque())
        self._first: Lease | None = None
        self._granting = False
        self.held = 0
        self.grants = 0

    @property
    def limit_bytes(self) -> int:
        """The most that may be held now."""
        return self._memory.granted(self._asked)

    @property
    def waiting(self) -> int:
        """How many leases wait."""
        return sum(map(len, self._lines))

    @property
    def tight(self) -> bool:
        """Whether more than a quarter is in use: whoever can do with less should."""
        return 4 * self.held > self.limit_bytes

    def lease(self) -> Lease:
        """Make a lease of nothing, to be resized."""
        return Lease(self)

    @asynccontextmanager
    async def hold(self, size_bytes: int) -> AsyncIterator[Lease]:
        """Wait for ``size_bytes``, and give them back at the end of the block."""
        lease = Lease(self)
        try:
            await lease.reach(size_bytes)
            yield lease
        finally:
            lease.release()

    def close(self) -> None:
        """Give the share back to the process. Safe twice."""
        self._memory.returned(self._asked)
        self._asked = 0

    def admit(self, lease: Lease, wanted: int) -> bool:
        """Grant a lease more, if there is room and nobody waits before it."""
        line = self._line(wanted)
        if (line and lease is not self._first) or not self._fits(lease, wanted):
            return False
        self._grant(lease, wanted)
        return True

    def enqueue(self, lease: Lease) -> None:
        """Put a lease into its line."""
        self.withdraw(lease)
        line = self._line(lease.wanted)
        # Whoever was first and needs still more need not wait behind those that it holds up.
        (line.appendleft if lease is self._first else line.append)(lease)
        self.serve()

    def withdraw(self, lease: Lease) -> None:
        """Take a lease out of its line, if it is in one."""
        for line in self._lines:
            if lease in line:
                line.remove(lease)

    def give_back(self, lease: Lease, size: int) -> None:
        """A lease needs only ``size`` bytes from now on."""
        self.held -= lease.size - size
        lease.size = size
        if lease is self._first:
            self._first = None
        self.serve()

    def serve(self) -> None:
        """Grant what those at the head of the lines wait for."""
        if self._granting or not self.waiting:
            return  # a lease that was just granted asks for something else: the loop below goes on
        self._granting = True
        try:
            while any(self._serve(line) for line in self._lines):
                pass
        finally:
            self._granting = False

    def _serve(self, line: deque[Lease]) -> bool:
        if not line:
            return False
        lease = line[0]
        if self._first is None and not self._fits(lease, lease.wanted):
            self._first = lease
        if not self._fits(lease, lease.wanted):
            return False
        line.popleft()
        self.grants += 1
        self._grant(lease, lease.wanted)
        lease.admitted()
        return True

    def _grant(self, lease: Lease, wanted: int) -> None:
        self.held += wanted - lease.size
        lease.size = lease.wanted = wanted

    def _line(self, wanted: int) -> deque[Lease]:
        return self._lines[(wanted > TINY_BYTES) + (wanted > SMALL_BYTES)]

    def _fits(self, lease: Lease, wanted: int) -> bool:
        others = self.held - lease.size
        room = self.limit_bytes
        alone = min(self._alone, room // 2)
        if lease is self._first and alone:
            # What is larger than that part exceeds the limit, one at a time, or all would wait for ever.
            return others + min(wanted, alone) <= room
        room -= alone
        if wanted > SMALL_BYTES:
            room -= room // 4
        elif wanted > TINY_BYTES:
            room -= room // 8
        # What is larger than the whole share comes in alone, or it would never come in.
        return not others or others + wanted <= room


class Lease:
    """The right to hold some memory.

    Attributes:
        size: bytes that were granted.
        wanted: bytes that were asked for last: more than ``size`` while it waits.
    """

    __slots__ = ("_share", "admitted", "size", "wanted")

    def __init__(self, share: Share) -> None:
        self._share = share
        self.size = 0
        self.wanted = 0
        self.admitted: Callable[[], object] = _ignore

    @property
    def waits(self) -> bool:
        """Whether it waits in line."""
        return self.wanted > self.size

    def resize(self, size_bytes: int, admitted: Callable[[], object] | None = None) -> bool:
        """Ask for ``size_bytes`` in all, or give back what is above them.

        Args:
            size_bytes: what will be held from now on.
            admitted: called once there is room, if there is none yet; ``None``: do not wait in line.

        Returns:
            Whether they are granted already.
        """
        if size_bytes == self.size == self.wanted:
            return True
        if self.waits and (admitted is None or size_bytes != self.wanted):
            self._share.withdraw(self)
            self.wanted = self.size
        if size_bytes <= self.size:
            self.wanted = size_bytes
            if size_bytes < self.size:
                self._share.give_back(self, size_bytes)
            return True
        if self.waits:
            return False
        if self._share.admit(self, size_bytes):
            return True
        if admitted is not None:
            self.wanted, self.admitted = size_bytes, admitted
            self._share.enqueue(self)
        return not self.waits and self.size == size_bytes

    async def reach(self, size_bytes: int) -> None:
        """Wait until ``size_bytes`` are granted."""
        granted = asyncio.Event()
        if not self.resize(size_bytes, granted.set):
            await granted.wait()

    def release(self) -> None:
        """Give everything back, and wait no longer. Safe twice."""
        self.resize(0)
        self.admitted = _ignore


def _ignore() -> None:
    pass
