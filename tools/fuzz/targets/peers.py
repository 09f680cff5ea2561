"""What peers of the Forward Protocol send, and what the API of Kubernetes answers."""

from __future__ import annotations

from contextlib import suppress

import msgpack
import msgspec

from logflow.errors import LogflowError
from logflow.forward.handshake import ClientHandshake, ClientSecrets, ServerHandshake, ServerSecrets
from logflow.forward.jsontext import JsonRequests
from logflow.kubernetes.metadata import Choice, describe, instruction
from logflow.kubernetes.pods import Namespaces, Object, Pods
from tools.fuzz.targets.base import Target, cut


def _handshake(data: bytes) -> None:
    """Whatever comes, nobody gets in who does not know the key, and nothing but our errors is raised."""
    server = ServerHandshake(ServerSecrets("server", b"key", {b"user": b"pass"}))
    with suppress(LogflowError):
        for part in cut(data):
            server.receive(part)
    assert server.client is None
    client = ClientHandshake(ClientSecrets("client", b"key", "user", "pass"))
    with suppress(LogflowError):
        for part in cut(data):
            client.receive(part)
    assert not client.done


def _json(data: bytes) -> None:
    """The same requests come out, however the data is cut."""
    found = []
    for parts in ([data[1:]], cut(data)):
        requests, packed = JsonRequests(), b""
        try:
            for part in parts:
                packed += requests.feed(part)
        except LogflowError:
            packed = b"refused"
        found.append(packed)
    if b"refused" not in found:
        assert found[0] == found[1]
        unpacker = msgpack.Unpacker(strict_map_key=False, unicode_errors="surrogateescape")
        unpacker.feed(found[0])
        for request in unpacker:
            assert isinstance(request, list)


def _kubernetes(data: bytes) -> None:
    with suppress(msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        found = msgspec.json.decode(data, type=Object)
        pods, namespaces = Pods(), Namespaces()
        pods.put(found)
        namespaces.put(found)
        pods.remove(found, 0.0)
        pods.expire(1e6)
        instruction(found, "parser", "c")
        names = {"namespace": "n", "pod": "p", "container": "c", "restart": "1"}
        describe(names, found, found, Choice(annotations=("*",)))
        found.owner()
        found.image("c")
        found.container_id("c", 1)


_HELO = msgpack.packb(["HELO", {"nonce": b"n" * 16, "auth": b"", "keepalive": True}])
_PING = msgpack.packb(["PING", "host", b"salt", "d" * 128, "", ""])
_PONG = msgpack.packb(["PONG", True, "", "host", "d" * 128])

_POD = (
    b'{"metadata":{"name":"p","namespace":"n","uid":"u","labels":{"a":"b"},"annotations":{"c":"d"},'
    b'"ownerReferences":[{"kind":"ReplicaSet","name":"p-123","controller":true}]},"spec":{"nodeName":"x"},'
    b'"status":{"containerStatuses":[{"name":"c","image":"i","containerID":"a://1","restartCount":1}]}}'
)

TARGETS = (
    Target("handshake", _handshake, [b"\xff" + _PING, b"\x05" + _HELO, b"\xff" + _HELO + _PONG]),
    Target("forward-json", _json, [b'\x05["t",[[1,{"a":"\xc3\xa9"}]],{"chunk":"x"}]["t",1,{}]']),
    Target("kubernetes", _kubernetes, [_POD]),
)
