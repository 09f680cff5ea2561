"""Every exception that logflow raises on purpose.

::

    LogflowError
    ├── ConfigError            the configuration cannot be used; carries every problem found
    ├── ComponentError         a component cannot start or go on (a port in use, a missing file)
    │   └── OutputEnded        ... and never will: what it writes to is gone for good
    ├── DeliveryError          an output could not deliver a chunk: it is tried again
    │   ├── RetryAfter         ... and the destination said when
    │   ├── Undecided          ... so far: it may have been delivered, and asking again costs nothing
    │   ├── PartialDelivery    ... and only the rest is tried again (in batch.py, as it carries chunks)
    │   └── ChunkTooLarge      ... as the destination takes no chunks of this size: it gets smaller ones
    ├── PermanentError         an output can never deliver this chunk: it goes to the dead letters
    ├── MalformedData          received or stored bytes are not what they should be
    │   └── LimitExceeded      ... or they are larger or deeper than allowed
    └── Unsupported            the native engine cannot express this; the Python twin does the work
"""

from __future__ import annotations


class LogflowError(Exception):
    """The base of all; its text is one line that tells the user what, where and what to do."""


class ConfigError(LogflowError):
    """The configuration cannot be used. ``problems`` holds one line for each mistake."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class ComponentError(LogflowError):
    """A component cannot start or go on."""


class Abandoned(BaseException):
    """Raised within a call that nobody waits for any more; not to be caught."""


class OutputEnded(ComponentError):
    """An output can never go on, as with standard output that nobody reads: the service ends."""


class DeliveryError(LogflowError):
    """A chunk was not delivered; the flusher tries again with back-off."""


class RetryAfter(DeliveryError):
    """Not delivered, and the destination asked for a pause of ``delay_s`` seconds."""

    def __init__(self, message: str, delay_s: float) -> None:
        super().__init__(message)
        self.delay_s = delay_s


class Undecided(DeliveryError):
    """The destination may have the chunk and has not said so yet: ask again after ``delay_s`` seconds.

    Asking again does not mean sending again. Meanwhile the chunk waits where it came from.
    """

    def __init__(self, message: str, delay_s: float) -> None:
        super().__init__(message)
        self.delay_s = delay_s


class ChunkTooLarge(DeliveryError):
    """The destination takes no chunks of this size.

    The chunk is halved, between events, until it goes through; a single event that is too large becomes a
    dead letter. ``limit_hint``: most bytes of packed entries that will be taken, where that is known.
    """

    def __init__(self, message: str, limit_hint: int | None = None) -> None:
        super().__init__(message)
        self.limit_hint = limit_hint


class PermanentError(LogflowError):
    """The destination will never take this chunk; trying again is useless."""


class MalformedData(LogflowError):
    """Bytes that were received or stored are not what they should be."""


class LimitExceeded(MalformedData):
    """Bytes that were received are larger, deeper or more than the configured limit."""


class Unsupported(LogflowError):
    """The native engine cannot express what was asked; the text says why."""


def what_happened(error: BaseException) -> str:
    """One line about an error: what the system says without its number, or the type if it says nothing."""
    if isinstance(error, OSError) and error.strerror:
        text = f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    else:
        text = str(error)
    return " ".join(text.split()).rstrip(".") or type(error).__name__


def counted(number: int, noun: str, verb: str = "") -> str:
    """A number with its noun, and its verb if that follows: ``1 event waits``, ``2,000 events wait``."""
    if number == 1:
        return f"1 {noun} {verb}s" if verb else f"1 {noun}"
    return f"{number:,} {noun}s {verb}".rstrip()
