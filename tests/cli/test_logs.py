"""logflow's own log."""

from __future__ import annotations

import io
import json
import logging
import re
from collections.abc import Iterator

import pytest

from logflow.cli.logs import set_up_logging
from logflow.config.models import LogOptions

TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"


@pytest.fixture(autouse=True)
def _restore() -> Iterator[None]:
    """Leave logging as it was found."""
    root, own = logging.getLogger(), logging.getLogger("logflow")
    handlers, levels = root.handlers[:], (root.level, own.level)
    yield
    root.handlers[:] = handlers
    root.setLevel(levels[0])
    own.setLevel(levels[1])
    logging.captureWarnings(capture=False)


def written(options: LogOptions, level: int, message: str, name: str = "logflow.service") -> str:
    stream = io.StringIO()
    set_up_logging(options, stream)
    logging.getLogger(name).log(level, message)
    return stream.getvalue()


def test_text_is_a_line_with_time_level_and_place() -> None:
    line = written(LogOptions(), logging.INFO, "It starts.")
    assert re.fullmatch(rf"{TIME} INFO    service: It starts\.\n", line)


def test_json_is_an_object_a_line() -> None:
    line = written(LogOptions(format="json"), logging.ERROR, 'It "ends"\n.')
    fields = json.loads(line)
    assert re.fullmatch(TIME, fields.pop("time"))
    assert fields == {"level": "error", "logger": "logflow.service", "message": 'It "ends"\n.'}
    assert line.count("\n") == 1


def test_what_comes_from_input_cannot_forge_a_line() -> None:
    line = written(LogOptions(), logging.INFO, "Tag a\nb\x1b[31m\u2028.")
    assert line.endswith("service: Tag a\\nb\\x1b[31m\\u2028.\n")


@pytest.mark.parametrize("options", [LogOptions(), LogOptions(format="json")])
def test_a_traceback_is_kept(options: LogOptions) -> None:
    stream = io.StringIO()
    set_up_logging(options, stream)
    try:
        raise ValueError("inner")
    except ValueError:
        logging.getLogger("logflow.x").exception("It failed.")
    assert "ValueError: inner" in stream.getvalue()


def test_the_level_is_for_logflow_and_libraries_are_heard_from_warning_on() -> None:
    assert written(LogOptions(level="warning"), logging.INFO, "No.") == ""
    assert written(LogOptions(level="debug"), logging.DEBUG, "Yes.")
    assert written(LogOptions(level="debug"), logging.INFO, "No.", "aiohttp.access") == ""
    assert written(LogOptions(level="error"), logging.WARNING, "Yes.", "asyncio")
