"""What is said about errors."""

from __future__ import annotations

import pytest

from logflow.errors import MalformedData, what_happened


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (OSError(28, "No space left on device"), "No space left on device"),
        (OSError(13, "Permission denied", "/var/log/a"), "/var/log/a: Permission denied"),
        (OSError("odd"), "odd"),
        (MemoryError(), "MemoryError"),
        (MalformedData(""), "MalformedData"),
        (MalformedData("two\nlines."), "two lines"),
    ],
)
def test_it_is_one_line_that_says_something(error: BaseException, text: str) -> None:
    assert what_happened(error) == text
