"""The allocator of the C library: what large blocks took goes back to the system when they are freed.

It keeps blocks of up to 32 MiB once it has seen some of that size, for each thread by itself, and what is
freed lies between what is not. So a process that opens large requests kept twice the memory it may have.
Source: "mallopt" in the manual of the GNU C library; others do not have it, or do without.
"""

from __future__ import annotations

import ctypes

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
_LARGE_BYTES = 4 << 20


def give_back_large_blocks() -> None:
    """Map blocks of 4 MiB and more by themselves, whatever sizes are used later."""
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError):
        return
    mallopt(_MMAP_THRESHOLD, _LARGE_BYTES)
    mallopt(_TRIM_THRESHOLD, _LARGE_BYTES)
