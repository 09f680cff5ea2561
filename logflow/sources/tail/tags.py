"""Tags made of the parts of a log file's path.

Two layouts carry the names of a container; links are followed from the first to the second::

    /var/log/containers/<pod>_<namespace>_<container>-<id>.log
    /var/log/pods/<namespace>_<pod>_<uid>/<container>/<restart>.log
    /var/lib/docker/containers/<id>/<id>-json.log      the name is in config.v2.json beside it

Any other file has: ``namespace`` = ``host``, ``pod`` = the name of its directory, ``container`` = its own
name without the suffix, ``uid``, ``restart`` and ``container_id`` = ``none``.
"""

# Paths are text here: there are thousands in a scan, and links must stay as they are written.
# ruff: noqa: PTH118, PTH120

from __future__ import annotations

import os
import re
import unicodedata
from pathlib import PurePosixPath
from string import Formatter

import msgspec

from logflow.kubernetes.names import DOCKER_PATH, links, read_names

PLACEHOLDERS = ("namespace", "pod", "container", "container_id", "uid", "restart", "path", "name")
"""What a tag template may hold."""

_MOST_CONFIG_BYTES = 4 << 20
_UNSAFE = re.compile(r"[^\w-]+")
_NOT_UTF8 = range(0xDC80, 0xDD00)
"""What a byte that is not UTF-8 is in a file's name (PEP 383)."""


class TagTemplate:
    """A tag with placeholders in braces, such as ``kube.{namespace}.{pod}``."""

    def __init__(self, text: str) -> None:
        """Compile the template.

        Raises:
            ValueError: it holds an unknown placeholder or a brace without its partner.
        """
        self._pieces: list[tuple[str, str | None]] = []
        for literal, name, spec, conversion in Formatter().parse(text):
            if name is not None and (name not in PLACEHOLDERS or spec or conversion):
                known = ", ".join(f"{{{known}}}" for known in PLACEHOLDERS)
                raise ValueError(f"{{{name}}} is not a part of a path; a tag may hold {known}")
            self._pieces.append((literal, name))

    def render(self, path: str, real: str) -> str:
        """Make the tag of the file at ``path``, which leads to ``real``."""
        parts = path_parts(path, real)
        return "".join(literal + (parts[name] if name else "") for literal, name in self._pieces)


def path_parts(path: str, real: str) -> dict[str, str]:
    """Find the parts of a path and of the links from it to ``real``; each is safe as one part of a tag.

    Only ``path`` has several parts: ``/var/log/app.log`` becomes ``var.log.app.log``.
    """
    pure = PurePosixPath(path)
    parts = {
        "namespace": "host",
        "pod": pure.parent.name,
        "container": pure.stem,
        "container_id": "none",
        "uid": "none",
        "restart": "none",
        "name": pure.stem,
    }
    for step in [*links(path), real]:
        parts |= read_names([step])
        if DOCKER_PATH.search(step):
            parts |= _docker_name(step)
    safe = {name: safe_part(value) for name, value in parts.items()}
    pieces = [safe_part(piece) for piece in re.split(r"[/.]+", path.strip("/.")) if piece]
    return safe | {"path": ".".join(pieces) or "_"}


def _docker_name(path: str) -> dict[str, str]:
    """The container's name from docker's ``config.v2.json`` beside its log, where that can be read."""
    try:
        with open(os.path.join(os.path.dirname(path), "config.v2.json"), "rb") as file:  # noqa: PTH123
            name = msgspec.json.decode(file.read(_MOST_CONFIG_BYTES), type=_DockerConfig).Name
    except (OSError, msgspec.DecodeError, UnicodeDecodeError):
        return {}
    return {"container": name.removeprefix("/")} if name.strip("/") else {}


class _DockerConfig(msgspec.Struct):
    Name: str = ""


def safe_part(text: str) -> str:
    """Make one part of a tag: letters and digits of any script, ``-`` and ``_``; whatever else becomes ``_``.

    A byte that is not UTF-8 becomes ``_xE9``, so that names which differ in it have different tags.
    """
    return _UNSAFE.sub(_replacement, text) or "_"


def _replacement(match: re.Match[str]) -> str:
    escaped = ""
    for char in match[0]:
        if ord(char) in _NOT_UTF8:
            escaped += f"_x{ord(char) - 0xDC00:02X}"
        elif unicodedata.category(char)[0] == "M":  # vowel signs and accents: parts of letters
            escaped += char
        elif not escaped:
            escaped = "_"
    return escaped


def shown(path: str) -> str:
    """Return a path as it may be printed: what is not UTF-8 or controls a terminal is escaped."""
    text = os.fsencode(path).decode(errors="backslashreplace")
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)
