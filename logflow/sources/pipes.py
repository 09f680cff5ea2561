"""Reading and writing descriptors that are not ours to make non-blocking.

Standard input and output are shared with other processes, so they stay blocking: they are only
touched when ``poll`` says that it will not wait. That is also right for regular files, which the
event loop cannot watch but which are always ready.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import select
from collections.abc import Collection
from contextlib import suppress

PIPE_BYTES = 1 << 20
"""The most that the system lets a pipe hold by default (``fs.pipe-max-size``)."""

_WRITE_BYTES = 4096
"""A pipe that is ready takes this much (``PIPE_BUF``)."""


def widen(fd: int) -> None:
    """Let a pipe hold more, so that fewer and larger reads empty it; nothing else is changed."""
    with suppress(OSError):
        fcntl.fcntl(fd, fcntl.F_SETPIPE_SZ, PIPE_BYTES)


def ready(fds: Collection[int]) -> list[int]:
    """Which descriptors have data or are at their end."""
    return _poll(fds, select.POLLIN)


async def readable(fds: Collection[int]) -> list[int]:
    """Wait until at least one descriptor has data or is at its end; which ones."""
    while not (now := ready(fds)):
        loop = asyncio.get_running_loop()
        woken = asyncio.Event()
        for fd in fds:
            loop.add_reader(fd, woken.set)
        try:
            await woken.wait()
        finally:
            for fd in fds:
                loop.remove_reader(fd)
    return now


async def write_all(fd: int, data: bytes) -> None:
    """Write all of ``data``, waiting as long as nobody takes it.

    Raises:
        OSError: the other end is gone, or the disk is full.
    """
    view = memoryview(data)
    while view:
        if not _poll([fd], select.POLLOUT):
            await _writable(fd)
            continue
        view = view[os.write(fd, view[:_WRITE_BYTES]) :]


async def _writable(fd: int) -> None:
    loop = asyncio.get_running_loop()
    woken = asyncio.Event()
    loop.add_writer(fd, woken.set)
    try:
        await woken.wait()
    finally:
        loop.remove_writer(fd)


def _poll(fds: Collection[int], event: int) -> list[int]:
    poll = select.poll()
    for fd in fds:
        poll.register(fd, event)
    return [fd for fd, _ in poll.poll(0)]
