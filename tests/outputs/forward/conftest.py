"""The forward output, opened, in front of servers that do as they are told."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from logflow.outputs.forward import ForwardOutput
from logflow.telemetry.metrics import Metrics
from logflow.testing import make_context
from logflow.testing.forwarding import scripted_server
from tests.outputs.forward.bench import Open, Opened, OpenPair, Pair, make_chunk, where


@pytest.fixture
def open_output(tmp_path: Path) -> Open:
    @asynccontextmanager
    async def opened(*servers: dict[str, Any], clock: Any = None, **options: Any) -> AsyncIterator[Opened]:
        metrics = Metrics()
        context = make_context(tmp_path, "central", kind="output", metrics=metrics, clock=clock)
        config = {"type": "forward", "heartbeat": "none", "servers": list(servers), **options}
        output = Opened(ForwardOutput.Config.model_validate(config), context)
        output.metrics = metrics
        await output.open()
        try:
            yield output
        finally:
            await output.close()

    return opened


@pytest.fixture
def open_pair(open_output: Open) -> OpenPair:
    """An output with two servers: that which the tag ``app`` goes to, and the other."""

    @asynccontextmanager
    async def opened(**options: Any) -> AsyncIterator[Pair]:
        async with (
            scripted_server() as one,
            scripted_server() as two,
            open_output(where(one), where(two), **options) as output,
        ):
            choice = output._candidates(make_chunk())[0].options.endpoint.port
            yield (output, one, two) if choice == one.port else (output, two, one)

    return opened
