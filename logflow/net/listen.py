"""The sockets that a source listens on: TCP (with TLS if asked), UDP beside it, and a unix socket.

They listen from :meth:`Listeners.open` on, so that nobody is refused while the service starts, and are
served from :meth:`Listeners.serve` on. Where systemd listens already, its socket is used.
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import stat
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from pydantic import Field

from logflow.component import Context
from logflow.config.fields import write_address
from logflow.config.options import SourceConfig
from logflow.config.tls import ServerTls
from logflow.errors import ComponentError
from logflow.net.acceptor import Acceptor
from logflow.net.activation import activated, is_activated
from logflow.net.complaints import Complaints
from logflow.net.proxy_protocol import ProxyHeaders
from logflow.net.tls import HandshakeFailures, Tls

_BACKLOG = 512
_NO_SUCH_FAMILY = {errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT}

_listening: dict[tuple[Any, ...], socket.socket] = {}
"""What this process listens on, by kind and address."""

_taken: ContextVar[set[tuple[Any, ...]] | None] = ContextVar("taken", default=None)


@contextmanager
def handing_over() -> Iterator[None]:
    """Within the block, whoever opens an address that this process listens on shares the socket.

    So a source takes over from the one before it, and nobody is refused in between. Each socket is handed
    over once: two sources that are to listen on one address are a mistake, now as ever.
    """
    token = _taken.set(set())
    try:
        yield
    finally:
        _taken.reset(token)


def is_handing_over() -> bool:
    """Whether there may be another source that still serves the same address."""
    return _taken.get() is not None


def _share(key: tuple[Any, ...]) -> socket.socket | None:
    """Another descriptor of a socket that is handed over, by the source before or by systemd."""
    taken, there = _taken.get(), _listening.get(key)
    if there is None or there.fileno() < 0:
        return activated(key)
    if taken is None or key in taken:
        return None
    taken.add(key)
    return there.dup()


class ListenerConfig(SourceConfig):
    """What every source that listens on TCP may be given."""

    tls: ServerTls | None = Field(
        None, description="Encrypt TCP connections. The files are read again when they change."
    )
    proxy_protocol: bool = Field(
        default=False,
        description="Every TCP connection begins with a header of the PROXY protocol (version 1 or 2), in "
        "which a load balancer names the client; a connection without one is refused. Whoever reaches the "
        "port can claim any address, so let only the balancers reach it.",
    )
    max_connections: int = Field(1024, ge=1, description="Most connections at once.")


class Listeners:
    """All listening sockets of one source."""

    def __init__(
        self,
        context: Context,
        address: tuple[str, int] | None,
        config: ListenerConfig | None,
        complain: Complaints,
        *,
        handshake_s: float = 10.0,
        streams: bool = True,
        unix: Path | None = None,
        datagrams: Callable[[], asyncio.DatagramProtocol] | None = None,
        unix_datagrams: tuple[Path, Callable[[], asyncio.DatagramProtocol]] | None = None,
        alpn: Sequence[str] = (),
    ) -> None:
        """Describe them; nothing is opened yet.

        Args:
            context: the source's context.
            address: host and port; port 0 has the system choose, and ``::`` takes IPv4 too.
            config: how TCP is encrypted, and whether it begins with PROXY headers.
            complain: logs a sentence about what peers do wrong, or what keeps us from accepting.
            handshake_s: longest time for a TLS handshake.
            streams: listen for TCP on the address.
            unix: path of a unix socket.
            datagrams: makes what takes UDP datagrams on the address.
            unix_datagrams: path of a unix socket for datagrams, and what makes what takes them.
            alpn: protocols to agree on with clients over TLS.
        """
        self._name = context.name
        self._log = context.log
        self._address = address
        self._config = config
        self._complain = complain
        self._handshake_s = handshake_s
        self._handshake_failures = HandshakeFailures(context, complain)
        self._proxied = ProxyHeaders(context, complain) if config and config.proxy_protocol else None
        self._tls: Tls | None = None
        self._streams = streams
        self._alpn = alpn
        self._unix = unix
        self._datagrams = datagrams
        self._unix_datagrams = unix_datagrams
        self._sockets: list[socket.socket] = []
        self._servers: list[Acceptor] = []
        self._endpoints: list[asyncio.DatagramTransport] = []
        self._noted: list[tuple[tuple[Any, ...], socket.socket]] = []

    @property
    def port(self) -> int:
        """The TCP or UDP port in use.

        Raises:
            LookupError: there is none.
        """
        for _, listener in self._noted:
            if listener.family != socket.AF_UNIX:
                return int(listener.getsockname()[1])
        raise LookupError("nothing listens on a port")

    async def open(self) -> None:
        """Bind and listen.

        Raises:
            ComponentError: one of the addresses or a certificate cannot be used. None is open.
        """
        if self._config is not None and self._config.tls is not None:
            self._tls = Tls(self._config.tls.context(self._alpn), self._handshake_s, self._handshake_failures)
        try:
            await self._open_all()
        except OSError as error:
            self.close()
            raise ComponentError(
                f"source {self._name}: cannot listen on {error.filename}: {error.strerror or error}; "
                "stop what listens there, or set another address"
            ) from error
        self._log.info("Listens on %s.", ", ".join(self._places()))

    def _places(self) -> list[str]:
        """Where it listens, as text."""
        ports = {
            listener.getsockname()[1] for _, listener in self._noted if listener.family != socket.AF_UNIX
        }
        host = self._address[0] if self._address else ""
        unix = [self._unix, self._unix_datagrams[0] if self._unix_datagrams else None]
        return [write_address(host, port) for port in sorted(ports)] + [
            str(path) for path in unix if path is not None
        ]

    async def serve(self, accept: Callable[[], asyncio.BaseProtocol]) -> None:
        """Accept connections, those that came since :meth:`open` among them; once is enough.

        Args:
            accept: makes the protocol of each connection.
        """
        for listener in [] if self._servers else self._sockets:
            if listener.family == socket.AF_UNIX:
                server = Acceptor(listener, accept, complain=self._complain)
            else:
                server = Acceptor(listener, accept, self._tls, self._complain, self._proxied)
            self._servers.append(server)

    async def _open_all(self) -> None:
        if self._address is not None:
            with _named("{}:{}".format(*self._address)):
                await self._open_internet(*self._address)
        if self._unix is not None:
            with _named(str(self._unix)):
                listener = _share(("unix", self._unix)) or _open_unix(self._unix)
            self._sockets.append(listener)
            self._note(("unix", self._unix), listener)
        if self._unix_datagrams is not None:
            path, make = self._unix_datagrams
            with _named(str(path)):
                listener = _share(("unix datagrams", path)) or _open_unix(path, socket.SOCK_DGRAM)
            await self._take_datagrams(("unix datagrams", path), listener, make)

    def close(self) -> None:
        """Close them all; connections stay. Safe twice."""
        for endpoint in self._endpoints:
            endpoint.close()
        for server in self._servers:
            server.close()
        for key, listener in self._noted:
            if _listening.get(key) is listener:  # nobody has taken it over
                del _listening[key]
                if key[0] in {"unix", "unix datagrams"} and not is_activated(key):
                    key[1].unlink(missing_ok=True)
        for listener in self._sockets:
            listener.close()
        self._endpoints, self._servers, self._sockets, self._noted = [], [], [], []

    async def _open_internet(self, host: str, port: int) -> None:
        found = await asyncio.get_running_loop().getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        missing: OSError | None = None
        for family, address in dict.fromkeys((entry[0], entry[4]) for entry in found):
            # What the system says of IPv4 in IPv6 is not the same everywhere: :: means both.
            both = family == socket.AF_INET6 and address[0] == "::" and socket.has_dualstack_ipv6()
            try:
                bound = self._open_tcp(family, address, dualstack=both) if self._streams else address
                if self._datagrams is not None:
                    udp = _share(("udp", *bound[:2])) or _open_udp(family, bound, dualstack=both)
                    await self._take_datagrams(("udp", *udp.getsockname()[:2]), udp, self._datagrams)
            except OSError as error:
                if error.errno not in _NO_SUCH_FAMILY:
                    raise
                missing = error  # a name may stand for IPv6 as well on a machine that has none
        if missing is not None and not self._noted:
            raise missing

    def _open_tcp(self, family: int, address: tuple[Any, ...], *, dualstack: bool) -> tuple[Any, ...]:
        """Listen for connections; returns the address with the port that is in use."""
        key = ("tcp", *address[:2])
        listener = _share(key) or socket.create_server(
            address[:2], family=family, backlog=_BACKLOG, dualstack_ipv6=dualstack
        )
        self._sockets.append(listener)
        self._note(key, listener)
        name: tuple[Any, ...] = listener.getsockname()
        return name

    async def _take_datagrams(
        self, key: tuple[Any, ...], taker: socket.socket, make: Callable[[], asyncio.DatagramProtocol]
    ) -> None:
        taker.setblocking(False)  # noqa: FBT003
        self._note(key, taker)
        endpoint, _ = await asyncio.get_running_loop().create_datagram_endpoint(make, sock=taker)
        self._endpoints.append(endpoint)

    def _note(self, key: tuple[Any, ...], listener: socket.socket) -> None:
        _listening[key] = listener
        self._noted.append((key, listener))


def _open_udp(family: int, address: tuple[Any, ...], *, dualstack: bool) -> socket.socket:
    udp = socket.socket(family, socket.SOCK_DGRAM)
    try:
        if family == socket.AF_INET6:
            udp.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, not dualstack)
        udp.bind(address)
    except OSError:
        udp.close()
        raise
    return udp


@contextmanager
def _named(address: str) -> Iterator[None]:
    """Put the address into the errors of a block."""
    try:
        yield
    except OSError as error:
        error.filename = address
        raise


def _open_unix(path: Path, kind: int = socket.SOCK_STREAM) -> socket.socket:
    """Bind a unix socket; what a dead process left there is removed."""
    if path.exists() and stat.S_ISSOCK(path.stat().st_mode):
        with socket.socket(socket.AF_UNIX, kind) as probe:
            try:
                probe.connect(os.fspath(path))
            except OSError:
                path.unlink()
            else:
                raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))
    listener = socket.socket(socket.AF_UNIX, kind)
    try:
        listener.bind(os.fspath(path))
        if kind == socket.SOCK_STREAM:
            listener.listen(_BACKLOG)
    except OSError:
        listener.close()
        raise
    return listener
