"""Files that components keep: whatever became of them, a component starts, and does not fail for ever."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import pytest

from logflow import registry
from logflow.parquet import ColumnTypes
from logflow.testing import make_context

RANDOM = random.Random(1)
DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "cut": lambda content: content[: len(content) // 2],
    "emptied": lambda content: b"",
    "zeroed": lambda content: bytes(len(content)),
    "half zeroed": lambda content: content[: len(content) // 2] + bytes(len(content) // 2),
    "random": lambda content: RANDOM.randbytes(len(content)),
    "another text": lambda content: b'"\xff\xfe"',
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_types_of_columns_are_found_anew(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "columns.json"
    types = ColumnTypes(path)
    types.of("logs")
    types.keep("logs", {"n": "int"})
    path.write_bytes(DAMAGE[damage](path.read_bytes()))
    again = ColumnTypes(path)
    assert again.of("logs") == {}
    again.keep("logs", {"n": "float"})
    assert ColumnTypes(path).of("logs") == {"n": "float"}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_transactional_id_is_made_anew_and_that_is_said(
    tmp_path: Path, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    component = registry.load("output", "kafka")
    output = component.__new__(component)  # without the client library
    output.config = component.Config(type="kafka", servers=["127.0.0.1:9"], topic="t")
    output.context = make_context(tmp_path, kind="output")
    first = output._transactional_id()
    assert output._transactional_id() == first
    path = tmp_path / "transactional-id"
    path.write_bytes(DAMAGE[damage](path.read_bytes()))
    second = output._transactional_id()
    assert second != first
    assert output._transactional_id() == second
    assert "transactional id" in caplog.text


@pytest.mark.parametrize("damage", DAMAGE)
async def test_patterns_are_found_anew_and_that_is_said(
    tmp_path: Path, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    component = registry.load("filter", "patterns")

    async def run() -> None:
        found = component(component.Config(), make_context(tmp_path, kind="filter"))
        await found.open()
        await found.close()

    await run()
    path = tmp_path / "patterns"
    assert path.exists()
    path.write_bytes(DAMAGE[damage](path.read_bytes()))
    await run()
    assert "they are found anew" in caplog.text
    caplog.clear()
    await run()
    assert not caplog.text
