"""How clients of Kafka connect: options that the output and the source share, and what errors mean."""

from __future__ import annotations

import logging
import ssl
from typing import Any, Literal

from pydantic import Field, model_validator

from logflow import extras
from logflow.component import ConfigModel
from logflow.config.fields import Address, NonEmpty
from logflow.config.options import Options
from logflow.config.secrets import SecretField
from logflow.config.tls import ClientTls
from logflow.errors import DeliveryError


class SaslOptions(Options):
    """Who connects."""

    mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = Field(
        "SCRAM-SHA-512", description="How the password is shown; `PLAIN` belongs over TLS."
    )
    username: NonEmpty = Field(description="Name of the user.")
    password: SecretField = Field(description="Password of the user.")


class KafkaConfig(ConfigModel):
    """Where the brokers are, and how one gets in."""

    servers: list[Address] = Field(
        min_length=1, description="Some of the brokers; they name the others.", examples=[["kafka-0:9092"]]
    )
    tls: ClientTls | None = Field(None, description="Encrypt connections; verified unless told otherwise.")
    sasl: SaslOptions | None = Field(None, description="Who connects; nobody unless set.")

    @model_validator(mode="after")
    def _check_name(self) -> KafkaConfig:
        if self.tls is not None and self.tls.server_name is not None:
            raise ValueError("the certificate must carry the broker's name; leave server_name out")
        return self


class _Reasons(logging.Handler):
    """Why connections failed: the library logs it, and raises only that it could not connect."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self._of_broker: dict[str, object] = {}

    def listen(self) -> None:
        """Get what the library logs, in place of everybody else: what matters is raised, and said once."""
        log = logging.getLogger("aiokafka")
        log.setLevel(logging.ERROR)
        log.propagate = False
        log.addHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        """Note a reason."""
        match record.args:
            case (host, port, error) if "connect" in record.msg:
                self._of_broker[f"{host}:{port}"] = error
                while len(self._of_broker) > _MOST_REASONS:
                    del self._of_broker[next(iter(self._of_broker))]

    def take(self, host: str, port: int) -> object | None:
        """The last one of a broker, if it is news."""
        return self._of_broker.pop(f"{host}:{port}", None)


_MOST_REASONS = 100
_reasons = _Reasons()


class Kafka:
    """The client library, with the options of one component.

    Raises:
        ComponentError: the library is missing.
    """

    def __init__(self, config: KafkaConfig, what: str) -> None:
        self.library = extras.load("aiokafka", "kafka", what)
        self.errors = extras.load("aiokafka.errors", "kafka", what)
        self._config = config
        self._tls: ssl.SSLContext | None = None
        _reasons.listen()

    def options(self) -> dict[str, Any]:
        """Arguments of a client; certificates and secrets are read now.

        Raises:
            ComponentError: a certificate cannot be used.
            DeliveryError: a secret cannot be read.
        """
        config = self._config
        if config.tls is not None and self._tls is None:
            self._tls = config.tls.context()
        options: dict[str, Any] = {
            "bootstrap_servers": [f"{host}:{port}" for host, port in config.servers],
            "client_id": "logflow",
            "ssl_context": self._tls,
            "security_protocol": f"{'SASL_' if config.sasl else ''}{'SSL' if config.tls else 'PLAINTEXT'}",
        }
        if (sasl := config.sasl) is not None:
            options["sasl_mechanism"] = sasl.mechanism
            options["sasl_plain_username"] = sasl.username
            options["sasl_plain_password"] = sasl.password.reveal()
        return options

    @property
    def where(self) -> str:
        """The brokers, for messages."""
        return "Kafka at " + ", ".join(f"{host}:{port}" for host, port in self._config.servers)

    def undelivered(self, error: Exception) -> DeliveryError:
        """Say what to do."""
        if isinstance(error, DeliveryError):
            return error
        errors, text = self.errors, " ".join(str(error).split())[:300] or type(error).__name__
        match error:
            case errors.AuthenticationFailedError() | errors.SaslAuthenticationFailed():
                return DeliveryError(f"{self.where} refuses these credentials: {text}")
            case errors.TopicAuthorizationFailedError() | errors.ClusterAuthorizationFailedError():
                return DeliveryError(f"{self.where} does not let us write there: {text}")
            case errors.TransactionalIdAuthorizationFailed():
                return DeliveryError(
                    f"{self.where} allows no transactions under our transactional_id: {text}"
                )
            case errors.KafkaConnectionError():
                return self._unconnected(text)
        return DeliveryError(f"{self.where} did not take events: {text}")

    def _unconnected(self, text: str) -> DeliveryError:
        reasons = [_reasons.take(host, port) for host, port in self._config.servers]
        for reason in filter(None, reasons):
            text = " ".join(str(reason).split())[:300]
            if isinstance(
                reason, self.errors.AuthenticationFailedError | self.errors.SaslAuthenticationFailed
            ):
                return DeliveryError(f"{self.where} refuses these credentials: {text}")
        return DeliveryError(f"{self.where} cannot be reached, or refuses us: {text}")
