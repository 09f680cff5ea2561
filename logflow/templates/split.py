"""Cuts a chunk into the events of each place that a template leads to."""

from __future__ import annotations

import struct
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby, pairwise
from operator import itemgetter

from logflow.batch import Chunk
from logflow.engine.api import Engine
from logflow.event import NANOSECOND
from logflow.templates.paths import PathTemplate

_TIME_AT = 3
_read_time = struct.Struct(">II").unpack_from
"""A canonical entry has its seconds and nanoseconds there, see :mod:`logflow.batch`."""


class Splitter:
    """Pure; may be called from several threads."""

    def __init__(self, template: PathTemplate, engine: Engine) -> None:
        self._template = template
        self._engine = engine

    def parts(self, chunk: Chunk) -> dict[str, Sequence[bytes]]:
        """The chunk's entries by path: usually all of them have one, and then none is looked at."""
        template, period_ns = self._template, self._template.period_s * NANOSECOND
        if template.needs_record:
            return self._split(chunk, template.render_all(chunk.tag, chunk.events()))
        if not period_ns:
            return {template.render(chunk.tag, 0, {}): chunk.parts}
        ranges = [self._engine.time_range(entries) for entries in chunk.parts]
        first_ns, last_ns = min(first for first, _ in ranges), max(last for _, last in ranges)
        if first_ns // period_ns == last_ns // period_ns:
            return {template.render(chunk.tag, first_ns, {}): chunk.parts}
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

    def _split(self, chunk: Chunk, paths: Iterable[str]) -> dict[str, Sequence[bytes]]:
        """Cut the entries into runs of one path and put the runs of each path together, in order."""
        entries = chunk.entries
        spans = pairwise([*self._engine.offsets(entries), len(entries)])
        runs: defaultdict[str, list[bytes]] = defaultdict(list)
        for path, run in groupby(zip(paths, spans, strict=True), key=itemgetter(0)):
            of_run = [span for _, span in run]
            runs[path].append(entries[of_run[0][0] : of_run[-1][1]])
        return dict(runs)
