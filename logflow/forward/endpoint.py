"""Where a peer is: ``host:port`` or ``unix:/path``."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, TypeVar

from pydantic import BeforeValidator, PlainSerializer

from logflow.config.fields import Notation, parse_address, write_address

DEFAULT_PORT = 24224

P = TypeVar("P", bound=asyncio.BaseProtocol)


@dataclass(frozen=True)
class ServerEndpoint:
    """A TCP address, or the path of a unix socket (then host and port mean nothing)."""

    host: str = "127.0.0.1"
    port: int = DEFAULT_PORT
    path: str | None = None

    @classmethod
    def parse(cls, value: object) -> ServerEndpoint:
        """Read ``host:port``, ``host`` (with the port 24224) or ``unix:/path``.

        Raises:
            ValueError: it is neither an address nor a path.
        """
        if isinstance(value, ServerEndpoint):
            return value
        if isinstance(value, str) and value.startswith("unix:"):
            path = "/" + value.removeprefix("unix:").lstrip("/")
            if path == "/" or not value.removeprefix("unix:").startswith("/"):
                raise ValueError(f"{value!r} is not a unix socket; write unix:/path")
            return cls(path=path)
        if isinstance(value, str) and value and ":" not in value:
            return cls(value, DEFAULT_PORT)
        return cls(*parse_address(value))

    def __str__(self) -> str:
        if self.path is not None:
            return f"unix:{self.path}"
        return write_address(self.host, self.port)

    async def connect(
        self, factory: Callable[[], P], tls: ssl.SSLContext | None = None, server_name: str | None = None
    ) -> P:
        """Open a connection.

        Args:
            factory: makes the protocol of the connection.
            tls: encrypt with this context.
            server_name: the name that the certificate must have, when it is not the host.

        Raises:
            OSError: nobody listens there, or TLS failed (``ssl.SSLError``).
        """
        loop = asyncio.get_running_loop()
        name = (server_name or self.host) if tls else None
        if self.path is not None:
            _, protocol = await loop.create_unix_connection(factory, self.path, ssl=tls, server_hostname=name)
        else:
            _, protocol = await loop.create_connection(
                factory, self.host, self.port, ssl=tls, server_hostname=name
            )
        return protocol


EndpointField = Annotated[
    ServerEndpoint,
    BeforeValidator(ServerEndpoint.parse),
    PlainSerializer(str),
    Notation("address", "aggregator-0:24224", {"type": "string", "minLength": 1}),
]
"""Host and port, or a unix socket; written ``aggregator-0:24224`` or ``unix:/run/logflow.sock``."""
