"""What has arrived is counted while it arrives."""

from __future__ import annotations

import http.client
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgpack
import pytest
from harness.ends import FilesEnd, ReceiverEnd
from harness.feed import frames
from harness.receive import Arrived, Progress

from logflow.testing.processes import free_ports

NOTHING = Arrived(0, 0, 0, 0)


def test_speed_is_that_of_what_follows_the_first_arrival() -> None:
    """100 of 400 events came at once; the other 300 took 3 s, so all of them take 4."""
    arrived = Arrived(events=400, first_events=100, first_ns=10**9, last_ns=4 * 10**9)
    assert arrived.seconds(started_ns=0) == pytest.approx(4.0)


def test_what_comes_at_once_takes_as_long_as_it_took_to_come() -> None:
    """There is no speed to tell otherwise."""
    assert Arrived(400, 400, 3 * 10**9, 3 * 10**9).seconds(started_ns=10**9) == pytest.approx(2.0)


def test_the_first_arrival_is_remembered() -> None:
    first = NOTHING.after(3)
    second = first.after(5)
    assert (second.events, second.first_events, second.first_ns) == (8, 3, first.first_ns)
    assert second.last_ns >= first.last_ns > 0


def test_progress_is_shared_by_way_of_a_file(tmp_path: Path) -> None:
    """One side counts, the other one reads."""
    receiver = Progress(tmp_path / "progress", create=True)
    runner = Progress(tmp_path / "progress")
    assert runner.read() == NOTHING
    receiver.add(7)
    assert runner.read().events == 7


def test_lines_are_counted_as_files_grow(tmp_path: Path) -> None:
    """Each line counts once, also when it was written in two pieces."""
    progress = FilesEnd(tmp_path)
    assert progress.read() == NOTHING
    (tmp_path / "below").mkdir()
    path = tmp_path / "below" / "out.jsonl"
    path.write_text('{"num":1}\n{"nu')
    assert progress.read().events == 1
    with path.open("a") as file:
        file.write('m":2}\n{"num":3}\n')
    assert progress.read().events == 3
    assert progress.read().events == 3


def test_a_feeder_cuts_between_entries(tmp_path: Path) -> None:
    """Every frame holds whole entries and says how many; together they are all."""
    entries = [msgpack.packb([1, {"num": number}]) for number in range(50)]
    (tmp_path / "entries").write_bytes(b"".join(entries))
    sent = list(frames(tmp_path / "entries", 64))
    assert b"".join(data for _, data, _ in sent) == b"".join(entries)
    for head, data, option in sent:
        tag, packed, options = msgpack.unpackb(head + data + option)
        assert (tag, packed) == ("bench.app", data)
        unpacker = msgpack.Unpacker()
        unpacker.feed(data)
        assert len(list(unpacker)) == options["size"]


@contextmanager
def receiver(work: Path, protocol: str, expected_bytes: int) -> Iterator[tuple[ReceiverEnd, int]]:
    (port,) = free_ports(1)
    end = ReceiverEnd(work, protocol, port, expected_bytes)
    try:
        end.start()
        yield end, port
    finally:
        end.kill()


@pytest.mark.parametrize("expected_bytes", [0, 200, 1 << 20])
def test_a_receiver_writes_what_it_got_when_it_is_stopped(tmp_path: Path, expected_bytes: int) -> None:
    """Also when more came than it had been told to expect. Every request is acknowledged."""
    (tmp_path / "entries").write_bytes(
        b"".join(msgpack.packb([1, {"num": number}]) for number in range(2000))
    )
    sent = list(frames(tmp_path / "entries", 8192))
    with receiver(tmp_path, "forward", expected_bytes) as (end, port):
        with socket.create_connection(("127.0.0.1", port)) as connection:
            acks = msgpack.Unpacker()
            for frame in sent:
                connection.sendall(b"".join(frame))
                while (ack := next(acks, None)) is None:
                    acks.feed(connection.recv(1000))
                assert ack == {"ack": msgpack.unpackb(frame[2])["chunk"]}
        assert end.read().events == 2000
        end.stop()
    assert (tmp_path / "end-forward.0.data").read_bytes() == b"".join(b"".join(frame) for frame in sent)


def test_an_http_receiver_keeps_every_body(tmp_path: Path) -> None:
    """It counts their lines."""
    with receiver(tmp_path, "http", 10) as (end, port):
        for body in ('{"num":1}\n{"num":2}\n', '{"num":3}\n'):
            client = http.client.HTTPConnection("127.0.0.1", port)
            client.request("POST", "/logs", body)
            assert client.getresponse().status == 200
            client.close()
        assert end.read().events == 3
        end.stop()
    assert (tmp_path / "end-http.0.data").read_text() == '{"num":1}\n{"num":2}\n{"num":3}\n'
