"""A feeder: sends packed entries to a forward source, as fast as its acks allow.

``python -m harness.feed PORT ENTRIES CHUNK_BYTES WINDOW``: ENTRIES holds canonical entries; they are cut
into frames of about CHUNK_BYTES and at most WINDOW of them are unacknowledged at any time.
"""

from __future__ import annotations

import base64
import os
import socket
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import msgpack


def frames(path: Path, chunk_bytes: int) -> Iterator[tuple[bytes, bytes, bytes]]:
    """Yield (head, entries, option) of each frame."""
    with path.open("rb") as file:
        rest = b""
        while block := file.read(chunk_bytes):
            data = rest + block
            offsets = _whole(data)
            rest = data[offsets[-1] :]
            entries = data[: offsets[-1]]
            option = {"chunk": base64.b64encode(os.urandom(16)).decode(), "size": len(offsets) - 1}
            head = b"\x93" + msgpack.packb("bench.app") + b"\xc6" + len(entries).to_bytes(4, "big")
            yield head, entries, msgpack.packb(option)


def _whole(data: bytes) -> list[int]:
    """Offsets of the whole entries of ``data``, and of its end."""
    unpacker = msgpack.Unpacker(raw=True, strict_map_key=False, max_buffer_size=len(data))
    unpacker.feed(data)
    offsets = [0]
    try:
        while True:
            unpacker.skip()
            offsets.append(unpacker.tell())
    except msgpack.OutOfData:
        return offsets


def main() -> None:
    """Send everything, then wait for the last ack."""
    port, path, chunk_bytes, window = (
        int(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]),
    )  # fmt: skip
    prepared = list(frames(path, chunk_bytes))
    connection = socket.create_connection(("127.0.0.1", port))
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    places = threading.Semaphore(window)
    acked = threading.Event()

    def read_acks() -> None:
        unpacker, count = msgpack.Unpacker(), 0
        while data := connection.recv(65536):
            unpacker.feed(data)
            for _ in unpacker:
                count += 1
                places.release()
            if count == len(prepared):
                acked.set()
                return
        raise SystemExit("the connection was closed before everything was acknowledged")

    reader = threading.Thread(target=read_acks)
    reader.start()
    print("ready", flush=True)
    sys.stdin.readline()
    for frame in prepared:
        places.acquire()
        connection.sendmsg(frame) if sum(map(len, frame)) < 65536 else _send_all(connection, frame)
    acked.wait()
    print("done", flush=True)


def _send_all(connection: socket.socket, parts: tuple[bytes, ...]) -> None:
    for part in parts:
        connection.sendall(part)


if __name__ == "__main__":
    main()
