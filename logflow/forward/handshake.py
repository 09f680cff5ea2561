"""The handshake that a server with a shared key or with users asks for, both sides, without I/O.

::

    server                                          client
    ── HELO {nonce, auth, keepalive} ─────────────►            auth is '' when there are no users
    ◄───────────── PING name, salt, digest, user, password ──  digest = sha512(salt, name, nonce, key)
    ── PONG ok, reason, name, digest ─────────────►            digest = sha512(salt, name, nonce, key)
    (closes when not ok)                                       password = sha512(auth, user, password)

Digests are lower-case hexadecimal. The salt is the client's in both, so a client must refuse a server
that has its own name: such a server could send the client's digest back without knowing the key.
Strings may come as str or bin, and need not be UTF-8 (Fluent Bit's salt is 16 raw bytes sent as str).
Specification: https://github.com/fluent/fluentd/wiki/Forward-Protocol-Specification-v1#handshake-messages
"""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha512
from typing import Any

import msgpack

from logflow.errors import DeliveryError, LimitExceeded, MalformedData

MAX_MESSAGE_BYTES = 8 * 1024
MAX_HOSTNAME_BYTES = 255


@dataclass(frozen=True)
class ServerSecrets:
    """What a server asks of its clients.

    Attributes:
        hostname: the server's own name.
        shared_key: the key that both sides know; may be empty when there are users.
        users: user name to password; empty when users are not asked for.
    """

    hostname: str
    shared_key: bytes = field(repr=False)
    users: Mapping[bytes, bytes] = field(default_factory=dict, repr=False)


@dataclass(frozen=True)
class ClientSecrets:
    """What a client shows to a server.

    Attributes:
        hostname: the client's own name; not the server's.
        shared_key: the key that both sides know.
        username: empty when the server has no users.
        password: the user's.
    """

    hostname: str
    shared_key: bytes = field(repr=False)
    username: str = ""
    password: str = field(default="", repr=False)


def digest(*parts: bytes) -> str:
    """SHA-512 over the concatenation of ``parts``, as lower-case hexadecimal."""
    return sha512(b"".join(parts)).hexdigest()


class ServerHandshake:
    """One client's handshake at the server: send :meth:`hello`, then feed :meth:`receive`.

    Attributes:
        client: the name that the client gave, once it has been accepted.
        refused: why it was not.
        rest: bytes that came after the handshake.
    """

    def __init__(self, wanted: ServerSecrets) -> None:
        self._wanted = wanted
        self._nonce = secrets.token_bytes(16)
        self._auth = secrets.token_bytes(16) if wanted.users else b""
        self._inbox = _Inbox()
        self.client: bytes | None = None
        self.refused: str | None = None
        self.rest = b""

    def hello(self) -> bytes:
        """What the server sends first."""
        return _pack(["HELO", {"nonce": self._nonce, "auth": self._auth, "keepalive": True}])

    def receive(self, data: bytes) -> bytes:
        """Take what the client sent; returns the answer, or nothing when more is to come.

        Raises:
            MalformedData: the client does not speak the handshake.
        """
        message = self._inbox.receive(data)
        if message is None:
            return b""
        match message:
            case [b"PING", bytes(name), bytes(salt), bytes(proof), bytes(user), bytes(password)]:
                self.rest = self._inbox.rest
            case _:
                raise MalformedData("the client did not answer HELO with PING; does it know the shared key?")
        self.refused = self._refusal(name, salt, proof, user, password)
        if self.refused is not None:
            return _pack(["PONG", False, self.refused, "", ""])
        self.client = name
        own = self._wanted.hostname.encode()
        return _pack(
            ["PONG", True, "", own.decode(), digest(salt, own, self._nonce, self._wanted.shared_key)]
        )

    def _refusal(self, name: bytes, salt: bytes, proof: bytes, user: bytes, password: bytes) -> str | None:
        if len(name) > MAX_HOSTNAME_BYTES:
            return "hostname too long"
        if not hmac.compare_digest(proof, digest(salt, name, self._nonce, self._wanted.shared_key).encode()):
            return "shared_key mismatch"
        if self._wanted.users:
            known = self._wanted.users.get(user)
            expected = digest(self._auth, user, known or b"").encode()
            if not hmac.compare_digest(password, expected) or known is None:
                return "username/password mismatch"
        return None


class ClientHandshake:
    """The handshake at the client: feed :meth:`receive` until :attr:`done`."""

    def __init__(self, shown: ClientSecrets) -> None:
        self._shown = shown
        self._salt = secrets.token_hex(16).encode()
        self._nonce: bytes | None = None
        self._inbox = _Inbox()
        self.done = False

    def receive(self, data: bytes) -> bytes:
        """Take what the server sent; returns the answer, or nothing.

        Raises:
            MalformedData: the server does not speak the handshake.
            DeliveryError: the server refused, or does not know the key.
        """
        message = self._inbox.receive(data)
        match message:
            case None:
                return b""
            case [b"HELO", dict(options)] if self._nonce is None:
                return self._ping(options)
            case [b"PONG", bool(accepted), reason, bytes(name), bytes(proof)] if self._nonce is not None:
                self._check(accepted, reason, name, proof)
                self.done = True
                return b""
            case _:
                raise MalformedData("the server did not answer as the handshake asks")

    def _ping(self, options: dict[Any, Any]) -> bytes:
        nonce, auth = options.get(b"nonce", b""), options.get(b"auth", b"")
        if not isinstance(nonce, bytes) or not isinstance(auth, bytes):
            raise MalformedData("the server's HELO holds no nonce")
        self._nonce = nonce
        name, user = self._shown.hostname.encode(), self._shown.username.encode()
        proof = digest(self._salt, name, nonce, self._shown.shared_key)
        password = digest(auth, user, self._shown.password.encode()) if auth else ""
        return _pack(["PING", name.decode(), self._salt.decode(), proof, user.decode(), password])

    def _check(self, accepted: bool, reason: object, name: bytes, proof: bytes) -> None:
        if not accepted:
            text = reason.decode("utf-8", "replace")[:200] if isinstance(reason, bytes) else "no reason given"
            raise DeliveryError(f"the server refused the handshake: {text}")
        own = self._shown.hostname.encode()
        if name == own:
            raise DeliveryError(
                f"the server has this client's own name {self._shown.hostname!r}; set another self_hostname"
            )
        assert self._nonce is not None
        expected = digest(self._salt, name, self._nonce, self._shown.shared_key).encode()
        if not hmac.compare_digest(proof, expected):
            raise DeliveryError("the server does not know the shared key")


class _Inbox:
    """Gathers bytes until they are one message."""

    def __init__(self) -> None:
        self._data = b""

    def receive(self, data: bytes) -> list[Any] | None:
        self._data += data
        unpacker = msgpack.Unpacker(raw=True, strict_map_key=False, max_buffer_size=MAX_MESSAGE_BYTES)
        head = self._data[:MAX_MESSAGE_BYTES]
        unpacker.feed(head)
        try:
            message = unpacker.unpack()
        except msgpack.OutOfData:
            if len(self._data) >= MAX_MESSAGE_BYTES:
                raise LimitExceeded("a handshake message is too long") from None
            return None
        except (ValueError, TypeError, msgpack.UnpackException) as error:
            raise MalformedData(f"a handshake message is damaged: {error}") from error
        self._data = self._data[unpacker.tell() :]
        if not isinstance(message, list):
            raise MalformedData("a handshake message is not an array")
        return message

    @property
    def rest(self) -> bytes:
        """What came after the message."""
        return self._data


def _pack(message: list[Any]) -> bytes:
    packed: bytes = msgpack.packb(message)
    return packed
