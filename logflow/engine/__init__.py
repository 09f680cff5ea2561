"""Which engine is used: the native one where it was built, its Python twin otherwise."""

from __future__ import annotations

import os

from logflow.engine.api import Engine
from logflow.errors import ComponentError


def load_engine(preference: str = "auto") -> Engine:
    """Return the engine to use; ``LOGFLOW_ENGINE`` in the environment overrules ``preference``.

    Args:
        preference: ``auto``, ``native`` or ``python``.

    Raises:
        ComponentError: ``native`` was asked for (or ``LOGFLOW_REQUIRE_NATIVE=1`` is set) and it was not built.
    """
    raise ComponentError(f"the engine {os.environ.get('LOGFLOW_ENGINE', preference)} is not there yet")
