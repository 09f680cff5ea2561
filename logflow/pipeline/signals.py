"""Which signals the service takes, and how they wait until it can."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager

STOPPING = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT)
SIGNALS = (*STOPPING, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGWINCH)


@contextmanager
def held_back() -> Iterator[None]:
    """Keep signals waiting that come before there is anybody to take them.

    They would end the process with a status that looks like a failure; the first process of a
    container would even miss them for good, as the system drops what it has no handler for.
    """
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


@contextmanager
def let_through() -> Iterator[None]:
    """Have signals delivered, also those that waited: there are handlers now."""
    mask = signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
