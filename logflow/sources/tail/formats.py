"""Which format a log file has, told from its first lines."""

from __future__ import annotations

import re
from codecs import BOM_UTF8
from typing import Any

import msgspec

from logflow.engine.api import LineFormat

DETECT_BYTES = 64 * 1024
"""How much of a file's beginning is looked at."""

_MOST_LINES = 20
_CRI_LINE = re.compile(
    rb"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:\d\d) (?:stdout|stderr) [FP](?:[: \r]|$)"
)
_RFC3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:\d\d)")
_DOCKER_START = re.compile(rb'\s*\{\s*"log"\s*:\s*"')
_decode = msgspec.json.Decoder().decode


def detect(head: bytes, *, whole: bool = False) -> LineFormat | None:
    """Tell the format from a file's beginning; ``None`` as long as it has no whole line.

    The first of up to twenty lines that is a CRI line or a docker object decides; otherwise it is plain. An
    application may itself write JSON with ``log`` and ``time``: docker's has ``stream`` too.

    Args:
        head: the first ``DETECT_BYTES`` of the file, or all that there is.
        whole: the file will not grow: an unterminated line counts too.
    """
    lines = head.removeprefix(BOM_UTF8).split(b"\n")
    unterminated = lines.pop()
    if (whole and head) or (not lines and len(head) >= DETECT_BYTES):
        lines.append(unterminated)
    if not lines:
        return None
    for line in lines[:_MOST_LINES]:
        if _CRI_LINE.match(line):
            return "cri"
        if _is_docker(line, cut=line is unterminated):
            return "docker"
    return "plain"


def _is_docker(line: bytes, *, cut: bool) -> bool:
    if not line.lstrip().startswith(b"{"):
        return False
    try:
        # Given bytes, the decoder lets a UnicodeDecodeError through for some invalid UTF-8.
        value: Any = _decode(line.decode(errors="replace"))
    except (msgspec.DecodeError, RecursionError):
        return cut and _DOCKER_START.match(line) is not None
    return (
        isinstance(value, dict)
        and isinstance(value.get("log"), str)
        and value.get("stream") in {"stdout", "stderr"}
        and isinstance(value.get("time"), str)
        and _RFC3339.fullmatch(value["time"]) is not None
    )
