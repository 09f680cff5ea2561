"""The line that ``logflow --version`` prints."""

from __future__ import annotations

import os
import platform

from logflow import __version__
from logflow.errors import ComponentError


def version_line(preference: str = "auto") -> str:
    """Name the version, the engine and Python.

    Args:
        preference: the configuration's ``engine``.
    """
    return f"logflow {__version__} (engine: {engine_line(preference)}, Python {platform.python_version()})"


def engine_line(preference: str) -> str:
    """Name the engine that ``preference`` leads to, and say why when it is not the native one."""
    from logflow.engine import load_engine

    try:
        name = load_engine(preference).name
    except ComponentError as error:
        return f"none: {error}"
    return name if name == "native" else f"python: {_why_python(preference)}"


def _why_python(preference: str) -> str:
    if os.environ.get("LOGFLOW_ENGINE") == "python":
        return "LOGFLOW_ENGINE asks for it"
    if preference == "python":
        return "the configuration asks for it"
    try:
        import logflow.engine._native  # type: ignore[import-not-found,unused-ignore]  # noqa: F401
    except ImportError as error:
        missing = isinstance(error, ModuleNotFoundError)
        return (
            "the native engine was not built" if missing else f"the native engine cannot be loaded: {error}"
        )
    return "the native engine was not chosen"
