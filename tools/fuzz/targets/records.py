"""Records of arbitrary shape, through all that the engines do with them: both must do the same."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import msgpack

from logflow.engine.api import Engine
from logflow.engine.changes import DETECTORS, RedactAction
from logflow.engine.keyed import Measure
from logflow.errors import LogflowError
from logflow.expressions import compile_expression
from tools.fuzz.targets.base import Target, context, engines

_NOW_NS = 1_700_000_000_000_000_000
_PROGRAMS = Path(__file__).parents[3] / "native/tests/corpus/programs"
EXPRESSIONS = tuple(line.partition(" ")[2] for line in _PROGRAMS.read_text().splitlines())
"""The native fuzzing has them, too; it knows their programs alone."""
_REDACTIONS: tuple[tuple[Sequence[str] | None, RedactAction, bool], ...] = (
    (None, "mask", True),
    (["a*", "c[*]"], "hash", False),
)
_MEASURES = (Measure(), Measure((compile_expression("a"),), compile_expression("n"), None, (1.0, 10.0)))


def _about(engine: Engine) -> Sequence[Callable[[bytes], Any]]:
    """What is done with entries."""
    conditions = [engine.condition(compile_expression(text)) for text in EXPRESSIONS]
    computations = [engine.computation(compile_expression(text)) for text in EXPRESSIONS]
    assignment = engine.assignment([("a.b", compile_expression("n + 1")), ("c", compile_expression("a"))])
    redactions = [
        engine.redaction(DETECTORS, [], fields, action, keys=keys) for fields, action, keys in _REDACTIONS
    ]
    limits = [engine.limits(8, 3, 2, "cut"), engine.limits(1, 1, 1, "a")]
    grouping = engine.grouping([compile_expression("a"), compile_expression("n")])
    return (
        *[lambda data, one=one: one.mark(data, "tag", "src", _NOW_NS) for one in conditions],
        *[lambda data, one=one: one.values(data, "tag", None, _NOW_NS) for one in computations],
        lambda data: assignment.apply(data, "tag", None, _NOW_NS),
        *[lambda data, one=one: one.apply(data, b"key") for one in redactions],
        *[lambda data, one=one: one.apply(data) for one in limits],
        lambda data: grouping.apply(data, "tag", None, _NOW_NS),
        lambda data: engine.tally(_MEASURES).apply(data, "tag", None, _NOW_NS),
        lambda data: engine.repeats([compile_expression("a")], 10**9, 3, tells=True).apply(
            data, "tag", None, 1, 5
        ),
        lambda data: engine.miner(compile_expression("message"), 5, 0.5).apply(data, "tag", None, 1),
        lambda data: engine.draw(data, 7, 1 << 63),
        lambda data: engine.to_ndjson(data, "tag"),
    )


@cache
def _work(name: str) -> tuple[Engine, Sequence[Callable[[bytes], Any]]]:
    engine = context(name).engine
    return engine, _about(engine)


def _outcome(work: Callable[[bytes], Any], entries: bytes) -> Any:
    try:
        return work(entries)
    except LogflowError as error:
        return type(error)


def _records(data: bytes) -> None:
    try:
        entries = _work("python")[0].normalize(data, _NOW_NS).entries
    except LogflowError:
        return
    for works in zip(*(_work(name)[1] for name in engines()), strict=True):
        found = [_outcome(work, entries) for work in works]
        assert found[0] == found[-1], found


def _expression(data: bytes) -> None:
    """Text that is no expression is refused; one that is has the same values in both engines."""
    text, _, packed = data.partition(b"\n")
    try:
        expression = compile_expression(text.decode())
        entries = _work("python")[0].normalize(packed, _NOW_NS).entries or _ENTRIES
    except (LogflowError, ValueError):
        return
    found = []
    for name in engines():
        computation = _work(name)[0].computation(expression)
        found.append(computation.values(entries, "tag", None, _NOW_NS))
    assert found[0] == found[-1], found


_ENTRIES = b"".join(
    msgpack.packb([msgpack.ExtType(0, bytes([0, 0, 0, number, 0, 0, 0, 0])), record])
    for number, record in enumerate(
        [
            {
                "level": "error",
                "status": 500,
                "a": {"b": [1, 2.5, None]},
                "n": 3,
                "message": "to a@b.example 1",
            },
            {"a": "x", "n": -(2**40), "message": "é 192.0.2.1 4111111111111111", "c": [True, b"\xff"]},
        ]
    )
)

TARGETS = (
    Target("records", _records, [_ENTRIES]),
    Target("expression", _expression, [text.encode() + b"\n" for text in EXPRESSIONS]),
)
