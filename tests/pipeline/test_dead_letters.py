"""Dead letters: kept whole, listed, replayed, dropped."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from logflow.batch import Batch, Chunk, DeliveryKey
from logflow.buffers.memory import MemoryBuffer
from logflow.cli.main import main
from logflow.clock import SystemClock
from logflow.config.options import BufferOptions
from logflow.errors import DeliveryError, MalformedData
from logflow.pipeline.dead_letters import DeadLetterStore
from logflow.pipeline.failures import keep_refused
from logflow.pipeline.replay import Replayer
from logflow.storage.checkpoints import Checkpoints
from logflow.telemetry.ledger import Account
from logflow.testing import FakeClock


def make_chunk(number: int = 0, events: int = 2) -> Chunk:
    entries = Batch.from_events("app.web", [(7, {"n": number})] * events).entries
    return Chunk(number.to_bytes(16, "big"), "app.web", (entries[:10], entries[10:]), events)


@pytest.fixture
def store(tmp_path: Path) -> DeadLetterStore:
    return DeadLetterStore(tmp_path / "dead-letters", FakeClock())


async def test_a_chunk_is_kept_with_its_reason(store: DeadLetterStore) -> None:
    """What was written can be read back, with why and when."""
    chunk = make_chunk(1)
    await store.put(chunk, "sink", "status 400: no")
    (letter,) = store.letters()
    assert (letter.output, letter.head.tag, letter.head.count) == ("sink", "app.web", 2)
    assert (letter.head.reason, letter.head.time_ns) == ("status 400: no", FakeClock().time_ns())
    assert letter.batch().entries == chunk.entries
    assert letter.path.stat().st_mode & 0o777 == 0o600


async def test_letters_of_one_output(store: DeadLetterStore) -> None:
    """They can be told apart by output."""
    await store.put(make_chunk(1), "a", "no")
    await store.put(make_chunk(2), "b", "no")
    assert [letter.head.id[-1] for letter in store.letters("b")] == [2]


async def test_of_what_a_source_refuses_there_are_samples_only(store: DeadLetterStore) -> None:
    """Strangers send it: it must not take the room of what outputs reject."""
    for number in range(100):
        batch = Batch.from_events("app", [(number, {})], DeliveryKey(b"%d" % number))
        await keep_refused(store, "peers", batch, "bad_time")
    assert len(list(store.letters("source.peers"))) == 64
    await keep_refused(store, "others", batch, "bad_time")
    await store.put(make_chunk(), "sink", "no")
    assert len(list(store.letters())) == 66


async def test_of_the_same_refused_events_there_is_one_letter(store: DeadLetterStore) -> None:
    """Who gets no acknowledgement sends them again."""
    batch = Batch.from_events("app", [(1, {})], DeliveryKey(b"1"))
    for _ in range(2):
        await keep_refused(store, "peers", batch, "bad_time")
    assert len(list(store.letters())) == 1


async def test_the_number_of_letters_follows_commands(store: DeadLetterStore) -> None:
    """Which drop them while the service runs."""
    await store.put(make_chunk(1), "sink", "no")
    next(iter(store.letters())).drop()
    clock = FakeClock()
    running = asyncio.create_task(Replayer(store, {}, clock).run())
    while store.kept("sink"):
        await asyncio.sleep(0.001)
    running.cancel()


async def test_beyond_the_limit_nothing_is_kept_and_nothing_lost(tmp_path: Path) -> None:
    """The chunk goes on waiting in its buffer, and the user is told what to do."""
    store = DeadLetterStore(tmp_path, FakeClock(), limit_bytes=50)
    await store.put(make_chunk(1), "sink", "no")
    with pytest.raises(DeliveryError, match="replay or drop some"):
        await store.put(make_chunk(2), "sink", "no")
    assert len(list(store.letters())) == 1


async def test_a_letter_costs_no_walk_over_the_others(
    store: DeadLetterStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many there are, the directory is read once."""
    looked = 0
    paths = store._paths

    def count() -> list[Path]:
        nonlocal looked
        looked += 1
        return paths()

    monkeypatch.setattr(store, "_paths", count)
    for number in range(30):
        await store.put(make_chunk(number), "sink", "no")
    assert looked == 1
    assert store.kept("sink") == 30


async def test_room_that_a_command_made_is_seen(tmp_path: Path) -> None:
    """Letters are dropped by another process; the next one has room soon after."""
    clock = FakeClock()
    store = DeadLetterStore(tmp_path, clock, limit_bytes=50)
    await store.put(make_chunk(1), "sink", "no")
    next(iter(store.letters())).drop()
    await clock.advance(5)
    await store.put(make_chunk(2), "sink", "no")
    assert store.kept("sink") == 1


async def test_a_new_process_replaces_the_letter_of_an_earlier_one(tmp_path: Path) -> None:
    await DeadLetterStore(tmp_path, FakeClock()).put(make_chunk(1), "sink", "no")
    await DeadLetterStore(tmp_path, FakeClock(1)).put(make_chunk(1), "sink", "still no")
    store = DeadLetterStore(tmp_path, FakeClock())
    assert [letter.head.reason for letter in store.letters()] == ["still no"]


async def test_a_chunk_that_is_rejected_twice_has_one_letter(store: DeadLetterStore) -> None:
    """A crash came before the buffer knew of the first: a replay must not deliver it twice."""
    await store.put(make_chunk(1), "sink", "no")
    await store.put(make_chunk(1), "sink", "still no")
    assert [letter.head.reason for letter in store.letters()] == ["still no"]


async def test_a_full_disk_leaves_nothing_half_written(
    store: DeadLetterStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """ENOSPC is an error that is tried again; no torn file stays."""

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(DeliveryError, match="No space left"):
        await store.put(make_chunk(1), "sink", "no")
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


@pytest.mark.parametrize("position", [0, 9, 30, -1])
async def test_damage_is_noticed_and_left_alone(store: DeadLetterStore, position: int) -> None:
    """A flipped byte anywhere: the letter is not delivered, and not deleted."""
    await store.put(make_chunk(1), "sink", "no")
    (letter,) = store.letters()
    data = bytearray(letter.path.read_bytes())
    data[position] ^= 0x40
    letter.path.write_bytes(data)
    with pytest.raises(MalformedData):
        letter.batch()
    assert letter.path.exists()


class Bench:
    def __init__(self, store: DeadLetterStore) -> None:
        self.buffer = MemoryBuffer("sink", BufferOptions(), Checkpoints(None), SystemClock())
        self.account = Account("(replayed)", "sink")
        self.replayer = Replayer(store, {"sink": (self.buffer, self.account)}, SystemClock())

    async def deliver(self) -> Chunk:
        chunk = await asyncio.wait_for(self.buffer.take(), 5)
        await self.buffer.commit(chunk)
        return chunk


async def test_a_replayed_letter_is_delivered_and_gone(store: DeadLetterStore) -> None:
    """It goes through the output's buffer, once, and is deleted when it is safe there."""
    await store.put(make_chunk(1), "sink", "no")
    await store.put(make_chunk(2), "sink", "no")
    next(iter(store.letters())).replay()
    bench = Bench(store)
    await bench.replayer.look()
    await bench.replayer.look()
    assert len(list(store.letters())) == 2, "not before it is safe"
    assert (await bench.deliver()).entries == make_chunk(1).entries
    assert [letter.head.id[-1] for letter in store.letters()] == [2]
    assert bench.account.balanced
    assert bench.account.delivered == 2


async def test_a_letter_that_is_rejected_again_can_be_replayed_again(store: DeadLetterStore) -> None:
    """The second letter of a chunk is another delivery, not a repeat of the first."""
    clock = store._clock
    assert isinstance(clock, FakeClock)
    bench = Bench(store)
    for _ in range(2):
        await store.put(make_chunk(1), "sink", "no")
        await clock.advance(1)
        next(iter(store.letters())).replay()
        await bench.replayer.look()
        await bench.deliver()
    assert bench.account.delivered == 4


async def test_a_damaged_letter_does_not_stop_the_others(store: DeadLetterStore) -> None:
    """It is reported and stays; the next one is delivered."""
    for number in (1, 2):
        await store.put(make_chunk(number), "sink", "no")
    for letter in list(store.letters()):
        letter.replay()
    first, _ = store.letters()
    first.path.write_bytes(first.path.read_bytes()[:-1])
    bench = Bench(store)
    await bench.replayer.look()
    assert (await bench.deliver()).entries == make_chunk(2).entries
    assert first.path.exists()


async def test_the_command(
    store: DeadLetterStore, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """list, show, replay and drop, by name and by --all."""
    config = tmp_path / "c.yaml"
    config.write_text(
        f"data_dir: {tmp_path}\nsources: {{g: {{type: generate}}}}\n"
        "routes: [{match: '**', outputs: [sink]}]\noutputs: {sink: {type: 'null'}}\n"
    )
    for number in (1, 2, 3):
        await store.put(make_chunk(number), "sink", "status 400")
    names = [letter.name for letter in store.letters()]

    def command(*arguments: str) -> tuple[int, str]:
        status = main(["dead-letter", *arguments, "-c", str(config)])
        return status, capsys.readouterr().out

    assert command("list")[1].count("status 400") == 3
    assert '"n":1' in command("show", names[0])[1]
    assert command("replay", names[0])[0] == 0
    assert command("drop", names[1])[0] == 0
    assert "replaying" in command("list")[1]
    assert [letter.replaying for letter in store.letters()] == [True, False]
    assert main(["dead-letter", "drop", "nonsense", "-c", str(config)]) == 1
    assert main(["dead-letter", "drop", "-c", str(config)]) == 1
    assert command("drop", "--all")[1].startswith("2 dead letters with 4 events dropped")
    assert list(store.letters()) == []
