"""What the engine compiles for filters: each takes packed entries and returns packed entries.

:class:`~logflow.engine.api.Engine` makes them. They may be used from any thread unless they say otherwise.
"""

from __future__ import annotations

from typing import Literal, NamedTuple, Protocol, TypeAlias, get_args


class Regex(Protocol):
    """A compiled pattern of the dialect of :mod:`logflow.regexes`; searched anywhere in a text."""

    def found(self, text: str) -> bool:
        """Whether the pattern is found in a text."""
        ...

    def fields(self, text: str) -> dict[str, str] | None:
        """Texts of the named groups that took part, in order; ``None`` if the pattern is not found."""
        ...


class Grep(Protocol):
    """A compiled grep: keeps the events that match."""

    def apply(self, entries: bytes) -> tuple[bytes, int]:
        """Return the kept entries and their number (the input itself when all are kept)."""
        ...

    def present(self) -> list[int]:
        """In how many events so far each rule's field was there, those of ``keep`` first."""
        ...


class Modify(Protocol):
    """A compiled list of changes to records."""

    def apply(self, entries: bytes, tag: str) -> bytes:
        """Return the entries with every record changed; their number stays the same."""
        ...

    def present(self) -> list[int]:
        """In how many events so far each change found its field, or could be made."""
        ...


class FieldParser(Protocol):
    """A compiled parser of one field."""

    def apply(self, entries: bytes) -> tuple[bytes, int, int]:
        """Return the entries, their number, and how many fields did not parse."""
        ...

    def present(self) -> list[int]:
        """In how many events so far the field was there."""
        ...


class Condition(Protocol):
    """A compiled condition; may be used from any thread."""

    def split(self, entries: bytes, tag: str, source: str | None, now_ns: int) -> tuple[bytes, int, bytes]:
        """Divide entries: those for which the expression is true, their number, and the others.

        Args:
            entries: canonical entries; each stays byte for byte as it is, and in order.
            tag: their tag.
            source: name of their source, if it is known.
            now_ns: the current time, for ``now()``.
        """
        ...

    def mark(self, entries: bytes, tag: str, source: str | None, now_ns: int) -> bytes:
        """Return a byte for each entry: 1 if the expression is true for it, else 0."""
        ...

    def keep(self, entries: bytes, tag: str, source: str | None, now_ns: int) -> tuple[bytes, int]:
        """Return only the entries for which the expression is true, and their number."""
        ...


class Assignment(Protocol):
    """Compiled fields with their expressions; may be used from any thread."""

    def apply(self, entries: bytes, tag: str, source: str | None, now_ns: int) -> bytes:
        """Return the entries with the fields of every record set."""
        ...


DetectorName: TypeAlias = Literal["email", "card", "iban", "ip", "jwt", "bearer", "aws_key", "private_key"]
DETECTORS: tuple[DetectorName, ...] = get_args(DetectorName)
"""What :meth:`Engine.redaction` can look for; ``_python.detectors`` says what each finds."""

RedactAction: TypeAlias = Literal["mask", "hash", "remove"]


class OwnPattern(NamedTuple):
    """A pattern of the user's to look for."""

    name: str
    pattern: str
    in_pieces: bool
    """Whether texts above 4 KiB are searched in pieces that end between words: for patterns whose time may
    grow with the square of the text."""


class Redaction(Protocol):
    """Compiled detectors; may be used from any thread."""

    def apply(self, entries: bytes, key: bytes) -> tuple[bytes, list[int]]:
        """Return the entries, and how often each detector and each pattern was replaced.

        Entries in which nothing is found come back themselves. ``key`` is that of ``hash``.
        """
        ...


class Limited(NamedTuple):
    """Entries within limits, and what was cut of them."""

    entries: bytes
    texts: int
    """Texts that were cut."""
    containers: int
    """Maps and arrays that became their JSON."""
    fields: int
    """Fields and items that were left out."""


class Limiter(Protocol):
    """Compiled limits; may be used from any thread."""

    def apply(self, entries: bytes) -> Limited:
        """Cut what is beyond the limits; entries within them come back themselves."""
        ...


class Computation(Protocol):
    """A compiled expression whose value is wanted; may be used from any thread."""

    def values(self, entries: bytes, tag: str, source: str | None, now_ns: int) -> list[bytes]:
        """Return the packed value of the expression for each entry."""
        ...
