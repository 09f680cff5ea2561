"""Which engine is used: the native one where it was built, its Python twin otherwise."""

from __future__ import annotations

import os
from importlib import import_module

from logflow import __version__
from logflow.engine._adapter import NativeEngine
from logflow.engine.api import Engine
from logflow.errors import ComponentError


def load_engine(preference: str = "auto") -> Engine:
    """Return the engine to use; ``LOGFLOW_ENGINE`` in the environment overrules ``preference``.

    Args:
        preference: ``auto``, ``native`` or ``python``.

    Raises:
        ComponentError: ``native`` was asked for (or, with ``auto``, ``LOGFLOW_REQUIRE_NATIVE=1`` is set)
            and it was not built.
    """
    choice = os.environ.get("LOGFLOW_ENGINE") or preference
    if choice not in {"auto", "native", "python"}:
        raise ComponentError(f"there is no engine {choice!r}; set engine to auto, native or python")
    if choice == "python":
        return _load_python()
    try:
        return _load_native()
    except ImportError as error:
        if choice == "native" or os.environ.get("LOGFLOW_REQUIRE_NATIVE") == "1":
            raise ComponentError(
                f"the native engine cannot be used ({error}); install a Rust toolchain and run "
                "`pip install .` again, or set engine to python"
            ) from error
    return _load_python()


def _load_python() -> Engine:
    from logflow.engine._python import PythonEngine  # noqa: PLC0415 - the native engine has nothing of it

    return PythonEngine()


def _load_native() -> NativeEngine:
    module = import_module("logflow.engine._native")
    if module.__version__ != __version__:  # left over from an earlier build
        raise ImportError(f"it was built for logflow {module.__version__}, and this is {__version__}")
    return NativeEngine(module)
