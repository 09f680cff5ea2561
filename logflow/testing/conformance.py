"""Checks that every component passes, built in or third-party.

Each takes a type's name and a smallest configuration, and raises ``AssertionError`` with what is wrong::

    async def test_my_output(tmp_path):
        await conformance.check_output({"type": "mine", "url": "http://127.0.0.1:1"}, tmp_path)

The rules are those of the contracts in :mod:`logflow.component`; what belongs to the host (retries, dead
letters, the ledger) is checked with the component in the host's hands.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from logflow import registry
from logflow.batch import Batch, Chunk, Span
from logflow.buffers.memory import MemoryBuffer
from logflow.clock import SystemClock
from logflow.component import Component, ComponentConfig, Filter, Output, Parser, Source, Stage
from logflow.config.options import OutputConfig
from logflow.errors import DeliveryError, LogflowError, PermanentError, Unsupported
from logflow.pipeline.flusher import Flusher
from logflow.receipt import Receipt
from logflow.storage.checkpoints import Checkpoints
from logflow.telemetry.ledger import Account
from logflow.testing.drivers import Collector, make_context

_TIMEOUT_S = 20.0
_EVENTS: list[tuple[int, dict[str, Any]]] = [
    (1_700_000_000_123_456_789, {"message": "plain", "level": "info"}),
    (1_700_000_001_000_000_000, {"message": "", "n": 1, "nested": {"a": [1, None, True, 2.5]}}),
    (1_700_000_002_000_000_000, {}),
    (
        1_700_000_003_000_000_000,
        {"message": "caf\u00e9 \u0000 \U0001f980", "big": 2**64 - 1, "small": -(2**63)},
    ),
]
_LINES = (
    b"",
    b"plain text",
    b'{"a":1}',
    b"a=1 b=2",
    b"\xff\xfe\x00",
    b"{" * 300,
    b'"',
    b"k:v\tk2:v2",
    b"," * 50,
)


def check_config(kind: registry.Kind, config: Mapping[str, Any]) -> ComponentConfig:
    """The type is known, its smallest configuration is accepted, and what nobody knows is refused."""
    model = registry.load(kind, config["type"]).Config
    accepted = model.model_validate(dict(config))
    try:
        model.model_validate({**config, "no_such_key": 1})
    except ValidationError:
        pass
    else:
        raise AssertionError(f"{kind} {config['type']}: an unknown key must be refused")
    undescribed = [
        name for name, field in model.model_fields.items() if name != "type" and not field.description
    ]
    assert not undescribed, f"{kind} {config['type']}: describe {', '.join(undescribed)}"
    return accepted


def _make(kind: registry.Kind, config: Mapping[str, Any], directory: Path, **options: Any) -> Component:
    accepted = check_config(kind, config)
    context = make_context(directory / "data", kind=kind, **options)
    return registry.load(kind, config["type"])(accepted, context)


async def check_source(config: Mapping[str, Any], directory: Path) -> None:
    """A source can be closed before it was opened, stops when it is cancelled, and can be closed twice."""
    unopened = _make("source", config, directory)
    assert isinstance(unopened, Source)
    await unopened.drain()
    await unopened.close()
    source = _make("source", config, directory)
    assert isinstance(source, Source)
    async with asyncio.timeout(_TIMEOUT_S):
        await source.open()
        task = asyncio.create_task(source.run(Collector()))
        await asyncio.sleep(0.05)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await source.drain()
        await source.drain()
        await source.close()
        await source.close()


def check_parser(config: Mapping[str, Any], directory: Path) -> None:
    """A parser never raises, gives the same one by one and together, and knows whether Rust can run it."""
    parser = _make("parser", config, directory)
    assert isinstance(parser, Parser)
    lines = list(_LINES)
    one_by_one = [parser.parse(line) for line in lines]
    assert parser.parse_many(lines) == one_by_one, "parse_many must agree with parse"
    for parsed in one_by_one:
        assert parsed is None or isinstance(parsed[1], dict), "a parser gives a dict, or None"
    reason = _unsupported(parser)
    assert reason is None or reason, "say why the native engine cannot run it"


def _unsupported(parser: Parser) -> str | None:
    try:
        parser.native()
    except Unsupported as error:
        return str(error)
    return None


async def check_filter(config: Mapping[str, Any], directory: Path) -> None:
    """A filter takes any record, counts rightly and leaves its batch alone; it can be closed twice."""
    unopened = _make("filter", config, directory)
    await unopened.close()
    step = _make("filter", config, directory)
    await step.open()
    try:
        _check_steps(step)
    finally:
        await step.close()
        await step.close()


def _check_steps(step: Component) -> None:
    if isinstance(step, Stage):
        _check_stage(step)
        return
    assert isinstance(step, Filter)
    batch = Batch.from_events("app.web", _EVENTS)
    before = bytes(batch.entries)
    result = step.apply(batch)
    assert batch.entries == before, "a filter must not change the batch it was given"
    if result is not None:
        assert result.count == len(list(result.events())), "count must be the number of events"
        assert 0 < result.count <= batch.count, "a batch without events is None"
        assert step.context.engine.count(result.entries) == result.count, "entries must stay canonical"
        assert (result.tag, result.origin) == (batch.tag, batch.origin)


def _check_stage(stage: Stage) -> None:
    batch = Batch.from_events("app.web", _EVENTS, Span("stream", 0, 100))
    before = bytes(batch.entries)
    made = [*stage.apply(batch), *stage.flush(None)]
    assert batch.entries == before, "a stage must not change the batch it was given"
    assert not stage.flush(None), "after flush(None) a stage holds nothing"
    for result in made:
        assert result.count == len(list(result.events())), "count must be the number of events"
        assert stage.context.engine.count(result.entries) == result.count, "entries must stay canonical"
        assert isinstance(result.origin, Span), "what comes out has the place of what it was made from"
        assert result.origin.stream == "stream"


async def check_output(config: Mapping[str, Any], directory: Path) -> None:
    """An output can be closed at any time, and delivers in the host's hands with the ledger balanced.

    ``config`` must lead to a destination that takes what it is sent.
    """
    unopened = _make("output", config, directory / "unopened")
    assert isinstance(unopened, Output)
    await unopened.close()
    await unopened.close()
    for error, reason in ((None, None), (DeliveryError("not now"), None), (PermanentError("no"), "rejected")):
        output = _make("output", config, directory)
        assert isinstance(output, Output)
        await _deliver(output, error, reason)
        await output.close()
        await output.close()


class _Failing(Output):
    """An output that fails once before it does its work."""

    def __init__(self, inner: Output, error: LogflowError | None) -> None:
        super().__init__(inner.config, inner.context)
        self._inner = inner
        self._error = error
        self.ids: list[bytes] = []

    async def open(self) -> None:
        await self._inner.open()

    async def write(self, chunk: Chunk) -> None:
        self.ids.append(chunk.id)
        error, self._error = self._error, None
        if error is not None:
            raise error
        await self._inner.write(chunk)


class _NoLetters:
    async def put(self, chunk: Chunk, output: str, reason: str) -> None:
        """Never called: dead letters are turned off."""


async def _deliver(inner: Output, error: LogflowError | None, reason: str | None) -> None:
    output = _Failing(inner, error)
    assert isinstance(inner.config, OutputConfig)
    retry = inner.config.retry.model_copy(update={"initial": 0.001, "jitter": 0.0})
    options = inner.config.model_copy(update={"retry": retry, "dead_letter": False})
    buffer = MemoryBuffer("out", options.buffer, Checkpoints(None), SystemClock())
    flusher = Flusher(
        "out", output, buffer, options,
        dead_letters=_NoLetters(), clock=SystemClock(), log=logging.getLogger("logflow.conformance"),
    )  # fmt: skip
    account, receipt = Account("**", "out"), Receipt(1)
    account.enter(len(_EVENTS))
    await buffer.put(Batch.from_events("app.web", _EVENTS), account, receipt)
    assert not receipt.done, "a receipt resolves after delivery, not before"
    task = asyncio.create_task(flusher.run())
    try:
        async with asyncio.timeout(_TIMEOUT_S):
            await receipt
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    assert account.balanced
    if reason is None:
        assert account.delivered == len(_EVENTS), "transient errors are retried until it is delivered"
        assert len(set(output.ids)) == 1, "a retry has the same id"
    else:
        assert account.dropped == {reason: len(_EVENTS)}, "what is rejected is counted"
