"""The names in the paths of container logs.

Two layouts carry them; links are followed from the first to the second::

    /var/log/containers/<pod>_<namespace>_<container>-<id>.log       cut to 251 characters, so the id as well
    /var/log/pods/<namespace>_<pod>_<uid>/<container>/<restart>.log  of a static pod: a hash, no UID
    /var/lib/docker/containers/<id>/<id>-json.log
"""

# Paths are text here: there are thousands in a scan, and links must stay as they are written.
# ruff: noqa: PTH115, PTH118, PTH120

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import PurePosixPath

_MOST_LINKS = 8
_LINK_NAME = re.compile(
    r"(?P<pod>[^_/]+)_(?P<namespace>[^_/]+)_(?P<container>[^/]+)-(?P<container_id>[0-9a-f]{1,64})\.log"
)
_POD_PATH = re.compile(
    r"/(?P<namespace>[^_/]+)_(?P<pod>[^_/]+)_(?P<uid>[^_/]+)/(?P<container>[^/]+)/(?P<restart>[0-9]+)\.log"
)
DOCKER_PATH = re.compile(r"/(?P<container_id>[0-9a-f]{64})/(?P=container_id)-json\.log")
"""Where docker keeps the log of a container."""


def read_names(paths: Iterable[str]) -> dict[str, str]:
    """Find ``namespace``, ``pod``, ``container``, ``container_id``, ``uid`` and ``restart`` in paths.

    Args:
        paths: a path and what its links lead to, in order; what a later one says counts.

    Returns:
        Those that were found, as they are written.
    """
    names: dict[str, str] = {}
    for path in paths:
        if match := _LINK_NAME.fullmatch(PurePosixPath(path).name):
            names |= match.groupdict()
        for pattern in (_POD_PATH, DOCKER_PATH):
            if match := pattern.search(path):
                names |= match.groupdict()
    return names


def is_container_log(path: str) -> bool:
    """Whether a path, without links in it, is that of one container alone, which no other will ever have."""
    return any(pattern.search(path) for pattern in (_POD_PATH, DOCKER_PATH))


def links(path: str) -> list[str]:
    """Return the path and what its links lead to, one by one."""
    steps = [path]
    for _ in range(_MOST_LINKS):
        try:
            target = os.readlink(steps[-1])
        except OSError:
            break
        steps.append(os.path.normpath(os.path.join(os.path.dirname(steps[-1]), target)))
    return steps
