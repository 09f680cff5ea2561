"""How a delivery by a peer is recognised when it comes again.

A sender that got no ack sends its chunk again, under the same id. The buffer behind a forward source
drops what it has accepted before; what counts as "the same" is decided by the key that is made here.
Swallowing an honest chunk would be loss, which is worse than storing one twice; so whatever is known
about a delivery goes into the key, unless a resend may honestly differ in it:

==================  ==============================  ====================================================
sender              key                             why
==================  ==============================  ====================================================
logflow             tag, id                         Ids are unique in the world; the sender says so by
                                                    an option. A chunk that was built again after
                                                    ``kill -9`` may come from another address.
Fluentd             tag, id, payload                Its ids (base64 that ends in a newline) are time and
                                                    random bits, and survive in its buffer files: a
                                                    resend may come from another address.
all others          tag, id, payload, and the peer  Fluent Bit's id is a hash of the payload: two agents
                                                    that send equal payloads send equal ids.
==================  ==============================  ====================================================

"Payload" is the size and checksum of the entries *after* decompression: gzip headers hold the time of
compression, so a resend may differ in them. "The peer" is the name that it proved to have in the
handshake, if that is a name of its own (Fluent Bit's default, ``localhost``, is not), or its address.

Limits: agents behind one translated address that send byte for byte the same events, times included,
under one tag, look like one that repeats itself, and the same holds for one agent that does so within
the buffer's ``dedup_window``; both need clocks coarser than their events. An agent of the third kind that
changes its address between two attempts, or comes back after the window, is not recognised.
"""

from __future__ import annotations

from hashlib import blake2b

import xxhash
from typing_extensions import Buffer

from logflow.batch import DeliveryKey
from logflow.forward.frames import Option

_SHARED_NAMES = {b"", b"localhost", b"localhost.localdomain"}


def peer_identity(address: str, client: bytes | None) -> bytes:
    """Name a peer: by its proven name if that is its own, else by its address.

    Args:
        address: the peer's IP address, or ``unix`` for a unix socket.
        client: the name from the handshake; ``None`` without one.
    """
    if client is None or client.lower() in _SHARED_NAMES:
        return b"address " + address.removeprefix("::ffff:").encode()
    return b"client " + client


class Fingerprint:
    """Size and checksum of a payload, taken piece by piece."""

    def __init__(self) -> None:
        self._size = 0
        self._hasher = xxhash.xxh3_128()

    def update(self, piece: Buffer) -> None:
        """Go on with the next piece."""
        self._size += len(memoryview(piece))
        self._hasher.update(piece)

    def parts(self) -> list[bytes]:
        """What stands for the payload in a key."""
        return [self._size.to_bytes(8, "big"), self._hasher.digest()]


def delivery_key(peer: bytes, tag: bytes, option: Option, payload: Fingerprint) -> DeliveryKey:
    """Make the key of one delivery; ``option.chunk`` is not empty.

    Args:
        peer: from :func:`peer_identity`.
        tag: the frame's tag as received.
        option: the frame's option.
        payload: of the entries as received, decompressed. Not looked at if the id is ``unique``.
    """
    parts = [tag, option.chunk]
    if not option.unique:
        parts += payload.parts()
        if not option.chunk.endswith(b"\n"):
            parts.append(peer)
    return _hash(parts)


def part_key(whole: DeliveryKey, number: int) -> DeliveryKey:
    """Make the key of a part of a delivery that was too large for one batch; part 0 has that of the whole."""
    return whole if not number else _hash([whole.key, number.to_bytes(4, "big")])


def _hash(parts: list[bytes]) -> DeliveryKey:
    hasher = blake2b(digest_size=16)
    for part in parts:
        hasher.update(len(part).to_bytes(4, "big"))
        hasher.update(part)
    return DeliveryKey(hasher.digest())
