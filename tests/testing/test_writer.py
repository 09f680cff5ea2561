"""The writer of numbered lines knows what it wrote, and writes it as containers do."""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path

import pytest

from logflow.testing.containers import cri_messages, read_container
from logflow.testing.oracle import DeliveryVerdict, Oracle
from logflow.testing.writer import ContainerWriter, Plan, WriterProgress, main, read_progress


def judge(node: Path) -> DeliveryVerdict:
    """Compare what stands in the files with what the writer says."""
    oracle = Oracle(read_progress(node).written)
    for directory in node.glob("pods/*/*"):
        for stream, message in cri_messages(read_container(directory)):
            oracle.feed(b'{"stream":"%s",%s' % (stream.encode(), message[1:]), flow=str(directory))
    return oracle.verdict()


@pytest.mark.parametrize("seed", [1, 2])
def test_what_the_writer_says_it_wrote_is_in_the_files(tmp_path: Path, seed: int) -> None:
    plan = Plan(
        containers=3, lines_per_s=20_000, duration_s=0.1, seed=seed, rotate_bytes=100_000, long_share=0.02
    )
    ContainerWriter(tmp_path, plan).run()
    progress = read_progress(tmp_path)
    assert progress.finished
    assert (progress.lines, len(progress.written)) == (2000, 6)
    assert progress.rotations >= 3
    assert judge(tmp_path).exactly_once


def test_streams_interleave_in_the_middle_of_long_lines(tmp_path: Path) -> None:
    ContainerWriter(tmp_path, Plan(containers=1, lines_per_s=10_000, duration_s=0.03, long_share=0.3)).run()
    [directory] = tmp_path.glob("pods/*/*")
    pieces = re.findall(rb"^\S+ (stdout|stderr) ([PF]) ", read_container(directory), re.MULTILINE)
    assert any(tag == b"P" and following != stream for (stream, tag), (following, _) in pairwise(pieces))


def test_a_stopped_writer_finishes_its_lines(tmp_path: Path) -> None:
    writer = ContainerWriter(tmp_path, Plan(duration_s=3600))
    writer.stop()
    writer.run()
    assert read_progress(tmp_path).finished
    assert judge(tmp_path).exactly_once


def test_before_the_writer_has_begun_nothing_is_written(tmp_path: Path) -> None:
    assert read_progress(tmp_path) == WriterProgress({})


def test_the_command_takes_every_part_of_the_plan(tmp_path: Path) -> None:
    assert main([str(tmp_path), "--containers", "1", "--lines-per-s", "500", "--duration-s", "0.02"]) == 0
    assert read_progress(tmp_path).lines == 10
