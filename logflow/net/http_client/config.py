"""What every output over HTTP can be told about its connections, its credentials and its answers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal, TypeAlias

from pydantic import AfterValidator, Field, field_validator
from yarl import URL

from logflow.compression import Compression
from logflow.config.fields import Duration
from logflow.config.options import OutputConfig
from logflow.config.secrets import SecretField
from logflow.config.tls import ClientTls
from logflow.net.http_client.credentials import ClientAuth

Meaning: TypeAlias = Literal["delivered", "retry", "hold", "reject"]
"""What the status of an answer means for the events that were sent."""

_MEANINGS: dict[int, Meaning] = {
    401: "hold", 403: "hold", 404: "hold", 407: "hold", 408: "retry", 425: "retry", 429: "retry",
}  # fmt: skip


def check_endpoint(text: str) -> str:
    """Check a URL of a configuration.

    Raises:
        ValueError: it is not an HTTP URL, or holds a password.
    """
    try:
        url = URL(text.replace("{tag}", "tag"), encoded=True)
    except ValueError as error:
        raise ValueError(f"{text!r} is not a URL: {error}") from None
    if url.scheme not in ("http", "https") or not url.host:
        raise ValueError("write an endpoint as http://host:port/path or https://host/path")
    if url.user is not None or url.password is not None:
        raise ValueError("an endpoint must not hold a password, as URLs are logged; use auth")
    return text


class HttpClientConfig(OutputConfig):
    """Options of every output over HTTP."""

    also_called: ClassVar[Mapping[str, str]] = dict.fromkeys(
        ("url", "urls", "uri", "endpoint", "host", "hosts", "address"), "endpoints"
    )

    endpoints: list[Annotated[str, AfterValidator(check_endpoint)]] = Field(
        min_length=1, description="URLs that take requests in turn; `{tag}` in them is the chunk's tag.",
        examples=[["http://127.0.0.1:8080/logs"]],
    )  # fmt: skip
    compress: Compression = Field("none", description="Content-Encoding of the body.")
    headers: dict[str, SecretField] = Field({}, description="Headers to add; their values are not shown.")
    auth: ClientAuth | None = Field(None, description="Basic credentials or a bearer token.")
    tls: ClientTls = Field(ClientTls(), description="How `https` endpoints are verified.")
    proxy: str = Field(
        "environment",
        description="URL of a proxy; `environment` takes `HTTP_PROXY`, `HTTPS_PROXY` and `NO_PROXY` "
        "(never for loopback addresses); `none` takes none.",
    )
    timeout: Duration = Field(30.0, gt=0, description="Longest time for one request.")
    connect_timeout: Duration = Field(5.0, gt=0, description="Longest time for a connection to come up.")
    max_retry_after: Duration = Field(300.0, description="Longest pause that an endpoint may ask for.")
    answers: dict[int, Meaning] = Field(
        {},
        description="What the status of an answer means, where it is not as usual: `delivered`, `retry`, "
        "`hold` (tried again for `hold_for`, then a dead letter) or `reject` (a dead letter at once). "
        "Unless set: 2xx is delivered; 401, 403, 404 and 407 are held; 408, 425, 429, 3xx and 5xx are "
        "tried again; other 4xx are rejected.",
        examples=[{409: "delivered"}],
    )
    hold_for: Duration = Field(
        3600.0, description="How long answers that are held are tried again before events are dead letters."
    )

    @field_validator("headers")
    @classmethod
    def _check_headers(cls, headers: dict[str, SecretField]) -> dict[str, SecretField]:
        for name in headers:
            if not name.isascii() or not name.isprintable() or {":", " "} & set(name) or not name:
                raise ValueError(f"{name!r} is not a header's name")
        return headers

    @field_validator("answers")
    @classmethod
    def _check_answers(cls, answers: dict[int, Meaning]) -> dict[int, Meaning]:
        for status in answers:
            if not 200 <= status <= 599:
                raise ValueError(f"{status} is not the status of an answer; write 200 to 599")
        return answers

    @field_validator("proxy")
    @classmethod
    def _check_proxy(cls, proxy: str) -> str:
        if proxy not in ("environment", "none") and (not proxy.startswith("http://") or "@" in proxy):
            raise ValueError(
                "write a proxy as http://host:port, or environment, or none; one with a password belongs "
                "into HTTP_PROXY or HTTPS_PROXY"
            )
        return proxy

    def meaning(self, status: int) -> Meaning:
        """What a status means for the events that were sent."""
        default: Meaning = "delivered" if status < 300 else "reject" if 400 <= status < 500 else "retry"
        return self.answers.get(status) or _MEANINGS.get(status, default)
