"""Outputs to stores over HTTP, in front of a server that keeps what it gets."""

from __future__ import annotations

import os

import pytest

from logflow import registry
from logflow.batch import Batch, Chunk
from logflow.testing import FakeClock, make_context
from tools.stores.recorder import Recorder

T0 = 1_700_000_000_000_000_000


def events_chunk(*records, tag="app", times=None):
    batch = Batch.from_events(tag, zip(times or [T0] * len(records), records, strict=True))
    return Chunk(os.urandom(16), tag, (batch.entries,), batch.count)


@pytest.fixture
def make_chunk():
    """``make_chunk(record, …, tag=…, times=…)``."""
    return events_chunk


@pytest.fixture
async def receiver():
    """The server."""
    receiver = Recorder()
    runner = await receiver.start()
    yield receiver
    await runner.cleanup()


@pytest.fixture
async def make_store(receiver, tmp_path):
    """``await make_store("loki", option=…)``: the output, opened, in front of ``receiver``."""
    outputs = []

    async def make(name, **options):
        component = registry.load("output", name)
        options.setdefault("endpoints", [f"http://127.0.0.1:{receiver.port}"])
        config = component.Config(**options)
        outputs.append(component(config, make_context(tmp_path, kind="output", clock=FakeClock())))
        await outputs[-1].open()
        return outputs[-1]

    yield make
    for output in outputs:
        await output.close()
