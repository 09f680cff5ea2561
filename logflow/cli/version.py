"""Which version, engine and Python: for ``logflow --version`` and the first line of the log."""

from __future__ import annotations

import os
import platform
from importlib.machinery import PathFinder
from importlib.util import module_from_spec
from pathlib import Path

import logflow

_NATIVE = "logflow.engine._native"


def version_line(preference: str = "auto") -> str:
    """Name the version, the engine and Python.

    Args:
        preference: the configuration's ``engine``.
    """
    python = platform.python_version()
    return f"logflow {logflow.__version__} (engine: {engine_line(preference)}, Python {python})"


def engine_line(preference: str = "auto") -> str:
    """Name the engine that would be used, and say why when it is not the native one.

    Follows :func:`logflow.engine.load_engine` without importing the engines, which takes ten times as
    long as all else that ``logflow --version`` does.
    """
    forced = os.environ.get("LOGFLOW_ENGINE")
    if (forced or preference) == "python":
        return f"python, as {'LOGFLOW_ENGINE' if forced else 'the configuration'} says"
    missing = _why_not_native()
    if missing is None:
        return "native"
    needed = (forced or preference) == "native" or os.environ.get("LOGFLOW_REQUIRE_NATIVE") == "1"
    return f"{'none' if needed else 'python'}, as the native one {missing}"


def _why_not_native() -> str | None:
    spec = PathFinder.find_spec(_NATIVE, [str(Path(logflow.__file__).parent / "engine")])
    if spec is None or spec.loader is None:
        return "was not built"
    try:
        module_from_spec(spec)
    except ImportError as error:
        return f"cannot be loaded: {error}"
    return None
