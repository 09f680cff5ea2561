"""What targets have in common."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from logflow.component import Context
from logflow.testing import make_context


@dataclass(frozen=True)
class Target:
    """A function to feed.

    Attributes:
        name: what it is called on the command line, and its directory of seeds.
        feed: takes an input; whatever it raises is a fault.
        seeds: inputs to begin with.
    """

    name: str
    feed: Callable[[bytes], None]
    seeds: Sequence[bytes]


@cache
def directory() -> Path:
    """A directory for files, gone at the end."""
    made = Path(tempfile.mkdtemp(prefix="logflow-fuzz-"))
    atexit.register(shutil.rmtree, made, ignore_errors=True)
    return made


@cache
def context(engine: str) -> Context:
    """A context with one of the engines."""
    return make_context(directory(), engine=engine)


def engines() -> Sequence[str]:
    """Both engines, if there are two."""
    return ("python", "native") if context("auto").engine.name == "native" else ("python",)


def cut(data: bytes) -> Sequence[bytes]:
    """The data in parts, whose sizes its first byte decides."""
    if not data:
        return ()
    size = data[0] + 1
    return [data[start : start + size] for start in range(1, len(data), size)]
