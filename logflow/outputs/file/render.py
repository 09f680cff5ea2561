"""Makes a chunk into the bytes that go to each file.

Each slice is made when the one before has been written: so a large chunk takes little memory besides its own.
"""

from __future__ import annotations

from collections.abc import Iterable

from logflow.batch import Chunk
from logflow.compression import Compression, compress_slices
from logflow.encoders import Encoder
from logflow.engine.api import Engine
from logflow.templates import PathTemplate, Splitter


class Renderer:
    """Pure; may be called from several threads."""

    def __init__(
        self, template: PathTemplate, encoder: Encoder, compression: Compression, engine: Engine
    ) -> None:
        self._splitter = Splitter(template, engine)
        self._encode = encoder
        self._compression = compression

    def pieces(self, chunk: Chunk) -> dict[str, Iterable[bytes]]:
        """What to append to which path, in slices, to be walked over once; the same for the same chunk."""
        return {
            path: compress_slices(self._encode(parts, chunk.tag), self._compression)
            for path, parts in self._splitter.parts(chunk).items()
        }
