"""The live view is a table on a terminal and lines elsewhere."""

from __future__ import annotations

import io

import pytest

from logflow.cli import live
from logflow.cli.live import LiveView


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time that the view sees; change its only element."""
    now = [100.0]
    monkeypatch.setattr(live.time, "monotonic", lambda: now[0])
    return now


def test_elsewhere_a_line_comes_every_two_seconds(now: list[float]) -> None:
    out = io.StringIO()
    view = LiveView(out)
    for second, count in ((101.0, 999), (102.0, 2000), (103.0, 2500), (104.5, 3000)):
        now[0] = second
        view.update({"written": count, "files": 0})
    assert out.getvalue() == (
        "  2.0 s  written 2,000 (1,000/s), files 0 (0/s)\n  4.5 s  written 3,000 (400/s), files 0 (0/s)\n"
    )


def test_on_a_terminal_the_table_is_drawn_over_itself(now: list[float]) -> None:
    out = Terminal()
    view = LiveView(out)
    for second in (101.0, 102.0):
        now[0] = second
        view.update({"written": 1000, "files": 500})
    tables = out.getvalue().split("\x1b[3A\x1b[J")
    assert len(tables) == 2
    assert all(table.count("\n") == 3 for table in tables)


def test_a_note_stays_above_the_table(now: list[float]) -> None:
    out = Terminal()
    view = LiveView(out)
    now[0] = 101.0
    view.update({"written": 1})
    view.note("something happened")
    now[0] = 102.0
    view.update({"written": 1})
    view.close()
    view.note("the end")
    _, after = out.getvalue().split("\x1b[2A\x1b[J")
    assert after.startswith("  1.0 s  something happened\n  2.0 s\n")
    assert after.endswith("  2.0 s  the end\n")
