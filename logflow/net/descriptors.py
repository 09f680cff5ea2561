"""Descriptors of the process: as many as allowed, with some kept back from those who connect."""

from __future__ import annotations

import resource

_MOST = 1 << 20
_KEPT_BACK = 256


def raise_limit() -> int:
    """Raise the soft limit of open files to the hard one; returns what is in force."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _MOST if hard == resource.RLIM_INFINITY else min(hard, _MOST)
    if soft < wanted:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        except (OSError, ValueError):
            return soft
        return wanted
    return soft


def is_spare(fd: int) -> bool:
    """Whether a connection may have this descriptor.

    The lowest free number is given out, so it tells how many are in use. The last ones (256, or a quarter)
    are kept back for log files, buffers, outputs and the admin endpoint.
    """
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return fd < soft - min(_KEPT_BACK, soft // 4)
