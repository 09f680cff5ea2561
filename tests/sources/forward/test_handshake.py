"""Who is served: the handshake, and TLS with client certificates."""

from __future__ import annotations

import asyncio
import logging
import ssl

import msgpack
import pytest

from logflow.forward.handshake import ClientHandshake, ClientSecrets
from logflow.sources.forward import ForwardSource
from logflow.testing import FakeClock
from logflow.testing.forwarding import RawClient, fluentd_request, make_certificates

EVENTS = [(1, {"a": 1}), (2, {"a": 2})]


async def greet(client: RawClient, secrets: ClientSecrets) -> None:
    handshake = ClientHandshake(secrets)
    await client.send(handshake.receive(msgpack.packb(await client.receive())))
    handshake.receive(msgpack.packb(await client.receive()))
    assert handshake.done


GUARDED = {
    "shared_key": "key",
    "users": [{"username": "ann", "password": "pass"}],
    "self_hostname": "aggregator",
}


async def test_a_client_that_knows_the_key_is_served(start):
    async with start(**GUARDED) as running:
        client = await running.connect()
        await greet(client, ClientSecrets("agent", b"key", "ann", "pass"))
        await client.send(fluentd_request("app", EVENTS, b"x"))
        assert await client.receive() == {b"ack": b"eA==\n"}
        await client.close()


async def test_a_client_that_does_not_know_the_key_gets_the_reason_and_is_closed(start, caplog):
    async with start(**GUARDED) as running:
        client = await running.connect()
        handshake = ClientHandshake(ClientSecrets("agent", b"wrong", "ann", "pass"))
        await client.send(handshake.receive(msgpack.packb(await client.receive())))
        assert (await client.receive())[:3] == [b"PONG", False, b"shared_key mismatch"]
        assert await client.closed()
        assert running.counted("handshakes_refused") == 1
        await client.close()
    assert "shared_key mismatch" in caplog.text
    assert "wrong" not in caplog.text


async def test_data_instead_of_the_handshake_is_refused(start):
    async with start(**GUARDED) as running:
        client = await running.connect()
        await client.receive()
        await client.send(fluentd_request("app", EVENTS, b"x"))
        assert await client.closed()
        assert running.emit.batches == []
        await client.close()


async def test_a_handshake_that_drips_is_ended(start, caplog):
    clock = FakeClock()
    async with start(clock=clock, **GUARDED) as running:
        client = await running.connect()
        await client.receive()
        for _ in range(3):
            await client.send(b"\x96")
            await asyncio.sleep(0.005)
            await clock.advance(30)
        assert "handshake" in caplog.text
        client.cut()


async def test_a_heartbeat_that_connects_and_closes_is_no_error(start, caplog):
    async with start(**GUARDED) as running:
        client = await running.connect()
        await client.close()
        await asyncio.sleep(0.01)
        assert running.counted("frames_rejected") == 0
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


async def test_tls_is_spoken_and_client_certificates_are_asked_for(start, tmp_path, caplog):
    files = make_certificates(tmp_path)
    tls = {"cert_file": str(files.server), "key_file": str(files.server_key), "client_ca_file": str(files.ca)}
    context = ssl.create_default_context(cafile=str(files.ca))
    async with start(tls=tls) as running:
        stranger = await running.connect(ssl=context)
        assert await stranger.closed()
        stranger.cut()
        context.load_cert_chain(files.client, files.client_key)
        client = await running.connect(ssl=context)
        large = [(number, {"x": "y" * 1000}) for number in range(300)]
        await client.send(fluentd_request("app", large, b"x"))
        assert await client.receive() == {b"ack": b"eA==\n"}
        plain = await running.connect()
        await plain.send(fluentd_request("app", EVENTS, b"x"))
        with pytest.raises(EOFError):
            await plain.receive()
        plain.cut()
        await client.close()
    assert running.emit.count == 300
    assert running.counted("tls_handshakes_failed") == 2
    assert "The TLS handshake with 127.0.0.1 failed: peer did not return a certificate." in caplog.text
    assert "The TLS handshake with 127.0.0.1 failed: wrong version number." in caplog.text


def test_secrets_are_not_shown():
    config = ForwardSource.Config.model_validate({"type": "forward", **GUARDED})
    assert "key'" not in repr(config)
    assert "'pass'" not in repr(config)
