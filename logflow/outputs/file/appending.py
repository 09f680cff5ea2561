"""Appends chunks to files: as many chunks in one go as their files can be open at once."""

from __future__ import annotations

from collections.abc import Sequence

from logflow.batch import Chunk
from logflow.outputs.file.journal import FileJournal
from logflow.outputs.file.render import Renderer
from logflow.outputs.file.writer import FileWriter, Pieces


class AppendingWriter:
    """Gives chunks to a :class:`FileWriter` in groups. :meth:`write` may be called from several threads."""

    def __init__(
        self, renderer: Renderer, writer: FileWriter, journal: FileJournal, *, max_open: int, sized: bool
    ) -> None:
        """Write with ``writer``.

        Args:
            renderer: makes chunks into bytes.
            writer: writes these.
            journal: knows which chunks are written.
            max_open: files that may be open at once.
            sized: sizes must be known before anything is written, as files are rotated by them.
        """
        self._renderer = renderer
        self.writer = writer
        self._journal = journal
        self._max_open = max_open
        self._sized = sized
        self.recover = writer.recover
        self.uses = writer.uses
        self.remove = writer.remove
        self.close_idle = writer.close_idle
        self.close = writer.close

    def write(self, chunks: Sequence[Chunk]) -> list[Exception | None]:
        """Append chunks, each exactly once; for each ``None``, or why no file has anything of it."""
        answers: list[Exception | None] = []
        together: list[Pieces] = []
        for chunk in chunks:
            pieces = self._pieces(chunk)
            paths = {path for each in together for path in each.slices}
            alone = isinstance(pieces, Exception) or len(pieces.slices) > self._max_open
            if together and (alone or self._sized or not self._fits(paths, pieces)):
                answers += self.writer.write(together)
                together = []
            if isinstance(pieces, Exception):
                answers.append(pieces)
            elif alone:
                answers.append(self._write_bit_by_bit(pieces))
            else:
                together.append(pieces)
        return answers + self.writer.write(together)

    def _fits(self, paths: set[str], pieces: Pieces | Exception) -> bool:
        """Whether the files of a chunk can be open together with others."""
        return isinstance(pieces, Exception) or len(paths | pieces.slices.keys()) <= self._max_open

    def _pieces(self, chunk: Chunk) -> Pieces | Exception:
        if self._journal.committed(chunk.id):
            return Pieces(chunk.id, {})
        try:
            pieces = self._renderer.pieces(chunk)
            if self._sized:
                return Pieces(chunk.id, {path: list(slices) for path, slices in pieces.items()})
        except Exception as error:
            return error
        return Pieces(chunk.id, pieces)

    def _write_bit_by_bit(self, pieces: Pieces) -> Exception | None:
        """Write to more files than may be open: one commit per group of them, then one for all."""
        paths, step = sorted(pieces.slices), self._max_open
        for start in range(0, len(paths), step):
            part_id = pieces.id + start.to_bytes(4, "big")
            part = {path: pieces.slices[path] for path in paths[start : start + step]}
            (answer,) = self.writer.write([Pieces(part_id, part)])
            if answer is not None:
                return answer
        return self.writer.write([Pieces(pieces.id, {})])[0]
