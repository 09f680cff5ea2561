"""What befalls disks: they are small, they fill up, and bits flip in files."""

from __future__ import annotations

import errno
import os
import random
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from logflow.errors import ComponentError


def flip_bit(rng: random.Random, paths: Sequence[Path]) -> None:
    """Flip one bit at a random place of the files, every byte of them as likely as any other."""
    if not (total := sum(path.stat().st_size for path in paths)):
        return
    at = rng.randrange(total)
    for path in paths:
        if at < (size := path.stat().st_size):
            break
        at -= size
    with path.open("r+b") as file:
        file.seek(at)
        [byte] = file.read(1)
        file.seek(at)
        file.write(bytes([byte ^ 1 << rng.randrange(8)]))


def fill_disk(path: Path) -> None:
    """Write a file until the file system is full to the last byte."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT, 0o600)
    try:
        for size in (1 << 20, 1 << 12, 1):
            with suppress(OSError):
                while True:
                    os.write(fd, b"\0" * size)
    finally:
        os.close(fd)


@contextmanager
def small_disk(directory: Path, size_bytes: int) -> Iterator[None]:
    """Mount a file system of limited size.

    Raises:
        ComponentError: it cannot be mounted here (it takes root).
    """
    directory.mkdir(parents=True, exist_ok=True)
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size_bytes}", "logflow-torture", str(directory)]
    try:
        subprocess.run(mount, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise ComponentError(
            f"cannot mount a small disk at {directory}: {os.strerror(errno.EPERM)}; "
            "run as root, or leave the fill-… faults out"
        ) from error
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(directory)], check=False)
