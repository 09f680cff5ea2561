"""One process for each data directory."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from logflow.errors import ComponentError


@contextmanager
def locked(data_dir: Path) -> Iterator[None]:
    """Keep a second process away from the data directory.

    Raises:
        ComponentError: another process uses it, or it cannot be used at all.
    """
    path = data_dir / "lock"
    try:
        data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise ComponentError(
            f"cannot use data_dir {data_dir}: {error.strerror}; make it writable or set data_dir elsewhere"
        ) from error
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(fd)
        raise ComponentError(
            f"data_dir {data_dir} is in use by another logflow; give each its own data_dir"
        ) from error
    try:
        yield
    finally:
        os.close(fd)
