"""How logflow's own log is written: to stderr, as text for people or JSON for collectors.

::

    text  2026-01-31T12:00:00.000Z INFO    x: A sentence.
    json  {"time":"2026-01-31T12:00:00.000Z","level":"info","logger":"logflow.x","message":"A sentence."}
"""

from __future__ import annotations

import logging
import re
import sys
from datetime import UTC, datetime
from typing import TextIO

import msgspec

from logflow.config.models import LogOptions

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")


class TextFormatter(logging.Formatter):
    """One line per message; control characters are escaped, so that input cannot forge a line."""

    def format(self, record: logging.LogRecord) -> str:
        """Format a record; a traceback, if there is one, follows on lines of its own."""
        name = record.name.removeprefix("logflow.")
        message = _CONTROL.sub(lambda match: repr(match[0])[1:-1], record.getMessage())
        line = f"{_time(record)} {record.levelname:<7} {name}: {message}"
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


class JsonFormatter(logging.Formatter):
    """One JSON object per message."""

    def format(self, record: logging.LogRecord) -> str:
        """Format a record; a traceback, if there is one, is the field ``exception``."""
        fields = {
            "time": _time(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            fields["exception"] = self.formatException(record.exc_info)
        return msgspec.json.encode(fields).decode()


def _time(record: logging.LogRecord) -> str:
    return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")[:-6] + "Z"


def set_up_logging(options: LogOptions, stream: TextIO | None = None) -> None:
    """Send the log of ``logflow`` and of the libraries it uses to ``stream`` (stderr unless given).

    Libraries are heard from ``warning`` on, whatever the level.
    """
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonFormatter() if options.format == "json" else TextFormatter())
    logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)
    logging.getLogger("logflow").setLevel(options.level.upper())
    logging.captureWarnings(capture=True)
