"""The exec source, with real children."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from logflow.sources.exec import ExecSource
from logflow.testing import Collector, FakeClock, make_context, run_source


def make(tmp_path: Path, command: Any, *, clock: FakeClock | None = None, **options: object) -> ExecSource:
    config = ExecSource.Config(type="exec", tag="app", command=command, **options)
    return ExecSource(config, make_context(tmp_path, engine="python", clock=clock))


async def test_stdout_and_stderr_are_two_streams_and_the_status_is_kept(tmp_path: Path) -> None:
    collector = Collector()
    source = make(tmp_path, "echo '{\"a\":1}'; sleep 0.02; echo oops >&2; sleep 0.02; printf rest; exit 7")
    await source.run(collector)
    assert collector.records() == [
        {"a": 1, "stream": "stdout"},
        {"message": "oops", "stream": "stderr"},
        {"message": "rest", "stream": "stdout"},
    ]
    assert source.exit_status == 7


async def test_a_list_is_run_without_a_shell_in_its_directory_with_its_environment(tmp_path: Path) -> None:
    collector = Collector()
    source = make(tmp_path, ["/bin/sh", "-c", 'echo "$GREETING $PWD"'], cwd=tmp_path, env={"GREETING": "hi"})
    await source.run(collector)
    assert collector.records()[0]["message"] == f"hi {tmp_path}"
    assert source.exit_status == 0


async def test_a_child_that_dies_of_a_signal_has_the_shells_status(tmp_path: Path) -> None:
    source = make(tmp_path, "kill -9 $$")
    await source.run(Collector())
    assert source.exit_status == 128 + signal.SIGKILL


@pytest.mark.parametrize(
    ("command", "status", "why"),
    [
        (["/no/such/program"], 127, "No such file or directory"),
        (["no-such-program"], 127, "No such file or directory"),
        (["/etc/passwd"], 126, "Permission denied"),
        (["true", "\0"], 126, "embedded null byte"),
    ],
)
async def test_what_cannot_be_run_at_all_is_one_clear_line_and_the_status_of_a_shell(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, command: list[str], status: int, why: str
) -> None:
    source = make(tmp_path, command, restart="always")
    await source.run(Collector())
    assert source.exit_status == status
    assert [record.getMessage() for record in caplog.records] == [
        f"Cannot run {command[0]}: {why}; check command and cwd of the exec source."
    ]


async def test_a_program_that_vanished_is_waited_for_as_for_one_that_failed(tmp_path: Path) -> None:
    program = tmp_path / "program"
    program.write_text("#!/bin/sh\necho up\nrm $0\n")
    program.chmod(0o700)
    clock, collector = FakeClock(), Collector()
    source = make(tmp_path, [str(program)], clock=clock, restart="always")
    async with run_source(source, collector):
        for status in (0, 127):
            while not clock.sleepers:
                await asyncio.sleep(0.002)
            assert source.exit_status == status
            await clock.advance(2.0)
    assert collector.count == 1


async def test_much_output_under_back_pressure_is_read_to_the_end_after_the_child_is_gone(
    tmp_path: Path,
) -> None:
    collector = Collector()
    collector.blocked = True
    source = make(tmp_path, "seq 1 50000")
    task = asyncio.create_task(source.run(collector))
    while source._child is None or source._child.returncode is None:
        await asyncio.sleep(0.005)
    await collector.unblock()
    await task
    assert [record["message"] for record in collector.records()] == [str(i) for i in range(1, 50001)]


async def test_stopping_ends_the_child_with_sigterm_and_keeps_its_last_words(tmp_path: Path) -> None:
    collector = Collector()
    source = make(tmp_path, "trap 'echo bye; exit 3' TERM; echo up; while :; do sleep 0.01; done")
    async with run_source(source, collector):
        await collector.wait_for(1)
    assert [record["message"] for record in collector.records()] == ["up", "bye"]
    assert source.exit_status == 3


async def test_signals_are_handed_on(tmp_path: Path) -> None:
    collector = Collector()
    command = "trap 'echo reload' HUP; trap 'echo int; exit 0' INT; echo up; while :; do sleep 0.01; done"
    source = make(tmp_path, command)
    async with run_source(source, collector) as task:
        await collector.wait_for(1)
        assert source.on_signal(signal.SIGHUP)
        await collector.wait_for(2)
        assert source.on_signal(signal.SIGINT)
        await task
    assert [record["message"] for record in collector.records()] == ["up", "reload", "int"]


async def test_a_child_that_had_a_signal_of_another_kind_is_still_told_to_end(tmp_path: Path) -> None:
    collector = Collector()
    command = "trap 'echo reload' HUP; trap 'echo term; exit 0' TERM; echo up; while :; do sleep 0.01; done"
    source = make(tmp_path, command)
    async with run_source(source, collector):
        await collector.wait_for(1)
        source.on_signal(signal.SIGHUP)
        await collector.wait_for(2)
    assert [record["message"] for record in collector.records()] == ["up", "reload", "term"]


async def test_a_child_that_is_just_being_started_is_told_to_end_and_not_killed(tmp_path: Path) -> None:
    """Stopped at every step of the start, it has the status of a child that was asked to end, if any."""
    for steps in range(8):
        source = make(tmp_path, ["sleep", "30"])
        task = asyncio.create_task(source.run(Collector()))
        for _ in range(steps):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert source.exit_status in ({None} if steps == 0 else {128 + signal.SIGTERM})


async def test_a_child_that_will_not_end_is_killed(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    collector = Collector()
    source = make(tmp_path, "trap '' TERM; echo up; while :; do sleep 0.01; done", stop_timeout=0.05)
    with caplog.at_level(logging.WARNING):
        async with run_source(source, collector):
            await collector.wait_for(1)
    assert source.exit_status == 128 + signal.SIGKILL
    assert "is killed" in caplog.text


@pytest.mark.slow
async def test_a_grandchild_that_holds_the_pipes_does_not_keep_the_source(tmp_path: Path) -> None:
    collector = Collector()
    source = make(tmp_path, "sleep 30 & echo $!; exit 4")
    await source.run(collector)
    assert source.exit_status == 4
    os.kill(int(collector.records()[0]["message"]), signal.SIGKILL)


async def test_a_failed_child_is_started_again_with_growing_pauses(tmp_path: Path) -> None:
    clock, collector = FakeClock(), Collector()
    source = make(tmp_path, "echo up; exit 1", clock=clock, restart="on_failure")
    async with run_source(source, collector):
        for starts, pause_s in ((1, 1.0), (2, 2.0), (3, 4.0)):
            while not clock.sleepers:
                await asyncio.sleep(0.002)
            assert collector.count == starts
            await clock.advance(pause_s)
        await collector.wait_for(4)


async def test_a_child_that_succeeds_is_not_started_again_on_failure(tmp_path: Path) -> None:
    source = make(tmp_path, "true", restart="on_failure")
    await source.run(Collector())
    assert source.exit_status == 0


async def test_output_is_passed_through(tmp_path: Path) -> None:
    ours, theirs = os.pipe()
    source = make(tmp_path, "echo out; echo err >&2", passthrough=True)
    source.outputs = {"stdout": theirs, "stderr": theirs}
    await source.run(Collector())
    os.close(theirs)
    with os.fdopen(ours, "rb") as passed:
        assert sorted(passed.read().split()) == [b"err", b"out"]


async def test_an_event_of_several_lines_does_not_wait_for_the_next_one(tmp_path: Path) -> None:
    multiline = {"start": "^\\d", "timeout": "50ms"}
    source = make(tmp_path, "echo 1 first; echo '  more'; exec sleep 30", multiline=multiline)
    collector = Collector()
    async with run_source(source, collector):
        await collector.wait_for(1)
        assert [record["message"] for record in collector.records()] == ["1 first\n  more"]
