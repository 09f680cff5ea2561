"""Single promises, proved with real processes; ``tools.proofs`` runs more of each."""

from __future__ import annotations

from pathlib import Path

import pytest

from logflow.errors import ComponentError
from tools.disks import small_disk
from tools.proofs import Proof, flipped_bits, full_disk, lost_acks, resends, sink_down

pytestmark = pytest.mark.slow


@pytest.fixture
def small_disks(tmp_path: Path) -> None:
    """Skip where no disk of limited size can be mounted."""
    try:
        with small_disk(tmp_path / "probe", 1 << 20):
            pass
    except ComponentError as error:
        pytest.skip(str(error))


def assert_exactly_once(proof: Proof) -> None:
    assert proof.verdict.delivered > 0
    assert proof.verdict.exactly_once, proof


async def test_a_lost_ack_doubles_nothing(tmp_path: Path) -> None:
    proof = await lost_acks(tmp_path, count=8)
    assert_exactly_once(proof)
    assert proof.figures["acks_lost"] == 8
    assert proof.figures["repeated_lines"] > 0


async def test_a_client_that_resends_after_the_aggregator_was_killed_doubles_nothing(tmp_path: Path) -> None:
    proof = await resends(tmp_path, count=6, kill_every=3)
    assert_exactly_once(proof)
    assert proof.figures["kills"] == 2
    assert proof.figures["resends"] >= 6
    assert proof.figures["repeated_lines"] > 0


@pytest.mark.usefixtures("small_disks")
@pytest.mark.parametrize("who", ["agent", "aggregator"])
async def test_a_full_disk_loses_and_doubles_nothing(tmp_path: Path, who: str) -> None:
    """That it goes on by itself when there is room is awaited, not timed."""
    assert_exactly_once(await full_disk(tmp_path, who, full_s=1.0, lines_per_s=1000.0))


async def test_flipped_bits_destroy_what_is_reported_and_no_more(tmp_path: Path) -> None:
    proof = await flipped_bits(tmp_path, rounds=1, flips=8, chunks=30)
    assert proof.verdict.lost == proof.figures["reported_corrupt"] > 0
    assert proof.figures["rounds_without_a_report"] == 0
    assert proof.verdict.doubled == proof.verdict.damaged == proof.verdict.unknown == 0


async def test_a_dead_sink_does_not_stop_the_files(tmp_path: Path) -> None:
    """How fast they go on is not judged here: other work on the machine would decide."""
    proof = await sink_down(tmp_path, down_s=1.0, up_s=0.5)
    assert_exactly_once(proof)
    assert proof.figures["down_bytes_per_s"] > 0
