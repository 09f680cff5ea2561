"""Any sequence of writes, rotations, deliveries, restarts and kills: every line arrives once, in order.

The scenarios are the same ones each time, unless ``TAIL_SCENARIOS`` says how many of each kind are to be
drawn; ``LOGFLOW_ENGINE`` says with which engine they are played::

    LOGFLOW_ENGINE=native TAIL_SCENARIOS=4000 python -m pytest -n 2 tests/sources/tail/test_model.py
"""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.sources.tail.model import STREAMS, Action, How, World, play

SCENARIOS = int(os.environ.get("TAIL_SCENARIOS", "0"))

write = st.tuples(
    st.just("write"),
    st.sampled_from(STREAMS),
    st.integers(1, 3),
    st.booleans(),
    st.sampled_from([False] * 4 + [True]),
)
rotate = st.just(("rotate",))
actions = st.one_of(
    write,
    write,
    rotate,
    rotate,
    st.tuples(st.just("race"), st.integers(0, 6), st.one_of(write, rotate, st.just(("safe",)))),
    st.tuples(st.just("look"), st.sampled_from([0.5, 1.0, 4.0])),
    st.just(("look", 1.0)),
    st.tuples(st.just("deliver"), st.integers(1, 3)),
    st.tuples(st.just("settle"), st.integers(1, 3)),
    st.just(("flush",)),
    st.tuples(st.just("restart"), st.booleans(), st.lists(st.one_of(write, rotate), max_size=4)),
)


@pytest.mark.slow
@pytest.mark.parametrize("wide", [False, True])
@pytest.mark.parametrize("how", ["rename", "copy", "sparse"])
@pytest.mark.parametrize("joins", [False, True])
@settings(
    max_examples=SCENARIOS or 12,
    derandomize=not SCENARIOS,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
@given(
    steps=st.lists(actions, max_size=25),
    reuses=st.booleans(),
    coarse=st.booleans(),
    rotated_unseen=st.booleans(),
    keep=st.sampled_from([None, 2, 3]),
)
def test_every_line_arrives_once_and_in_order(
    tmp_path_factory: pytest.TempPathFactory,
    how: How,
    wide: bool,
    joins: bool,
    steps: list[Action],
    reuses: bool,
    coarse: bool,
    rotated_unseen: bool,
    keep: int | None,
) -> None:
    world = World(how, wide, reuses, coarse, rotated_unseen, joins, keep)
    asyncio.run(play(tmp_path_factory.mktemp("tail"), world, steps))


def test_what_was_copied_away_before_anything_was_seen_is_found_after_a_restart(tmp_path: Path) -> None:
    """The file had content that nobody saw before it was truncated, and has other content at the stop."""
    steps: list[Action] = [
        (
            "restart",
            True,
            [*[("write", "stdout", n, n == 3, False) for n in (3, 2)], *[("rotate",)] * 6],
        ),
        ("write", "stdout", 2, False, False),
        *[("rotate",)] * 3,
        ("write", "stderr", 3, False, False),
        ("restart", False, [*[("rotate",)] * 3, ("write", "stdout", 1, True, False)]),
    ]
    asyncio.run(play(tmp_path, World("copy"), steps))


async def test_what_is_written_while_a_file_is_greeted_is_read_after_that(tmp_path: Path) -> None:
    """Else it would be read before it is known what was there before it, and doubled by its copy."""
    steps: list[Action] = [
        ("restart", False, [("rotate",)] * 3),
        ("rotate",),
        ("race", 0, ("write", "stdout", 1, False, False)),
        ("look", 1.0),
        ("rotate",),
    ]
    await play(tmp_path, World("copy", wide=True), steps)


async def test_joins_that_were_taken_for_whole_outlive_their_file(tmp_path: Path) -> None:
    """The file was empty, so that it is another one after the restart."""
    steps: list[Action] = [
        ("restart", True, [("rotate",)]),
        ("rotate",),
        ("look", 4.0),
        ("restart", False, []),
    ]
    await play(tmp_path, World("rename", rotated_unseen=True, joins=True), steps)


async def test_joins_are_taken_for_whole_at_the_same_places_after_a_restart(tmp_path: Path) -> None:
    """There are several in one file, of which nothing was safe."""
    late = [("write", "stderr", 1, True, False), ("look", 4.0)]
    steps: list[Action] = [
        ("look", 4.0),
        *late,
        *late,
        ("rotate",),
        ("restart", False, [("rotate",), ("write", "stderr", 3, True, False), ("rotate",), ("rotate",)]),
    ]
    await play(tmp_path, World("rename", joins=True), steps)


async def test_joins_end_where_they_ended_before_there_was_a_successor(tmp_path: Path) -> None:
    """A file was removed from its path and read to its end; that was delivered, and then came the kill."""
    steps: list[Action] = [
        ("race", 2, ("rotate",)),
        *[("rotate",)] * 3,
        ("look", 1.0),
        ("race", 0, ("rotate",)),
        ("look", 1.0),
        ("deliver", 3),
        ("restart", True, []),
    ]
    await play(tmp_path, World("rename", rotated_unseen=True), steps)


async def test_the_next_joins_are_taken_for_whole_once_the_last_ones_are_safe(tmp_path: Path) -> None:
    await play(tmp_path, World("rename", joins=True), [("rotate",), ("look", 0.5)])


async def test_a_copy_is_known_when_its_original_is_truncated_while_they_are_compared(tmp_path: Path) -> None:
    steps: list[Action] = [
        *[("rotate",)] * 2,
        ("look", 1.0),
        ("race", 6, ("write", "stderr", 2, False, True)),
        *[("race", calls, ("rotate",)) for calls in (0, 0, 1)],
        ("look", 1.0),
    ]
    await play(tmp_path, World("copy"), steps)


async def test_a_file_that_was_empty_does_not_come_back_as_the_one_that_got_its_inode(tmp_path: Path) -> None:
    """Else joins that are open at the end of what has its inode would stay open for good."""
    steps: list[Action] = [
        *[("rotate",)] * 3,
        ("restart", False, [("rotate",)]),
        ("rotate",),
        ("restart", False, []),
    ]
    await play(tmp_path, World("rename", reuses=True, joins=True, keep=2), steps)


async def test_nothing_that_is_left_came_before_a_file_that_is_deleted(tmp_path: Path) -> None:
    """It is still open, so that it is read; what lies in the directory came after it."""
    steps: list[Action] = [
        *[("rotate",)] * 2,
        ("look", 1.0),
        ("write", "stderr", 3, False, False),
        *[("rotate",)] * 4,
        ("write", "stderr", 1, False, False),
        ("rotate",),
    ]
    await play(tmp_path, World("rename", keep=2), steps)


async def test_an_empty_file_that_is_away_is_not_the_last_one_of_which_more_is_known(tmp_path: Path) -> None:
    """What was compressed may have its inode, and what came before that would be left out."""
    steps: list[Action] = [
        *[("rotate",)] * 2,
        ("restart", False, [("rotate",)]),
        ("rotate",),
        ("write", "stdout", 1, False, True),
        *[("rotate",)] * 2,
        ("restart", False, [("rotate",)]),
    ]
    await play(tmp_path, World("rename", keep=2), steps)


@pytest.mark.parametrize("reuses", [False, True])
async def test_what_has_the_inode_of_a_file_of_which_nothing_was_read_is_read(
    tmp_path: Path, *, reuses: bool
) -> None:
    steps: list[Action] = [
        ("rotate",),
        ("restart", False, [("rotate",)]),
        *[("rotate",)] * 2,
        ("restart", False, [("rotate",), ("write", "stdout", 1, True, False), *[("rotate",)] * 2]),
        *[("rotate",)] * 2,
        ("race", 1, ("write", "stdout", 2, True, False)),
        *[("rotate",)] * 2,
        ("deliver", 3),
    ]
    world = World("rename", reuses=reuses, rotated_unseen=True, joins=True, keep=2)
    await play(tmp_path, world, steps)


async def test_files_that_come_after_those_that_are_away_stay_behind_them(tmp_path: Path) -> None:
    """The open joins of one that is away are emitted with the next start but one."""
    steps: list[Action] = [
        *[("rotate",)] * 3,
        ("restart", False, [("write", "stderr", 3, False, False), *[("rotate",)] * 2]),
        ("rotate",),
        ("restart", False, [("rotate",), ("write", "stderr", 3, True, False), *[("rotate",)] * 2]),
        ("restart", False, []),
    ]
    await play(tmp_path, World("rename", keep=3), steps)
