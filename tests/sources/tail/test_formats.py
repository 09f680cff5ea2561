"""Which format a log file is taken for."""

from __future__ import annotations

import pytest

from logflow.engine.api import LineFormat
from logflow.sources.tail.formats import DETECT_BYTES, detect


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        (b"2026-01-01T00:00:00.000000001Z stdout F hello\n", "cri"),
        (b'{"log":"hello\\n","stream":"stdout","time":"2026-01-01T00:00:00Z"}\n', "docker"),
        (b'{"level":"info"}\n', "plain"),
        (b"", None),
        (b"no newline yet", None),
    ],
)
def test_the_first_lines_decide(head: bytes, expected: LineFormat | None) -> None:
    assert detect(head) == expected


@pytest.mark.parametrize("text", [b"\xc3\x28", b"\xff", b"\xed\xa0\x80", b"\\ud800"])
def test_text_that_is_not_unicode_does_not_stop_the_source(text: bytes) -> None:
    assert detect(b'{"k":"' + text + b'"}\n') == "plain"
    assert detect(b'{"' + text + b'":1}\n') == "plain"


def test_a_docker_line_with_invalid_utf8_is_one() -> None:
    assert detect(b'{"log":"a \xc3\x28\\n","stream":"stdout","time":"2026-01-01T00:00:00Z"}\n') == "docker"


def test_a_line_longer_than_what_is_looked_at_may_be_cut_within_a_character() -> None:
    head = b'{"log":"' + "\u00e9".encode() * DETECT_BYTES
    assert detect(head[: DETECT_BYTES - 1]) is None
    assert detect(head[: DETECT_BYTES + 1][-DETECT_BYTES - 1 :]) == "docker"


def test_deep_nesting_is_plain() -> None:
    assert detect(b'{"a":' * 10_000 + b"\n") == "plain"


@pytest.mark.parametrize(
    "line",
    [
        b'{"log":"x","time":"2026-01-01T00:00:00Z"}',
        b'{"log":"x","time":"yesterday","stream":"stdout"}',
        b'{"log":"x","time":"2026-01-01T00:00:00Z","stream":"audit"}',
    ],
)
def test_an_applications_own_log_and_time_are_not_dockers(line: bytes) -> None:
    assert detect(line + b"\n") == "plain"


def test_a_byte_order_mark_is_no_part_of_the_first_line() -> None:
    assert detect(b"\xef\xbb\xbf2026-01-01T00:00:00.000000001Z stdout F hello\n") == "cri"
