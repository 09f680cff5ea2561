"""How connections are encrypted, and what is said of handshakes that fail."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from dataclasses import dataclass

from logflow.component import Context


@dataclass(frozen=True)
class Tls:
    """How connections are encrypted.

    Attributes:
        context: certificates and what clients must show.
        handshake_timeout_s: longest time for a handshake.
        failed: told the client's address and why its handshake failed.
    """

    context: ssl.SSLContext
    handshake_timeout_s: float
    failed: Callable[[str, str], None]


class HandshakeFailures:
    """Counts and logs handshakes that failed."""

    def __init__(self, context: Context, complain: Callable[[str, str], None]) -> None:
        self._count = context.counter(
            "tls_handshakes_failed", "TLS handshakes that failed, without those of clients that only left."
        )
        self._complain = complain

    def __call__(self, address: str, why: str) -> None:
        """Tell of one: the client's address, and why."""
        self._count()
        self._complain(f"The TLS handshake with {address} failed: {why}.", address)


def why_failed(error: ssl.SSLError) -> str:
    """Say in a few words why a handshake failed."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not accepted: {error.verify_message}"
    return (error.reason or str(error)).lower().replace("_", " ")
