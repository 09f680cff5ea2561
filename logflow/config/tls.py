"""TLS options of servers and clients, and the contexts that they stand for."""

from __future__ import annotations

import ssl
from pathlib import Path

from pydantic import Field, SecretStr, model_validator

from logflow.config.options import Options
from logflow.config.secrets import StaticSecret
from logflow.errors import ComponentError


class ServerTls(Options):
    """TLS of a server."""

    cert_file: Path = Field(description="The server's certificate chain, PEM.")
    key_file: Path = Field(description="The key of the certificate, PEM.")
    key_password: StaticSecret | None = Field(None, description="Password of an encrypted key.")
    client_ca_file: Path | None = Field(
        None, description="Clients must show a certificate that one of these authorities signed, PEM."
    )

    def context(self) -> ssl.SSLContext:
        """Load the files.

        Raises:
            ComponentError: one of them cannot be used.
        """
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
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

    def context(self) -> ssl.SSLContext:
        """Load the files.

        Raises:
            ComponentError: one of them cannot be used.
        """
        context = ssl.create_default_context()
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if self.ca_file is not None:
            _load_authorities(context, self.ca_file)
        if self.cert_file is not None and self.key_file is not None:
            _load_chain(context, self.cert_file, self.key_file, self.key_password)
        if not self.verify:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        return context


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
    return error.strerror or str(error)
