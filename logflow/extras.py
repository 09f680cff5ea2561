"""Libraries that only some components need: loaded when such a component is configured."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from logflow.errors import ComponentError


def load(module: str, extra: str, what: str) -> Any:
    """Import a library that an extra of the package installs.

    Args:
        module: what to import, such as ``obstore.store``; or a module of ours that imports the library.
        extra: what installs it, see ``pyproject.toml``.
        what: who needs it, as the user calls it: ``output archive (s3)``.

    Raises:
        ComponentError: it is not there, or cannot be imported; the text says what to install.
    """
    try:
        return import_module(module)
    except ImportError as error:
        missing = isinstance(error, ModuleNotFoundError) and bool(error.name)
        library = ((error.name if missing else "") or module).partition(".")[0]
        reason = "which is not installed" if missing else f"which cannot be used: {error}"
        raise ComponentError(
            f"{what} needs the library {library}, {reason}; run: pip install 'logflow-pipeline[{extra}]'"
        ) from error
