"""What goes to an endpoint and comes back, and who carries it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from multidict import CIMultiDict
from yarl import URL


@dataclass(frozen=True)
class Post:
    """What is sent.

    Attributes:
        key: names the request, the same whenever it is sent again.
        body: in slices, compressed as the configuration says.
        content_type: of the body before it was compressed.
        tag: replaces ``{tag}`` in the URL.
        headers: of this request alone.
        path: behind the endpoint's own path, such as ``/_bulk?refresh=false``.
        method: of the request.
    """

    key: bytes
    body: Sequence[bytes]
    content_type: str
    tag: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    path: str = ""
    method: str = "POST"


@dataclass(frozen=True)
class Answer:
    """What came back.

    Attributes:
        status: such as 200.
        reason: the words behind it.
        headers: names in any case.
        body: its beginning, up to the limit that the client was given.
        endpoint: who sent it, for messages.
    """

    status: int
    reason: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    endpoint: str = ""


class NotSentError(Exception):
    """The endpoint has not got the request, so that another may be asked; the cause says why."""


class NoAnswerError(Exception):
    """The endpoint may have got the request, and has not answered; the cause says why."""


class Transport(Protocol):
    """Carries requests to endpoints: a protocol, with its connections."""

    async def open(self) -> None:
        """Load certificates; connections are made when they are needed. Safe twice.

        Raises:
            ComponentError: a certificate cannot be used.
        """

    async def close(self) -> None:
        """Close the connections. Safe twice, and without :meth:`open`."""

    async def ask(self, target: URL, post: Post, headers: CIMultiDict[str], shown: str) -> Answer:
        """Send a request and wait for its answer.

        Args:
            target: where it goes.
            post: its method and body.
            headers: all of them.
            shown: what messages call the endpoint.

        Raises:
            NotSentError: the endpoint has not got it.
            NoAnswerError: the endpoint may have got it.
        """
