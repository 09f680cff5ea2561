"""Who a client is, and how that stays secret when a server repeats it."""

from __future__ import annotations

import base64
import re
from collections import deque
from collections.abc import Mapping
from types import MappingProxyType

from pydantic import Field, model_validator

from logflow.config.options import Options
from logflow.config.secrets import Secret, SecretField
from logflow.errors import DeliveryError

_LEAST_MASKED = 4
"""Shorter texts stand in every other sentence; masking them would tell more than it hides."""
_REMEMBERED = 64


class ClientAuth(Options):
    """Either ``username`` and ``password`` (RFC 7617) or ``bearer`` (RFC 6750)."""

    username: str | None = Field(None, description="User name of basic authentication.")
    password: SecretField | None = Field(None, description="Password of basic authentication.")
    bearer: SecretField | None = Field(None, description="Bearer token.")

    @model_validator(mode="after")
    def _check_choice(self) -> ClientAuth:
        basic = (self.username is not None, self.password is not None)
        if basic != (self.bearer is None,) * 2:
            raise ValueError("set either username and password, or bearer")
        if ":" in (self.username or ""):
            raise ValueError("a username must not contain a colon")
        return self


class Credentials:
    """The headers that carry secrets, made anew for each request, and what must not be shown of them."""

    def __init__(
        self,
        headers: Mapping[str, Secret],
        auth: ClientAuth | None,
        identity: Mapping[str, tuple[str, Secret]] = MappingProxyType({}),
    ) -> None:
        self._headers = headers
        self._identity = identity
        self._auth = auth
        self._shown: deque[str] = deque(maxlen=_REMEMBERED)
        self._pattern = re.compile(r"(?!)")

    def headers(self) -> dict[str, str]:
        """Return the headers as they are now.

        Raises:
            DeliveryError: the file of a secret cannot be read, or its text cannot stand in a header.
        """
        headers = {name: before + self._reveal(secret) for name, (before, secret) in self._identity.items()}
        headers |= {name: self._reveal(secret) for name, secret in self._headers.items()}
        if self._auth is not None:
            headers.setdefault("Authorization", self._authorization(self._auth))
        for name, value in headers.items():
            if {"\r", "\n", "\0"} & set(value):
                raise DeliveryError(f"the value of the header {name} must be one line")
        return headers

    def mask(self, text: str) -> str:
        """Replace every secret that was sent by asterisks."""
        return self._pattern.sub("**********", text)

    @property
    def longest(self) -> int:
        """Characters of the longest secret."""
        return max(map(len, self._shown), default=0)

    def hide(self, text: str) -> None:
        """Have :meth:`mask` replace this text too."""
        if len(text) >= _LEAST_MASKED and text not in self._shown:
            self._shown.append(text)
            longest_first = sorted(self._shown, key=len, reverse=True)
            self._pattern = re.compile("|".join(map(re.escape, longest_first)))

    def _reveal(self, secret: Secret) -> str:
        text = secret.reveal()
        self.hide(text)
        return text

    def _authorization(self, auth: ClientAuth) -> str:
        if auth.bearer is not None:
            return f"Bearer {self._reveal(auth.bearer)}"
        assert auth.password is not None
        pair = base64.b64encode(f"{auth.username}:{self._reveal(auth.password)}".encode()).decode()
        self.hide(pair)
        return f"Basic {pair}"
