"""What became of several blocks of lines."""

from __future__ import annotations

from collections.abc import Sequence

from logflow.engine.api import Parsed


def together(results: Sequence[Parsed], carry: bytes) -> Parsed:
    """Return several results as one, with the carry after the last of them."""
    return Parsed(
        b"".join(result.entries for result in results),
        sum(result.events for result in results),
        sum(result.consumed for result in results),
        carry,
        sum(result.lines for result in results),
        sum(result.unparsed for result in results),
        sum(result.malformed for result in results),
        sum(result.truncated for result in results),
    )
