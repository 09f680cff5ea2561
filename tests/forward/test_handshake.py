"""The handshake, both sides."""

from __future__ import annotations

from contextlib import suppress

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from logflow.errors import DeliveryError, LimitExceeded, MalformedData
from logflow.forward.handshake import ClientHandshake, ClientSecrets, ServerHandshake, ServerSecrets, digest

SERVER = ServerSecrets("aggregator", b"key")
WITH_USERS = ServerSecrets("aggregator", b"key", {b"ann": b"pass"})


def exchange(server: ServerHandshake, client: ClientHandshake, step: int = 10_000) -> None:
    """Carry messages both ways, in pieces of ``step`` bytes."""
    to_client, to_server = server.hello(), b""
    while to_client or to_server:
        for start in range(0, len(to_client), step):
            to_server += client.receive(to_client[start : start + step])
        to_client = b""
        for start in range(0, len(to_server), step):
            to_client += server.receive(to_server[start : start + step])
        to_server = b""


@pytest.mark.parametrize("step", [1, 7, 10_000])
def test_both_sides_agree_on_the_key_however_the_messages_are_split(step):
    server, client = ServerHandshake(SERVER), ClientHandshake(ClientSecrets("agent", b"key"))
    exchange(server, client, step)
    assert client.done
    assert server.client == b"agent"


def test_a_user_logs_in():
    server = ServerHandshake(WITH_USERS)
    client = ClientHandshake(ClientSecrets("agent", b"key", "ann", "pass"))
    exchange(server, client)
    assert client.done


@pytest.mark.parametrize(
    ("shown", "reason"),
    [
        (ClientSecrets("agent", b"other", "ann", "pass"), "shared_key"),
        (ClientSecrets("agent", b"key", "ann", "wrong"), "password"),
        (ClientSecrets("agent", b"key", "bob", "pass"), "password"),
        (ClientSecrets("agent", b"key"), "password"),
        (ClientSecrets("a" * 300, b"key", "ann", "pass"), "hostname"),
    ],
)
def test_a_wrong_secret_is_refused_with_the_reason(shown, reason):
    server, client = ServerHandshake(WITH_USERS), ClientHandshake(shown)
    with pytest.raises(DeliveryError, match=reason):
        exchange(server, client)
    assert server.client is None
    assert reason in (server.refused or "")


def test_a_server_that_does_not_know_the_key_is_refused():
    class Impostor(ServerHandshake):
        def _refusal(self, *_):
            return None

    with pytest.raises(DeliveryError, match="does not know the shared key"):
        exchange(
            Impostor(ServerSecrets("aggregator", b"guess")), ClientHandshake(ClientSecrets("agent", b"key"))
        )


def test_a_server_with_the_clients_own_name_is_refused_as_it_could_echo_the_digest():
    with pytest.raises(DeliveryError, match="self_hostname"):
        exchange(
            ServerHandshake(ServerSecrets("agent", b"key")), ClientHandshake(ClientSecrets("agent", b"key"))
        )


def test_a_client_like_fluent_bit_is_understood():
    """Its salt is 16 raw bytes sent as str, which is no UTF-8."""
    server = ServerHandshake(SERVER)
    _, options = msgpack.unpackb(server.hello())
    salt, nonce = bytes(range(240, 256)), options["nonce"]
    proof = digest(salt, b"bit", nonce, b"key")
    ping = b"\x96\xa4PING\xa3bit\xb0" + salt + msgpack.packb(proof) + b"\xa0\xa0"
    pong = msgpack.unpackb(server.receive(ping + b"more"))
    assert pong == ["PONG", True, "", "aggregator", digest(salt, b"aggregator", nonce, b"key")]
    assert server.rest == b"more"


def test_a_server_like_fluentd_is_understood():
    """It sends the nonce and auth as str, and answers with the client's salt."""
    client = ClientHandshake(ClientSecrets("agent", b"key", "ann", "pass"))
    nonce, auth = b"n" * 16, b"a" * 16
    hello = msgpack.packb(["HELO", {"nonce": nonce.decode(), "auth": auth.decode(), "keepalive": True}])
    kind, name, salt, proof, user, password = msgpack.unpackb(client.receive(hello))
    assert (kind, name, user) == ("PING", "agent", "ann")
    assert proof == digest(salt.encode(), b"agent", nonce, b"key")
    assert password == digest(auth, b"ann", b"pass")
    pong = ["PONG", True, "", "fluentd", digest(salt.encode(), b"fluentd", nonce, b"key")]
    assert client.receive(msgpack.packb(pong)) == b""
    assert client.done


def test_every_message_fits_into_one_packet():
    """Fluent Bit fails when one arrives split: all are under 512 bytes."""
    server, client = (
        ServerHandshake(WITH_USERS),
        ClientHandshake(ClientSecrets("agent", b"key", "ann", "pass")),
    )
    hello = server.hello()
    ping = client.receive(hello)
    assert max(len(hello), len(ping), len(server.receive(ping))) < 512


def test_a_message_without_end_is_refused():
    server = ServerHandshake(SERVER)
    with pytest.raises(LimitExceeded):
        server.receive(b"\x96\xa4PING\xdb\xff\xff\xff\xff" + b"x" * 10_000)


def test_secrets_are_not_shown():
    assert "key" not in repr(WITH_USERS).replace("shared_key", "")
    assert "pass" not in repr(ClientSecrets("agent", b"key", "ann", "pass"))


@settings(max_examples=200, deadline=None)
@given(st.one_of(st.binary(max_size=80), st.lists(st.text(max_size=4), max_size=7).map(msgpack.packb)))
def test_arbitrary_bytes_never_pass(data):
    server = ServerHandshake(SERVER)
    with suppress(MalformedData):
        server.receive(data)
    assert server.client is None


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=80))
def test_a_client_survives_arbitrary_bytes(data):
    client = ClientHandshake(ClientSecrets("agent", b"key"))
    with suppress(MalformedData, DeliveryError):
        client.receive(data)
    assert not client.done
