"""A flood of complaints becomes a number."""

from __future__ import annotations

from pathlib import Path

import pytest

from logflow.net.complaints import Complaints
from logflow.testing import FakeClock, make_context


async def test_ten_a_minute_are_logged_and_how_many_were_not_is_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    clock = FakeClock()
    complain = Complaints(make_context(tmp_path, clock=clock))
    for _ in range(15):
        complain("A frame is torn.")
    await clock.advance(60.0)
    complain("A frame is torn.")
    lines = [record.getMessage() for record in caplog.records]
    assert len(lines) == 11
    assert all(": A frame is torn." in line for line in lines)
    assert lines[-1].endswith(" 5 more were not logged.")
    assert {record.levelname for record in caplog.records} == {"WARNING"}


async def test_one_peer_does_not_hide_the_others(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Only all together are bounded, far above that."""
    complain = Complaints(make_context(tmp_path, clock=FakeClock()))
    for _ in range(1000):
        complain("A frame is torn.", "10.0.0.1")
    complain("Another frame is torn.", "10.0.0.2")
    assert "Another frame" in caplog.text
    for number in range(1000):
        complain("A frame is torn.", f"10.0.1.{number}")
    assert len(caplog.records) == 100


async def test_an_error_of_ours_is_told_with_its_traceback_once_a_minute(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """One that every request runs into must not fill the disk."""
    clock = FakeClock()
    complaints = Complaints(make_context(tmp_path, clock=clock))

    def fail() -> None:
        try:
            raise RuntimeError("broken")
        except RuntimeError as error:
            complaints.fault(f"It failed: {error!r}.", "10.0.0.1")

    for _ in range(1000):
        fail()
    await clock.advance(60.0)
    fail()
    assert len(caplog.records) == 11
    assert [bool(record.exc_info) for record in caplog.records] == [True] + [False] * 9 + [True]
