"""Libraries that only some components need: loaded when such a component is configured."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from logflow.errors import ComponentError


def load(module: str, extra: str, what: str) -> Any:
    """Import a library that an extra of the package installs.

    Args:
        module: what to import, such as ``obstore.store``.
        extra: what installs it, see ``pyproject.toml``.
        what: who needs it, as the user calls it: ``output archive (s3)``.

    Raises:
        ComponentError: it is not there, or cannot be imported; the text says what to install.
    """
    try:
        return import_module(module)
    except ImportError as error:
        library = module.partition(".")[0]
        reason = "which is not installed" if _is_missing(error, library) else f"which cannot be used: {error}"
        raise ComponentError(
            f"{what} needs the library {library}, {reason}; run: pip install 'logflow-pipeline[{extra}]'"
        ) from error


def _is_missing(error: ImportError, library: str) -> bool:
    return isinstance(error, ModuleNotFoundError) and (error.name or "").partition(".")[0] == library
