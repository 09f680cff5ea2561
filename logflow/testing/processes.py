"""Child processes that do not outlive their parent, and ways to wait for them."""

from __future__ import annotations

import ctypes
import http.client
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import BinaryIO

from logflow.errors import ComponentError

_POLL_S = 0.02
_LOG_TAIL_LINES = 5
_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True)


class Process:
    """One child process, which can be started again; what it prints is appended to a file.

    It has a session of its own, so that Ctrl-C reaches the parent alone, and the kernel kills it when
    the parent's thread that started it ends.
    """

    def __init__(
        self, name: str, argv: Sequence[str], *, log: Path, env: Mapping[str, str] | None = None
    ) -> None:
        self.name = name
        self.log = log
        self._argv = list(argv)
        self._env = {**os.environ, **(env or {})}
        self._popen: subprocess.Popen[bytes] | None = None

    def start(self, stdin: BinaryIO | int = subprocess.DEVNULL) -> None:
        """Start it; it must not be running."""
        assert not self.running
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as log, _interrupts_held_back() as mask:
            self._popen = subprocess.Popen(  # noqa: S603 - the caller's own command
                self._argv, env=self._env, stdin=stdin, stdout=log, stderr=log,
                start_new_session=True, preexec_fn=lambda: _prepare(mask),  # noqa: PLW1509 - two system calls
            )  # fmt: skip

    @property
    def running(self) -> bool:
        """Whether it was started and has not ended."""
        return self._popen is not None and self._popen.poll() is None

    @property
    def pid(self) -> int:
        """Its process id."""
        assert self._popen is not None
        return self._popen.pid

    def send(self, number: signal.Signals) -> None:
        """Send it a signal, if it runs."""
        if self._popen is not None:
            self._popen.send_signal(number)

    def kill(self) -> None:
        """End it with SIGKILL and wait until it is gone."""
        self.send(signal.SIGKILL)
        self.wait(10.0)

    def wait(self, timeout_s: float) -> int:
        """Wait until it ends; returns its exit status, negative for a signal.

        Raises:
            ComponentError: it did not end in time.
        """
        if self._popen is None:
            return 0
        try:
            return self._popen.wait(timeout_s)
        except subprocess.TimeoutExpired:
            raise ComponentError(
                f"{self.name} did not end within {timeout_s:g} s; its log is {self.log}"
            ) from None

    def wait_for_http(self, port: int, path: str, timeout_s: float) -> None:
        """Wait until it answers 200 at 127.0.0.1.

        Raises:
            ComponentError: it ended, or did not answer in time; the text holds the end of its log.
        """
        self.wait_for(lambda: answers(port, path), f"answer on port {port}", timeout_s)

    def wait_for(self, condition: Callable[[], bool], what: str, timeout_s: float) -> None:
        """Wait until ``condition()`` while the process runs.

        Raises:
            ComponentError: it ended, or the time is up; the text holds the end of its log.
        """
        deadline_s = time.monotonic() + timeout_s
        while not condition():
            self.check_running()
            if time.monotonic() > deadline_s:
                raise self._problem(f"did not {what} within {timeout_s:g} s")
            time.sleep(_POLL_S)

    def check_running(self) -> None:
        """Make sure that it runs.

        Raises:
            ComponentError: it ended; the text holds the end of its log.
        """
        if not self.running:
            raise self._problem("ended")

    def _problem(self, what: str) -> ComponentError:
        lines = self.log.read_text(errors="replace").splitlines() if self.log.exists() else []
        end = " | ".join(lines[-_LOG_TAIL_LINES:]) or "(it is empty)"
        return ComponentError(f"{self.name} {what}; its log {self.log} ends with: {end}")


def stop_all(processes: Iterable[Process], timeout_s: float) -> list[Process]:
    """End processes with SIGTERM, and with SIGKILL those that do not end in time.

    Returns:
        The processes that had to be killed.
    """
    running = [process for process in processes if process.running]
    for process in running:
        process.send(signal.SIGTERM)
    deadline_s = time.monotonic() + timeout_s
    while any(process.running for process in running) and time.monotonic() < deadline_s:
        time.sleep(_POLL_S)
    late = [process for process in running if process.running]
    for process in late:
        process.kill()
    return late


def answers(port: int, path: str) -> bool:
    """Whether 127.0.0.1 answers 200 to a GET."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=1.0)
    try:
        connection.request("GET", path)
        return connection.getresponse().status == http.HTTPStatus.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def free_ports(count: int) -> list[int]:
    """Different TCP ports that nobody listens on at 127.0.0.1 at this moment."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


@contextmanager
def _interrupts_held_back() -> Iterator[set[int | signal.Signals]]:
    """Hold interrupts back between a fork and the moment at which the child is known.

    An exception in between would leave the child behind; and Python itself swallows one that is raised in
    its own functions around a fork.
    """
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    try:
        yield mask
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def _prepare(mask: set[int | signal.Signals]) -> None:
    """In the child: take signals again, and die with the parent."""
    signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
