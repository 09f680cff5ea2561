"""Files in UTF-16: a newline is a unit of two bytes, and no other byte is one."""

from __future__ import annotations

import asyncio
import codecs
import gzip
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from logflow.sources.recoding import units_of
from logflow.testing import Collector
from tests.sources.tail.conftest import Tail, span_of

# Each holds bytes that are newlines, or NULs, in one order of bytes or the other.
TRICKY = "\u0a0a\u0a00\u000b\u0100\u000a"[:-1] + "a \u0d0a日本\U0001f600\U0001040a"
ORDERS = {"utf-16-le": codecs.BOM_UTF16_LE, "utf-16-be": codecs.BOM_UTF16_BE}


@pytest.fixture(params=["utf-16-le", "utf-16-be"])
def order(request: pytest.FixtureRequest) -> str:
    """Both orders of bytes."""
    return str(request.param)


@pytest.mark.parametrize("marked", [True, False])
async def test_lines_are_found_whatever_bytes_are_in_them(tail: Any, order: str, marked: bool) -> None:
    """The order is told by the mark, or by the configuration; the mark is no text."""
    lines = [TRICKY, "", "plain", TRICKY * 3]
    data = (ORDERS[order] if marked else b"") + "".join(f"{line}\n" for line in lines).encode(order)
    tail.log.write_bytes(data)
    async with tail.running(encoding="utf-16" if marked else order):
        await tail.read(*lines)
    assert tail.states()[0]["offset"] == len(data), "positions are those of the file's own bytes"


async def test_the_order_is_known_as_soon_as_the_mark_is_whole(tail: Any) -> None:
    data = codecs.BOM_UTF16_BE + "one\ntwo\n".encode("utf-16-be")
    async with tail.running(encoding="utf-16"):
        for end in range(1, len(data) + 1):
            tail.log.write_bytes(data[:end])
            await tail.rest(0.5)
        await tail.read("one", "two")


async def test_windows_line_ends_json_and_offsets(tail: Any) -> None:
    tail.log.write_bytes('{"a":"é"}\r\n{"a":2}\r\n'.encode("utf-16"))
    async with tail.running(encoding="utf-16", parse={"type": "json"}, offset_key="at"):
        records = await tail.lines(2)
    assert records == [{"a": "é", "at": 2}, {"a": 2, "at": 24}]


async def test_the_containers_format_is_told_as_in_any_text(tail: Any) -> None:
    tail.log.write_bytes("2026-01-01T00:00:00.000000001Z stdout F hello\n".encode("utf-16"))
    async with tail.running(encoding="utf-16"):
        records = await tail.lines(1)
    assert records == [{"message": "hello", "stream": "stdout"}]


async def test_a_last_line_without_newline_is_taken_for_whole_after_a_while(tail: Any, order: str) -> None:
    """Also when half a unit stands behind it, which is the beginning of what follows."""
    with tail.log.open("wb", buffering=0) as file:
        file.write("last words".encode(order) + "+\n".encode(order)[:1])
        async with tail.running(encoding=order, idle_flush_line=30):
            await tail.rest(40)
            assert tail.messages() == ["last words"]
            file.write("+\n".encode(order)[1:])
            await tail.read("last words", "+")


async def test_a_file_that_was_deleted_gives_what_it_has(tail: Any, order: str) -> None:
    tail.log.write_bytes("one\ntwo".encode(order))
    async with tail.running(encoding=order):
        await tail.lines(1)
        tail.log.unlink()
        await tail.lines(2)
    assert tail.messages() == ["one", "two"]


async def test_a_line_that_is_too_long_is_cut_between_characters(tail: Any, order: str) -> None:
    long = "€" * 100_000
    tail.log.write_bytes(f"{long}\n{'x' * 700_000}\nshort\n".encode(order))
    async with tail.running(encoding=order, max_line=101):
        await tail.lines(3)
    first, second, third = tail.messages()
    assert first == "€" * 33
    assert (second, third) == ("x" * 101, "short")


async def test_holes_and_room_that_was_taken_ahead_are_no_text(tail: Any, order: str) -> None:
    line = "one\n".encode(order)
    with tail.log.open("wb", buffering=0) as file:
        file.write(bytes(4096) + line + bytes(4096))
        async with tail.running(encoding=order):
            await tail.read("one")
            os.pwrite(file.fileno(), line, 4096 + len(line))
            await tail.read("one", "one")


async def test_reading_from_the_end_begins_with_a_whole_line(tail: Any, order: str) -> None:
    tail.log.write_bytes(f"{TRICKY}\nhalf".encode(order))
    with tail.log.open("ab", buffering=0) as file:
        async with tail.running(encoding=order, read_from="end"):
            await tail.rest(1)
            file.write(" a line\n".encode(order))
            await tail.read("half a line")


async def test_compressed_files_are_read_as_well(tail: Any) -> None:
    (tail.logs / "old.log.gz").write_bytes(gzip.compress(f"{TRICKY}\ntwo".encode("utf-16")))
    async with tail.running(encoding="utf-16", paths=[f"{tail.logs}/*.gz"]):
        await tail.read(TRICKY, "two")


TEXT = st.text(st.sampled_from("\na\0\u0a0a\u0a00\u000b\u0100\u0d0a\U0001040a"), max_size=60)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.one_of(TEXT.map(lambda text: text.encode("utf-16-le")), st.binary(max_size=60)))
@example(b"\x00\xd8\n\x00")
@example(b"\n\x00\x00\xd8")
def test_ends_of_lines_are_those_of_whole_units(order: str, data: bytes) -> None:
    """Whatever the bytes are, also halves of characters and of units."""
    units = units_of(order, b"")
    ends = [at + 2 for at in range(0, len(data) - 1, 2) if data[at : at + 2] == units.newline]
    assert units.after_last(data) == (ends[-1] if ends else 0)
    assert units.after_next(data) == (ends[0] if ends else 0)
    assert len(units.lines(data)) == len(ends)
    nul = len(data) - len(data.lstrip(b"\0"))
    assert units.nuls(data) == nul - nul % 2
    assert units.without_nuls(data) + bytes(len(data)) >= data[: len(data) // 2 * 2]


@pytest.mark.slow
@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    lines=st.lists(st.text(st.sampled_from(f"{TRICKY}b"), max_size=20), min_size=1, max_size=12),
    cuts=st.lists(st.tuples(st.integers(1, 60), st.sampled_from(["write", "kill", "stop"])), max_size=12),
    name=st.sampled_from(["utf-16", *ORDERS]),
    big=st.booleans(),
)
def test_however_it_is_written_and_killed_every_line_comes_once(
    tmp_path_factory: pytest.TempPathFactory,
    lines: list[str],
    cuts: list[tuple[int, str]],
    name: str,
    big: bool,
) -> None:
    """Writes end within characters and units; a kill loses the progress that was not saved."""
    mark = (codecs.BOM_UTF16_BE if big else codecs.BOM_UTF16_LE) if name == "utf-16" else b""
    code = name if not mark else "utf-16-be" if big else "utf-16-le"
    data = mark + "".join(f"{line}\n" for line in lines).encode(code)

    async def play(root: Path) -> list[str]:
        tail = Tail(root)
        seen: dict[int, tuple[int, list[str]]] = {}
        at = 0
        for size, what in [*cuts, (len(data), "stop")]:
            collector = tail.collector = Collector(settle=what != "kill")
            with tail.log.open("ab", buffering=0) as file:
                async with tail.running(encoding=name, scan_interval=0.5):
                    file.write(data[at : at + size])
                    at += size
                    await tail.rest(1)
            for batch in collector.batches:  # what was not safe is given again, from the same place
                span = span_of(batch)
                seen[span.start] = (span.end, [record["message"] for _, record in batch.events()])
        found, place = list[str](), 0
        while place in seen and place < len(data):
            place, messages = seen[place]
            found += messages
        assert place == len(data)
        return found

    assert asyncio.run(play(tmp_path_factory.mktemp("utf16"))) == lines
