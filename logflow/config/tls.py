"""TLS options of servers and clients, and the contexts that they stand for.

A context reads its files again when they change, as tools that renew certificates replace them: the next
handshake uses the new ones. Files that cannot be used, such as a certificate whose key is not there yet,
change nothing until they change again.
"""

from __future__ import annotations

import logging
import ssl
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Self, TypeAlias

from pydantic import Field, SecretStr, model_validator

from logflow.config.options import Options
from logflow.config.secrets import StaticSecret
from logflow.errors import ComponentError

_log = logging.getLogger("logflow.tls")

_State: TypeAlias = tuple[tuple[int, int, int] | None, ...]
"""Inode, size and time of change of each file; None for one that is missing."""


class ServerTls(Options):
    """TLS of a server."""

    cert_file: Path = Field(description="The server's certificate chain, PEM.")
    key_file: Path = Field(description="The key of the certificate, PEM.")
    key_password: StaticSecret | None = Field(None, description="Password of an encrypted key.")
    client_ca_file: Path | None = Field(
        None, description="Clients must show a certificate that one of these authorities signed, PEM."
    )

    def context(self, alpn: Sequence[str] = ()) -> ssl.SSLContext:
        """Load the files; they are loaded again when they change.

        Args:
            alpn: protocols to agree on with the peer (RFC 7301).

        Raises:
            ComponentError: one of them cannot be used.
        """
        files = (self.cert_file, self.key_file, self.client_ca_file)
        load = partial(self._load, alpn)
        return _RenewedContext(ssl.PROTOCOL_TLS_SERVER, load, [file for file in files if file])

    def _load(self, alpn: Sequence[str]) -> ssl.SSLContext:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if alpn:
            context.set_alpn_protocols(list(alpn))
        _load_chain(context, self.cert_file, self.key_file, self.key_password)
        if self.client_ca_file is not None:
            _load_authorities(context, self.client_ca_file)
            context.verify_mode = ssl.CERT_REQUIRED
        return context


class ClientTls(Options):
    """TLS of a client. The server's certificate and name are verified unless told otherwise."""

    ca_file: Path | None = Field(
        None, description="Authorities to trust, PEM; those of the system unless set."
    )
    cert_file: Path | None = Field(None, description="The client's own certificate chain, PEM.")
    key_file: Path | None = Field(None, description="The key of the client's certificate, PEM.")
    key_password: StaticSecret | None = Field(None, description="Password of an encrypted key.")
    server_name: str | None = Field(
        None, description="Name that the server's certificate must carry; its address unless set."
    )
    verify: bool = Field(default=True, description="`false` trusts any server: for tests only.")

    @model_validator(mode="after")
    def _check_pair(self) -> ClientTls:
        if (self.cert_file is None) != (self.key_file is None):
            raise ValueError("cert_file and key_file go together; set both or none")
        return self

    def context(self, alpn: Sequence[str] = ()) -> ssl.SSLContext:
        """Load the files; they are loaded again when they change.

        Args:
            alpn: protocols to agree on with the peer (RFC 7301).

        Raises:
            ComponentError: one of them cannot be used.
        """
        files = (self.ca_file, self.cert_file, self.key_file)
        load = partial(self._load, alpn)
        return _RenewedContext(ssl.PROTOCOL_TLS_CLIENT, load, [file for file in files if file])

    def _load(self, alpn: Sequence[str]) -> ssl.SSLContext:
        context = ssl.create_default_context()
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if alpn:
            context.set_alpn_protocols(list(alpn))
        if self.ca_file is not None:
            _load_authorities(context, self.ca_file)
        if self.cert_file is not None and self.key_file is not None:
            _load_chain(context, self.cert_file, self.key_file, self.key_password)
        if not self.verify:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        return context


class _RenewedContext(ssl.SSLContext):
    """Hands each handshake to a context that holds what the files hold now.

    Whoever is given one, libraries among them, need not know: a handshake begins with ``wrap_bio``.
    """

    def __new__(cls, protocol: int, *_: object) -> Self:
        return super().__new__(cls, protocol)

    def __init__(self, _: int, load: Callable[[], ssl.SSLContext], files: Sequence[Path]) -> None:
        self._load = load
        self._files = files
        self._state = self._look()  # before they are read: a change meanwhile is then seen later
        self._current = load()
        self.check_hostname = False
        self.verify_mode = self._current.verify_mode
        self.check_hostname = self._current.check_hostname

    def wrap_bio(self, *args: Any, **kwargs: Any) -> ssl.SSLObject:
        return self._renewed().wrap_bio(*args, **kwargs)

    def wrap_socket(self, *args: Any, **kwargs: Any) -> ssl.SSLSocket:
        return self._renewed().wrap_socket(*args, **kwargs)

    def _renewed(self) -> ssl.SSLContext:
        state = self._look()
        if state != self._state:
            self._state = state
            try:
                self._current = self._load()
            except ComponentError as error:
                _log.warning(
                    "TLS files changed and cannot be used: %s; what was read before stays in use until they "
                    "change again.", error,
                )  # fmt: skip
            else:
                _log.info(
                    "TLS files were read again, as they have changed: %s.", ", ".join(map(str, self._files))
                )
        return self._current

    def _look(self) -> _State:
        return tuple(map(_state, self._files))


def _state(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns


def _load_chain(context: ssl.SSLContext, cert: Path, key: Path, password: SecretStr | None) -> None:
    # Without a password OpenSSL would ask for one on the terminal.
    secret = password.get_secret_value() if password else ""
    try:
        context.load_cert_chain(cert, key, password=secret)
    except OSError as error:  # ssl.SSLError is one
        raise ComponentError(f"cannot use certificate {cert} with key {key}: {_why(error)}") from error


def _load_authorities(context: ssl.SSLContext, path: Path) -> None:
    try:
        context.load_verify_locations(path)
    except OSError as error:
        raise ComponentError(f"cannot use the authorities in {path}: {_why(error)}") from error


def _why(error: OSError) -> str:
    if isinstance(error, ssl.SSLError) and error.reason:
        return error.reason.lower().replace("_", " ")
    return error.strerror or str(error)
