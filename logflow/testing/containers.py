"""Log files of containers as a kubelet's node shows them, written the way containerd writes them.

::

    NODE/containers/<pod>_<namespace>_<container>-<id>.log        link to the file below
    NODE/pods/<namespace>_<pod>_<uid>/<container>/0.log           what the container writes now
                                                 /0.log.20260131-120000       before it: still plain
                                                 /0.log.20260131-115950.gz    older

A message longer than 16 KiB is written in pieces, tagged P until the last, tagged F. Rotation goes as
the kubelet does it: drop what is too old, compress all rotated files but the newest, rename, and only
some time later is the container's file opened anew, so that a line's P may be in the old file and its
F in the new one.
"""

from __future__ import annotations

import gzip
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from functools import lru_cache
from pathlib import Path

PIECE_BYTES = 16 * 1024
"""Longest piece of a message that containerd writes as one line (``max_container_log_line_size``)."""

_LINE = re.compile(
    rb"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{0,8}[1-9])?(?:Z|[+-]\d\d:\d\d) (stdout|stderr) ([PF]) ([^\n]*)\n"
)


@dataclass(frozen=True, slots=True)
class ContainerName:
    """Names one container of one pod."""

    namespace: str
    pod: str
    name: str
    uid: str
    id: str


def format_time(time_ns: int, offset_s: int = 0) -> str:
    """Format as Go's ``RFC3339Nano``: trailing zeros of the fraction are left out."""
    seconds, fraction = divmod(time_ns, 1_000_000_000)
    date, zone = _second(seconds, offset_s)
    return f"{date}.{fraction:09d}".rstrip("0") + zone if fraction else date + zone


@lru_cache(maxsize=64)
def _second(seconds: int, offset_s: int) -> tuple[str, str]:
    moment = datetime.fromtimestamp(seconds, timezone(timedelta(seconds=offset_s)))
    zone = moment.strftime("%z")
    return f"{moment:%Y-%m-%dT%H:%M:%S}", f"{zone[:3]}:{zone[3:]}" if offset_s else "Z"


def cri_lines(time_ns: int, stream: str, message: bytes, offset_s: int = 0) -> list[bytes]:
    """Format one message as the lines that containerd writes: pieces tagged P, the last one F."""
    head = f"{format_time(time_ns, offset_s)} {stream} ".encode()
    pieces = [message[start : start + PIECE_BYTES] for start in range(0, max(len(message), 1), PIECE_BYTES)]
    return [head + b"P " + piece + b"\n" for piece in pieces[:-1]] + [head + b"F " + pieces[-1] + b"\n"]


def cri_messages(content: bytes) -> Iterator[tuple[str, bytes]]:
    """Read back (stream, message) from what one container wrote, pieces joined per stream.

    Raises:
        ValueError: not every byte belongs to a line as containerd writes it, or a line has no end.
    """
    pieces = {b"stdout": b"", b"stderr": b""}
    position = 0
    while match := _LINE.match(content, position):
        position = match.end()
        stream, tag, piece = match.groups()
        pieces[stream] += piece
        if tag == b"F":
            yield stream.decode(), pieces[stream]
            pieces[stream] = b""
    if position != len(content) or any(pieces.values()):
        raise ValueError(f"not the lines of a container: {content[position : position + 80]!r}")


def read_container(directory: Path) -> bytes:
    """Everything one container wrote that is still kept, oldest first."""
    paths = [*sorted(directory.glob("0.log.*")), directory / "0.log"]
    return b"".join(
        gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes() for path in paths
    )


class ContainerLog:
    """The log file of one container, with its link and its rotated predecessors."""

    def __init__(self, node: Path, container: ContainerName, *, keep_files: int = 5) -> None:
        directory = f"{container.namespace}_{container.pod}_{container.uid}"
        self.path = node.resolve() / "pods" / directory / container.name / "0.log"
        self.path.parent.mkdir(parents=True)
        self._keep_files = keep_files
        self._file = self.path.open("ab", buffering=0)
        link = (
            node / "containers" / f"{container.pod}_{container.namespace}_{container.name}-{container.id}.log"
        )
        link.parent.mkdir(exist_ok=True)
        link.symlink_to(self.path)

    def write(self, lines: bytes) -> None:
        """Append to the file that is open now, which after :meth:`rotate` is the renamed one."""
        self._file.write(lines)

    @property
    def size(self) -> int:
        """Bytes in the file that is open now."""
        return self._file.tell()

    def rotate(self) -> bool:
        """Rename the file; ``False`` when it was rotated within this second already."""
        name = f"{self.path.name}.{datetime.now(UTC):%Y%m%d-%H%M%S}"
        target = self.path.with_name(name)
        if target.exists() or target.with_name(f"{name}.gz").exists():
            return False
        rotated = sorted(self.path.parent.glob(f"{self.path.name}.*"))
        dropped = max(len(rotated) - (self._keep_files - 2), 0)
        for path in rotated[:dropped]:
            path.unlink()
        for path in rotated[dropped:]:
            if path.suffix != ".gz":
                _compress(path)
        self.path.rename(target)
        return True

    def reopen(self) -> None:
        """Start a new file: what the runtime does when the kubelet tells it about the rotation."""
        self._file.close()
        self._file = self.path.open("ab", buffering=0)

    def close(self) -> None:
        """Close the file; everything stays where it is."""
        self._file.close()


def _compress(path: Path) -> None:
    temporary = path.with_name(f"{path.name}.tmp")
    with path.open("rb") as plain, gzip.open(temporary, "wb", compresslevel=1) as packed:
        shutil.copyfileobj(plain, packed)
    temporary.rename(path.with_name(f"{path.name}.gz"))
    path.unlink()
