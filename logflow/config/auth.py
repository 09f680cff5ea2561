"""Who a client of HTTP is: basic credentials or a bearer token."""

from __future__ import annotations

import base64
import hmac

from pydantic import Field, model_validator

from logflow.config.options import Options
from logflow.config.secrets import StaticSecret


class HttpAuth(Options):
    """Either ``username`` and ``password`` (RFC 7617) or ``bearer`` (RFC 6750)."""

    username: str | None = Field(None, description="User name of basic authentication.")
    password: StaticSecret | None = Field(None, description="Password of basic authentication.")
    bearer: StaticSecret | None = Field(None, description="Bearer token.")

    @model_validator(mode="after")
    def _check_choice(self) -> HttpAuth:
        basic = (self.username is not None, self.password is not None)
        if basic != (self.bearer is None,) * 2:
            raise ValueError("set either username and password, or bearer")
        if ":" in (self.username or ""):
            raise ValueError("a username must not contain a colon")
        header = self.header()
        if not header.isascii() or not header.isprintable():
            raise ValueError("a bearer token must be printable ASCII")
        return self

    def header(self) -> str:
        """The value of the ``Authorization`` header: a secret."""
        if self.bearer is not None:
            return f"Bearer {self.bearer.get_secret_value()}"
        assert self.password is not None
        pair = f"{self.username}:{self.password.get_secret_value()}"
        return f"Basic {base64.b64encode(pair.encode()).decode()}"

    def accepts(self, header: str) -> bool:
        """Whether a client's header is right; takes the same time wherever it is wrong."""
        scheme, _, value = header.partition(" ")
        given = f"{scheme.capitalize()} {value.strip()}"
        return hmac.compare_digest(given.encode("utf-8", "backslashreplace"), self.header().encode())
