"""Latencies, and the writer that they are measured against."""

from __future__ import annotations

import time
from pathlib import Path

from harness.check import Check, check
from harness.corpus import FILE_STEP
from harness.live import _counted, _Latencies
from harness.write import _Log

from logflow.kubernetes.names import is_container_log


def test_latency_is_from_written_to_seen(tmp_path: Path) -> None:
    """A line counts once it is whole, and only if it was written late enough; other formats will do."""
    now_ns = time.time_ns()
    latencies = _Latencies(tmp_path, since_ns=now_ns - 5 * 10**9)
    assert latencies.percentiles() is None
    path = tmp_path / "out.jsonl"
    path.write_text(f'{{"t":{now_ns - 10**9}}}\n{{"t": {now_ns - 9 * 10**9}}}\n{{"t":{now_ns - 2 * 10**9}')
    latencies.read()
    with path.open("a") as file:
        file.write(f'}}\n{{"key":"t","value":{{"intValue":"{now_ns - 3 * 10**9}"}}}}\n')
    latencies.read()
    found = latencies.percentiles()
    assert found is not None
    p50, p99, p999 = found
    assert 2000 <= p50 < 2900
    assert 3000 <= p99 == p999 < 3900


def test_the_writer_rotates_by_rename_and_goes_on_in_the_renamed_file(tmp_path: Path) -> None:
    """As the kubelet does: until the new file is opened, lines go to the old one. None is missing.

    It rotates at most once a second, as it names a rotated file by the second.
    """
    log = _Log(tmp_path, 2, rotate_bytes=1000)
    for tick in range(30):
        log.write(3, "2026-01-01T00:00:00.000000001Z stdout F {", tick * 10**9 // 8)
    log._file.close()
    paths = sorted(log._path.parent.iterdir(), key=lambda path: path.name.split(".")[2:] or ["~"])
    assert is_container_log(str(log._path))
    assert [path.name for path in paths[:2]] == ["0.log.19700101-000000", "0.log.19700101-000001"]
    assert len(paths) == log.rotations + 1 > 2
    assert sum(path.read_bytes().count(b"\n") for path in paths) == log.lines == 90
    found = check(paths, {0: 0, 1: 0, 2: 90}, packed=False)
    assert found == Check(90, 0, 0, 0)
    assert f'"num":{2 * FILE_STEP}'.encode() in paths[0].read_bytes()


def test_an_idle_case_counts_lines_only() -> None:
    assert _counted(10, 10).clean
    assert _counted(9, 10).lost == 1
    assert _counted(12, 10).doubled == 2
