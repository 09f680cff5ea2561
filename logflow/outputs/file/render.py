"""Makes a chunk into the bytes that go to each file."""

from __future__ import annotations

import struct
from collections import defaultdict
from collections.abc import Iterable, Iterator
from itertools import groupby, pairwise
from operator import itemgetter

from logflow.batch import Chunk
from logflow.compression import Compression, compress
from logflow.engine.api import Engine
from logflow.event import NANOSECOND
from logflow.outputs.file.template import PathTemplate
from logflow.outputs.formats import Formatter

_TIME_AT = 3
_read_time = struct.Struct(">II").unpack_from
"""A canonical entry has its seconds and nanoseconds there, see :mod:`logflow.batch`."""


class Renderer:
    """Pure; may be called from several threads."""

    def __init__(
        self, template: PathTemplate, formatter: Formatter, compression: Compression, engine: Engine
    ) -> None:
        self._template = template
        self._format = formatter
        self._compression = compression
        self._engine = engine

    def pieces(self, chunk: Chunk) -> dict[str, bytes]:
        """What to append to which path; the same for the same chunk."""
        parts = self._parts(chunk)
        return {
            path: compress(self._format(entries, chunk.tag), self._compression)
            for path, entries in parts.items()
        }

    def _parts(self, chunk: Chunk) -> dict[str, bytes]:
        """The chunk's entries by path: usually all of them have one, and then none is looked at."""
        template, period_ns = self._template, self._template.period_s * NANOSECOND
        if template.needs_record:
            return self._split(chunk, template.render_all(chunk.tag, chunk.events()))
        if not period_ns:
            return {template.render(chunk.tag, 0, {}): chunk.entries}
        first_ns, last_ns = self._engine.time_range(chunk.entries)
        if first_ns // period_ns == last_ns // period_ns:
            return {template.render(chunk.tag, first_ns, {}): chunk.entries}
        return self._split(chunk, self._paths_by_time(chunk))

    def _paths_by_time(self, chunk: Chunk) -> Iterator[str]:
        period_s, known = self._template.period_s, dict[int, str]()
        for offset in self._engine.offsets(chunk.entries):
            seconds, nanoseconds = _read_time(chunk.entries, offset + _TIME_AT)
            period = (seconds + nanoseconds // NANOSECOND) // period_s
            path = known.get(period)
            if path is None:
                path = known[period] = self._template.render(chunk.tag, period * period_s * NANOSECOND, {})
            yield path

    def _split(self, chunk: Chunk, paths: Iterable[str]) -> dict[str, bytes]:
        """Cut the entries into runs of one path and put the runs of each path together, in order."""
        entries = chunk.entries
        spans = pairwise([*self._engine.offsets(entries), len(entries)])
        runs: defaultdict[str, list[bytes]] = defaultdict(list)
        for path, run in groupby(zip(paths, spans, strict=True), key=itemgetter(0)):
            of_run = [span for _, span in run]
            runs[path].append(entries[of_run[0][0] : of_run[-1][1]])
        return {path: b"".join(slices) for path, slices in runs.items()}
