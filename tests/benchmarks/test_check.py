"""What is lost, doubled or out of order is told from the numbers alone, whatever the format."""

from __future__ import annotations

from pathlib import Path
from types import FunctionType

import msgpack
import pytest
from harness.check import Check, check
from harness.corpus import FILE_STEP, LINES, write_corpus


def as_json(numbers: list[int]) -> bytes:
    return b"".join(b'{"level":"info","num":%d,"x":1}\n' % number for number in numbers)


def as_spaced_json(numbers: list[int]) -> bytes:
    return b"".join(b'{"num": %d}\n' % number for number in numbers)


def as_otlp(numbers: list[int]) -> bytes:
    records = (b'{"key":"num","value":{"intValue":"%d"}}' % number for number in numbers)
    return b'{"resourceLogs":[' + b",".join(records) + b"]}\n"


def as_requests(numbers: list[int]) -> bytes:
    return b"".join(b'{"request":"GET /item/%d HTTP/1.1"}\n' % number for number in numbers)


def as_packed(numbers: list[int]) -> bytes:
    return b"".join(msgpack.packb([1, {"level": "info", "num": number}]) for number in numbers)


def as_packed_requests(numbers: list[int]) -> bytes:
    return b"".join(msgpack.packb([1, {"request": f"GET /item/{number} HTTP/1.1"}]) for number in numbers)


FORMATS = [as_json, as_spaced_json, as_otlp, as_requests, as_packed, as_packed_requests]


@pytest.mark.parametrize("make", FORMATS)
def test_faults_are_counted(make: FunctionType, tmp_path: Path) -> None:
    """One line is missing, one came twice, and one came after a later one."""
    path = tmp_path / "end.data"
    path.write_bytes(make([0, 1, 1, 4, 3, 300, 70_000]))
    found = check([path], {0: 70_001}, packed="packed" in make.__name__)
    assert found == Check(arrived=7, lost=70_001 - 6, doubled=1, disordered=1)
    assert not found.clean


def test_each_file_has_an_order_of_its_own(tmp_path: Path) -> None:
    """Lines of two files may alternate, and each connection is looked at by itself."""
    (tmp_path / "a").write_bytes(as_json([0, FILE_STEP, 1, FILE_STEP + 1, 3]))
    (tmp_path / "b").write_bytes(as_json([2]))
    (tmp_path / "empty").touch()
    paths = [tmp_path / "a", tmp_path / "b", tmp_path / "empty"]
    assert check(paths, {0: 4, 1: 2}, packed=False) == Check(6, 0, 0, 0)


@pytest.mark.parametrize("kind", [kind for kind in LINES if kind != "docker_json"])
def test_a_corpus_as_it_is_has_no_faults(kind: str, tmp_path: Path) -> None:
    """Its numbers begin at 0 and leave nothing out; its size is about what was asked for."""
    path = tmp_path / "corpora" / "corpus.log"
    lines = write_corpus(kind, path, 1_000_000)
    assert check([path], {0: lines}, packed=False) == Check(lines, 0, 0, 0)
    assert 1_000_000 <= path.stat().st_size < 3_000_000


def test_a_corpus_is_made_once(tmp_path: Path) -> None:
    """The second call takes the file that is there."""
    path = tmp_path / "corpus.log"
    lines = write_corpus("plain_json", path, 1000)
    path.write_text("kept")
    assert write_corpus("plain_json", path, 1000) == lines
    assert path.read_text() == "kept"
