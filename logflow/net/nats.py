"""How clients of NATS connect: options that the output and the source share, and what errors mean."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from pathlib import Path
from typing import Any

from pydantic import Field, model_validator

from logflow import extras
from logflow.component import ConfigModel
from logflow.config.fields import Duration, NonEmpty
from logflow.config.secrets import SecretField
from logflow.config.tls import ClientTls
from logflow.errors import DeliveryError

_CLOSE_S = 2.0


class NatsConfig(ConfigModel):
    """Where the servers are, and how one gets in."""

    servers: list[NonEmpty] = Field(
        min_length=1, description="URLs of servers of a cluster.", examples=[["nats://nats-0:4222"]]
    )
    username: NonEmpty | None = Field(None, description="Who connects.")
    password: SecretField | None = Field(None, description="Password of the user.")
    token: SecretField | None = Field(None, description="Token, in place of a user.")
    credentials_file: Path | None = Field(
        None, description="File with a JWT and an nkey, as `nsc` makes them, in place of a user."
    )
    tls: ClientTls | None = Field(None, description="Encrypt connections; verified unless told otherwise.")
    timeout: Duration = Field(10.0, gt=0, description="Longest wait for a connection, and for an answer.")

    @model_validator(mode="after")
    def _check_one_way(self) -> NatsConfig:
        ways = [self.username, self.token, self.credentials_file]
        if sum(way is not None for way in ways) > 1:
            raise ValueError("set one of username, token and credentials_file")
        if (self.username is None) != (self.password is None):
            raise ValueError("username and password go together; set both or none")
        return self


class Nats:
    """A connection to a cluster, made when it is needed.

    Raises:
        ComponentError: the library is missing.
    """

    def __init__(self, config: NatsConfig, what: str) -> None:
        self.library = extras.load("nats", "nats", what)
        self.errors = extras.load("nats.errors", "nats", what)
        self.js_errors = extras.load("nats.js.errors", "nats", what)
        self.api = extras.load("nats.js.api", "nats", what)
        self._config = config
        self._client: Any = None
        self._turn = asyncio.Lock()
        self._refused = ""

    async def stream(self) -> Any:
        """JetStream on a connection that works.

        Raises:
            DeliveryError: there is none now.
        """
        async with self._turn:
            if self._client is None or not self._client.is_connected:
                await self._drop()
                try:
                    async with asyncio.timeout(self._config.timeout):
                        await self._connect()
                except BaseException as error:
                    await self._drop()
                    if not isinstance(error, Exception):
                        raise
                    raise self.undelivered(error) from error
            return self._client.jetstream(timeout=self._config.timeout)

    @property
    def max_payload(self) -> int:
        """Most bytes of a message, as the server says."""
        return int(self._client.max_payload)

    async def close(self) -> None:
        """Disconnect. Safe twice."""
        async with self._turn:
            await self._drop()

    async def _connect(self) -> None:
        config = self._config
        self._refused = ""
        self._client = client = self.library.NATS()
        options: dict[str, Any] = dict(  # noqa: C408
            max_reconnect_attempts=1, reconnect_time_wait=0.1,
            servers=config.servers, name="logflow", allow_reconnect=False, error_cb=self._heard,
            connect_timeout=config.timeout, user=config.username,
            password=config.password.reveal() if config.password else None,
            token=config.token.reveal() if config.token else None,
            user_credentials=str(config.credentials_file) if config.credentials_file else None,
            tls=config.tls.context() if config.tls else None,
            tls_hostname=config.tls.server_name if config.tls else None,
        )  # fmt: skip
        await client.connect(**options)

    async def _heard(self, error: Exception) -> None:
        """The library tells of errors beside what it raises; what servers refuse is said here alone."""
        self._refused = " ".join(str(error).split()) or type(error).__name__

    async def _drop(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            with suppress(Exception):
                async with asyncio.timeout(_CLOSE_S):
                    await client.close()
            if (transport := getattr(client, "_transport", None)) is not None:
                transport.close()  # it is left open where a connection was refused or lost

    def undelivered(self, error: Exception) -> DeliveryError:
        """Say what to do."""
        if isinstance(error, DeliveryError):
            return error
        where = f"NATS at {', '.join(_without_user(server) for server in self._config.servers)}"
        text = " ".join(str(error).split())[:300] or type(error).__name__
        refused = f"{self._refused} {text}".lower()
        if "authorization" in refused or "authentication" in refused:
            return DeliveryError(f"{where} refuses these credentials: {text}")
        if isinstance(error, self.errors.NoServersError | OSError | self.errors.ConnectionClosedError):
            return DeliveryError(f"{where} cannot be reached: {self._refused or text}")
        return DeliveryError(f"{where} did not do it: {text}")


def _without_user(url: str) -> str:
    """A URL without what may be a password."""
    scheme, separator, rest = url.rpartition("://")
    return f"{scheme}{separator}{rest.rpartition('@')[2]}"
