r"""The PROXY protocol: a load balancer says at the start of a connection which client it is from.

::

    version 1   PROXY TCP4 192.0.2.1 192.0.2.9 56324 24224 \r\n         at most 107 bytes
    version 2   signature (12) | version, command | family | length (2) | addresses | further fields

Source: "The PROXY protocol, versions 1 & 2", HAProxy, 2020/03/05. A header that names no address (``UNKNOWN``
or ``LOCAL``, as in health checks) leaves the connection with the address of the balancer.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import struct
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, TypeAlias

from logflow.component import Context
from logflow.errors import MalformedData

_SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
_LINE_BYTES = 107
_MOST_BYTES = 4096
"""Longest second part of a header of version 2; a few hundred bytes are usual."""
_HEADER_S = 5.0
_LOCAL, _PROXY = 0x20, 0x21

Address: TypeAlias = tuple[Any, ...]
Receive: TypeAlias = Callable[[int], Awaitable[bytes]]


class ProxyHeaders:
    """Reads the header of each connection; one without it is refused."""

    def __init__(self, context: Context, complain: Callable[[str, str], None]) -> None:
        self._refused = context.counter(
            "proxy_headers_refused", "Connections refused because they began with no PROXY header."
        )
        self._complain = complain

    async def client_of(self, connection: socket.socket, proxy: str) -> socket.socket | None:
        """Read the header that a connection begins with.

        Args:
            connection: what was accepted; closed if it is refused.
            proxy: the address of its other end.

        Returns:
            The connection, whose ``getpeername`` is now the client's address; None if it is refused.
        """
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(_HEADER_S):
                client = await read_header(partial(loop.sock_recv, connection))
        except BaseException as error:
            connection.close()
            if isinstance(error, MalformedData | TimeoutError):
                self._refuse(proxy, str(error) or f"none came within {_HEADER_S:g} s")
            elif not isinstance(error, OSError | EOFError):  # else it went away, as probes of the port do
                raise
            return None
        return connection if client is None else _Proxied(connection, client)

    def _refuse(self, proxy: str, why: str) -> None:
        self._refused()
        self._complain(
            f"Refused a connection from {proxy} because of its PROXY header: {why}. Clients that connect "
            "without a load balancer need a source without proxy_protocol.",
            proxy,
        )


class _Proxied(socket.socket):
    """A connection that tells the address of the client behind the proxy."""

    def __init__(self, connection: socket.socket, client: Address) -> None:
        super().__init__(connection.family, connection.type, connection.proto, fileno=connection.detach())
        self.settimeout(0.0)
        self._client = client

    def getpeername(self) -> Address:
        return self._client


async def read_header(receive: Receive) -> Address | None:
    """Read a header, and not a byte more.

    Returns:
        The client's address as a socket tells it; None if the header names none.

    Raises:
        EOFError: the connection ended before its first byte.
        MalformedData: there is no header, or it cannot be understood.
    """
    start = await receive(len(_SIGNATURE))
    if not start:
        raise EOFError
    start += await _exactly(receive, len(_SIGNATURE) - len(start))
    if start == _SIGNATURE:
        return await _version_2(receive)
    if start.startswith(b"PROXY "):
        return await _version_1(receive, start)
    raise MalformedData("it is missing")


async def _exactly(receive: Receive, size: int) -> bytes:
    data = b""
    while len(data) < size:
        part = await receive(size - len(data))
        if not part:
            raise MalformedData("the connection ended within it")
        data += part
    return data


async def _version_1(receive: Receive, line: bytes) -> Address | None:
    while not line.endswith(b"\r\n"):
        if len(line) >= _LINE_BYTES:
            raise MalformedData(f"it is longer than {_LINE_BYTES} bytes")
        line += await _exactly(receive, 1)  # what follows belongs to the client
    words = line[:-2].decode("ascii", "replace").split(" ")
    if words[1] == "UNKNOWN":
        return None
    if len(words) != 6 or words[1] not in ("TCP4", "TCP6"):
        raise MalformedData("it is not of a known form")
    _, family, source, _, port, _ = words
    try:
        kind = ipaddress.IPv4Address if family == "TCP4" else ipaddress.IPv6Address
        return _address(kind(source), int(port))
    except ValueError:
        raise MalformedData("its address is not one") from None


async def _version_2(receive: Receive) -> Address | None:
    command, family, size = struct.unpack("!BBH", await _exactly(receive, 4))
    if size > _MOST_BYTES:
        raise MalformedData(f"it is longer than {_MOST_BYTES} bytes")
    body = await _exactly(receive, size)
    if command not in (_LOCAL, _PROXY):
        raise MalformedData("its version or command is unknown")
    match family >> 4:
        case _ if command == _LOCAL:
            return None
        case 1 if size >= 12:
            return _address(ipaddress.IPv4Address(body[:4]), int.from_bytes(body[8:10]))
        case 2 if size >= 36:
            return _address(ipaddress.IPv6Address(body[:16]), int.from_bytes(body[32:34]))
        case 1 | 2:
            raise MalformedData("it is too short for its addresses")
        case _:  # a unix socket, or nothing that the balancer knows
            return None


def _address(host: ipaddress.IPv4Address | ipaddress.IPv6Address, port: int) -> Address:
    if not 0 <= port <= 0xFFFF:
        raise MalformedData("its port is not one")
    if host.version == 4:
        return str(host), port
    return str(host).partition("%")[0], port, 0, 0
