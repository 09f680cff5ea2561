"""How a delivery is recognised when it comes again."""

from __future__ import annotations

import pytest

from logflow.forward.frames import Option, pack_chunk_id
from logflow.forward.identity import Fingerprint, delivery_key, peer_identity

OURS = Option(pack_chunk_id(b"x" * 16), unique=True)
FLUENTD = Option(b"\xb9ABEiM0RVZneImaq7zN3u/w==\n")
OTHER = Option(b"\xb8ABEiM0RVZneImaq7zN3u/w==")


def fingerprint(payload: bytes) -> Fingerprint:
    taken = Fingerprint()
    taken.update(payload)
    return taken


@pytest.mark.parametrize("option", [OURS, FLUENTD, OTHER])
def test_the_same_delivery_has_the_same_key(option):
    assert delivery_key(b"a", b"t", option, fingerprint(b"data")) == delivery_key(
        b"a", b"t", option, fingerprint(b"data")
    )


@pytest.mark.parametrize(("option", "recognised"), [(OURS, True), (FLUENTD, True), (OTHER, False)])
def test_only_ids_that_are_unique_are_recognised_from_another_address(option, recognised):
    one = delivery_key(b"address 10.0.0.1", b"t", option, fingerprint(b"data"))
    other = delivery_key(b"address 10.0.0.2", b"t", option, fingerprint(b"data"))
    assert (one == other) is recognised


@pytest.mark.parametrize(("option", "recognised"), [(OURS, True), (FLUENTD, False), (OTHER, False)])
def test_only_our_own_chunks_may_come_again_with_another_payload(option, recognised):
    """A chunk that is built again after a restart may hold the time of reading."""
    one, other = (
        delivery_key(b"a", b"t", option, fingerprint(b"data")),
        delivery_key(b"a", b"t", option, fingerprint(b"datb")),
    )
    assert (one == other) is recognised


def test_tag_and_id_do_not_run_into_each_other():
    assert delivery_key(b"", b"ab", Option(b"c", unique=True), fingerprint(b"")) != delivery_key(
        b"", b"a", Option(b"bc", unique=True), b""
    )


@pytest.mark.parametrize(
    ("address", "client", "identity"),
    [
        ("10.0.0.1", None, b"address 10.0.0.1"),
        ("::ffff:10.0.0.1", None, b"address 10.0.0.1"),
        ("10.0.0.1", b"node-7", b"client node-7"),
        ("10.0.0.1", b"localhost", b"address 10.0.0.1"),
        ("10.0.0.1", b"", b"address 10.0.0.1"),
    ],
)
def test_a_peer_is_named_by_what_is_its_own(address, client, identity):
    assert peer_identity(address, client) == identity
