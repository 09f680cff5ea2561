"""What is configured about one server, or about those behind a name."""

from __future__ import annotations

from pydantic import Field, model_validator

from logflow.config.fields import Duration, NonEmpty
from logflow.config.options import Options
from logflow.config.secrets import StaticSecret
from logflow.forward.endpoint import EndpointField


class ServerConfig(Options):
    """One server."""

    address: EndpointField | None = Field(
        None, description="`host:port`, `host` (port 24224) or `unix:/path`; or set `dns`."
    )
    dns: EndpointField | None = Field(
        None,
        description="`host:port`: each address of this name is a server, such as the pods behind a headless "
        "Service. It is asked for again; at most 64 addresses are used.",
        examples=["logflow-aggregator.logging.svc:24224"],
    )
    refresh: Duration = Field(
        30.0,
        ge=1,
        description="How often `dns` is asked for; every 5 s at the latest while a server is down.",
    )
    name: NonEmpty | None = Field(None, description="Name in logs and for balancing; the address unless set.")
    weight: int = Field(60, ge=0, le=10_000, description="Share of the chunks; 0 takes nothing.")
    standby: bool = Field(default=False, description="Used only while no other server is up.")
    shared_key: StaticSecret | None = Field(None, description="This server's key; the output's unless set.")
    username: str | None = Field(None, description="User name at this server; the output's unless set.")
    password: StaticSecret | None = Field(None, description="Its password; the output's unless set.")

    @property
    def label(self) -> str:
        """The name in use."""
        return self.name or str(self.address or self.dns)

    @model_validator(mode="after")
    def _check_place(self) -> ServerConfig:
        if (self.address is None) == (self.dns is None):
            raise ValueError("set one of address and dns")
        if self.dns is not None and (self.dns.path is not None or self.name is not None):
            raise ValueError("dns is host:port, and its servers have their own names")
        return self
