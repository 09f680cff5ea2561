"""To a logflow source: over unix sockets, with the handshake, with TLS."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from logflow.errors import DeliveryError
from logflow.sources.forward import ForwardSource
from logflow.testing import Collector, FakeClock, make_context, run_source
from logflow.testing.forwarding import make_certificates, scripted_server
from tests.outputs.forward.bench import ENTRIES, make_chunk, where


@asynccontextmanager
async def logflow_source(tmp_path: Path, emit: Collector, **options: Any) -> AsyncIterator[ForwardSource]:
    if "unix" not in options:
        options["listen"] = "127.0.0.1:0"
    config = ForwardSource.Config.model_validate({"type": "forward", **options})
    source = ForwardSource(config, make_context(tmp_path, "peers"))
    async with run_source(source, emit):
        yield source


async def test_a_resend_has_the_same_key_at_the_source(open_output, tmp_path):
    emit = Collector()
    async with logflow_source(tmp_path, emit) as source:
        for _ in range(2):
            async with open_output({"address": f"127.0.0.1:{source.port}"}) as output:
                await output.write(make_chunk(5))
    assert emit.batches[0] == emit.batches[1]
    assert emit.batches[0].entries == ENTRIES


async def test_over_a_unix_socket(open_output, tmp_path):
    emit = Collector()
    async with (
        logflow_source(tmp_path, emit, unix=str(tmp_path / "s.sock")),
        open_output({"address": f"unix:{tmp_path}/s.sock"}) as output,
    ):
        await output.write(make_chunk())
    assert emit.count == 2


async def test_with_the_handshake(open_output, tmp_path):
    emit = Collector()
    users = [{"username": "ann", "password": "secret"}]
    async with logflow_source(tmp_path, emit, shared_key="key", users=users) as source:
        address = f"127.0.0.1:{source.port}"
        async with open_output(
            {"address": address}, shared_key="key", username="ann", password="secret"
        ) as output:
            await output.write(make_chunk())
        async with open_output({"address": address, "shared_key": "wrong"}, username="ann") as output:
            with pytest.raises(DeliveryError, match="shared_key mismatch"):
                await output.write(make_chunk())
        async with open_output({"address": address}) as output:
            with pytest.raises(DeliveryError, match="set shared_key"):
                await output.write(make_chunk())
    assert emit.count == 2


@pytest.mark.parametrize(
    "secured",
    [
        {"shared_key": "key"},
        {"username": "ann", "password": "secret"},
        {"tls": {}},
        {"tls": {"verify": False}, "shared_key": "key"},
    ],
)
async def test_no_bare_heartbeats_where_a_handshake_is_expected(open_output, secured):
    """Who waits for one logs an error for every connection that is closed before."""
    clock = FakeClock()
    async with (
        scripted_server() as secure,
        open_output(where(secure), clock=clock, heartbeat="tcp", **secured) as output,
    ):
        await let_heartbeats_come(clock)
        assert secure.connections == 0
        assert (output.server(secure).state, output.status()["servers"][where(secure)["address"]]["phi"]) == (
            "up",
            0,
        )


async def test_heartbeats_are_left_out_only_for_the_servers_that_have_a_secret(open_output):
    clock = FakeClock()
    async with (
        scripted_server() as secure,
        scripted_server() as plain,
        open_output(where(secure, shared_key="key"), where(plain), clock=clock, heartbeat="tcp"),
    ):
        await let_heartbeats_come(clock)
        await plain.wait_for(connections=1)
        assert secure.connections == 0


async def let_heartbeats_come(clock: FakeClock) -> None:
    for _ in range(20):
        await clock.advance(1)
        await asyncio.sleep(0.002)


async def test_a_server_without_handshake_is_noticed(open_output, tmp_path):
    async with logflow_source(tmp_path, Collector()) as source:
        address = f"127.0.0.1:{source.port}"
        async with open_output({"address": address}, shared_key="key", connect_timeout=0.05) as output:
            with pytest.raises(DeliveryError, match="took longer"):
                await output.write(make_chunk())


async def test_with_tls_certificates_are_verified(open_output, tmp_path):
    files = make_certificates(tmp_path)
    emit = Collector()
    tls = {"cert_file": str(files.server), "key_file": str(files.server_key), "client_ca_file": str(files.ca)}
    own = {"cert_file": str(files.client), "key_file": str(files.client_key)}
    async with logflow_source(tmp_path, emit, tls=tls) as source:
        server = {"address": f"127.0.0.1:{source.port}"}
        large = make_chunk(1, "app", *[ENTRIES] * 30_000)
        async with open_output(server, tls={"ca_file": str(files.ca), **own}, heartbeat="tcp") as output:
            await output.write(large)
        async with open_output(
            server, tls={"ca_file": str(files.ca), "server_name": "localhost", **own}
        ) as output:
            await output.write(make_chunk(2))
        async with open_output(server, tls={"verify": False, **own}) as output:
            await output.write(make_chunk(3))
        assert emit.count == 30_000 * 2 + 4
        for wrong in ({}, {"ca_file": str(files.ca), "server_name": "elsewhere"}):
            async with open_output(server, tls={**wrong, **own}) as output:
                with pytest.raises(DeliveryError, match="certificate is not accepted"):
                    await output.write(make_chunk(4))
        async with open_output(server, tls={"ca_file": str(files.ca)}) as output:
            with pytest.raises(DeliveryError):
                await output.write(make_chunk(5))
