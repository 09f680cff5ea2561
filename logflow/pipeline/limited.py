"""Calls of a user's code, each in a thread and for a limited time.

::

    call ──► thread ──► in time: its result
                 └────► too late: the call fails, and the thread is left to itself; the next call gets another

A thread that was left to itself is told to end. That works where Python code runs in it, and not within a C
function that does not come back: so few threads may be in this state, and while they are, nothing is called.
The threads do not keep the process from ending. A C function that keeps the interpreter's lock (such as a
regular expression of ``re``) holds up everything else, whatever thread it runs in.
"""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable
from concurrent.futures import CancelledError, Future, InvalidStateError
from contextlib import suppress
from queue import SimpleQueue
from typing import Any, TypeVar

from logflow.errors import Abandoned, LogflowError

T = TypeVar("T")

_MOST_HANGING = 4


class TookTooLong(LogflowError):
    """A call did not come back in time."""


class LimitedCalls:
    """Calls one thing at a time, and waits for it no longer than ``timeout_s``."""

    def __init__(self, timeout_s: float, name: str) -> None:
        """``name`` is that of the threads."""
        self._timeout_s = timeout_s
        self._name = name
        self._worker: _Worker | None = None
        self._waiting: Future[Any] | None = None
        self._hanging: list[_Worker] = []

    def __call__(self, function: Callable[[], T]) -> T:
        """Call ``function`` and return what it returns, or raise what it raises.

        Raises:
            TookTooLong: it did not come back in time, or too many calls before it have not come back.
        """
        self._hanging = [worker for worker in self._hanging if worker.thread.is_alive()]
        if len(self._hanging) >= _MOST_HANGING:
            raise TookTooLong(f"it is not asked any more, as {_MOST_HANGING} calls of it hang")
        if self._worker is None:
            self._worker = _Worker(self._name)
        self._waiting = future = self._worker.begin(function)
        try:
            return future.result(self._timeout_s)
        except TimeoutError:
            if future.done():  # it is the function that raised it
                raise
            self._abandon()
            raise TookTooLong(f"it took longer than {self._timeout_s:g} s") from None
        except CancelledError:
            raise TookTooLong("it did not come back before the stop") from None

    def close(self) -> None:
        """Wait no longer, and let the thread end. Safe twice, and from another thread than that of a call."""
        if self._waiting is not None and self._waiting.cancel():
            self._abandon()
        elif self._worker is not None:
            self._worker.end()
            self._worker = None

    def _abandon(self) -> None:
        worker, self._worker = self._worker, None
        if worker is not None:
            worker.abandon()
            self._hanging.append(worker)


class _Worker:
    """A thread that makes one call after the other."""

    def __init__(self, name: str) -> None:
        self._calls: SimpleQueue[tuple[Callable[[], Any], Future[Any]] | None] = SimpleQueue()
        self.thread = threading.Thread(target=self._run, name=name, daemon=True)
        self.thread.start()

    def begin(self, function: Callable[[], T]) -> Future[T]:
        future: Future[T] = Future()
        self._calls.put((function, future))
        return future

    def end(self) -> None:
        self._calls.put(None)

    def abandon(self) -> None:
        """Interrupt what runs, as far as that is possible, and call nothing more."""
        self.end()
        identity = ctypes.c_ulong(self.thread.ident or 0)
        ctypes.pythonapi.PyThreadState_SetAsyncExc(identity, ctypes.py_object(Abandoned))

    def _run(self) -> None:
        try:
            while (call := self._calls.get()) is not None:
                function, future = call
                try:
                    result = function()
                except Abandoned:
                    raise
                except BaseException as error:
                    with suppress(InvalidStateError):  # cancelled: nobody waits
                        future.set_exception(error)
                else:
                    with suppress(InvalidStateError):
                        future.set_result(result)
                del call, function, future
        except Abandoned:
            pass  # nobody waits for the result
