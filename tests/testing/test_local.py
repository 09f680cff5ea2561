"""What the processes left is counted and judged from the files themselves."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from logflow.testing.local import LocalPipeline
from logflow.testing.oracle import Text, numbered_line
from logflow.testing.sinks import SinkRequest
from logflow.testing.writer import WriterProgress

TEXT = Text.of("hello")


def delivered(*seqs: int) -> bytes:
    return b"".join(
        b'{"@tag":"t",%s\n'
        % numbered_line("web-0", seq, 1000, TEXT)[1:].replace(b"}", b',"stream":"stdout"}')
        for seq in seqs
    )


@pytest.fixture
def pipeline(tmp_path: Path) -> LocalPipeline:
    """A pipeline that has run: four lines, of which one was sent over HTTP twice."""
    pipeline = LocalPipeline(tmp_path)
    write(
        pipeline.node / "written.json",
        msgspec.json.encode(WriterProgress({"web-0/stdout": 4}, finished=True)),
    )
    write(tmp_path / "aggregator-0" / "archive" / "t" / "2026-01-31.jsonl", delivered(0, 1, 3))
    write(tmp_path / "aggregator-1" / "archive" / "t" / "2026-01-31.jsonl", delivered(2))
    send(tmp_path / "sink-0", ("a", 1, delivered(0, 1)), ("b", 3, delivered(3)))
    send(tmp_path / "sink-1", ("c", 2, delivered(2)), ("b", 4, delivered(3)))
    return pipeline


def write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def send(directory: Path, *requests: tuple[str, int, bytes]) -> None:
    offset = 0
    index, bodies = b"", b""
    for key, received_ns, body in requests:
        request = SinkRequest(received_ns, key, "/aggregator-0", offset, len(body), body.count(b"\n"))
        index += msgspec.json.encode(request) + b"\n"
        bodies += body
        offset += len(body)
    write(directory / "requests.jsonl", index)
    write(directory / "bodies.jsonl", bodies)


def test_files_of_both_aggregators_are_judged_together(pipeline: LocalPipeline) -> None:
    assert pipeline.verdict_of_files().exactly_once


def test_requests_are_judged_with_and_without_repeats(pipeline: LocalPipeline) -> None:
    assert pipeline.judge_http(repeats=True).verdict().doubled == 1
    oracle = pipeline.judge_http(repeats=False)
    assert oracle.verdict().exactly_once
    assert len(oracle.latencies_ns()) == 4


def test_arrivals_are_counted_as_they_come(pipeline: LocalPipeline) -> None:
    arrivals = pipeline.arrivals()
    arrivals.update()
    assert (arrivals.files, arrivals.http, arrivals.busiest) == (4, 5, "aggregator-0")
    with (pipeline.directory / "aggregator-1/archive/t/2026-01-31.jsonl").open("ab") as file:
        file.write(delivered(4, 5, 6))
    arrivals.update()
    assert (arrivals.files, arrivals.busiest) == (7, "aggregator-1")


def test_leaving_ends_everything_and_can_be_done_twice(pipeline: LocalPipeline) -> None:
    with pipeline, pipeline:
        pass
    assert pipeline.stop(0.1) == []
