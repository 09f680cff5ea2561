"""How delivery goes: what ``/api/status``, health and the log say about one output."""

from __future__ import annotations

import logging

from logflow.clock import Clock
from logflow.errors import LogflowError, what_happened

_LOG_AGAIN_S = 60.0


class DeliveryStatus:
    """What is known about the deliveries of one output.

    Attributes:
        opened: the output was opened.
        problem: the last error, while something fails; ``None`` when nothing does.
        failing_since_s: monotonic time of the first failure since nothing failed.
        progress_s: monotonic time at which a chunk was last dealt with.
        chunks: chunks delivered.
        retries: deliveries that failed and were or will be tried again.
        letters: dead letters written.
        letters_s: monotonic time of the last one; ``None`` if there was none.
    """

    def __init__(self, name: str, clock: Clock, log: logging.Logger) -> None:
        """Know nothing yet about the output called ``name``."""
        self.opened = False
        self.problem: str | None = None
        self.failing_since_s: float | None = None
        self.progress_s = clock.monotonic()
        self.chunks = 0
        self.retries = 0
        self.letters = 0
        self.letters_s: float | None = None
        self._name = name
        self._clock = clock
        self._log = log
        self._logged_s = -_LOG_AGAIN_S
        self._logged = False

    def failed(self, error: BaseException, what: str) -> None:
        """Something went wrong; an outage is one line a minute in the log, not one a chunk."""
        now_s = self._clock.monotonic()
        if self.failing_since_s is None:
            self.failing_since_s = now_s
        self.problem = describe(error)
        if now_s - self._logged_s >= _LOG_AGAIN_S:
            self._logged_s, self._logged = now_s, True
            self._log.warning("Output %s %s: %s.", self._name, what, self.problem)
        if not isinstance(error, LogflowError | OSError | TimeoutError):
            self._log.debug("Output %s raised.", self._name, exc_info=error)

    def succeeded(self) -> None:
        """Nothing fails any more."""
        if self.failing_since_s is not None and self._logged:
            outage_s = self._clock.monotonic() - self.failing_since_s
            self._log.info("Output %s works again after %.1f s.", self._name, outage_s)
            self._logged = False
        self.problem = self.failing_since_s = None

    def dealt_with(self, delivered: int) -> None:
        """Chunks have left the buffer, ``delivered`` of them because they were delivered."""
        self.chunks += delivered
        self.progress_s = self._clock.monotonic()

    def wrote_letter(self) -> None:
        """A dead letter was written."""
        self.letters += 1
        self.letters_s = self._clock.monotonic()


def describe(error: BaseException) -> str:
    """One line about an error, with its type where the text alone would say little.

    Of a group it is the first error, as "unhandled errors in a TaskGroup" says nothing.
    """
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    if isinstance(error, TimeoutError) and not str(error):
        return "it took longer than write_timeout"
    text, kind = what_happened(error), type(error).__name__
    said = isinstance(error, LogflowError) or (isinstance(error, OSError) and error.strerror)
    return text if said or text == kind else f"{kind}: {text}"
