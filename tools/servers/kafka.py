"""Apache Kafka as one broker in KRaft mode."""

from __future__ import annotations

import base64
import os
import socket
import subprocess
from pathlib import Path

from logflow.testing.forwarding import make_certificates
from logflow.testing.processes import Process, free_ports
from tools.servers import CACHE, Absent, Server, find

USER, PASSWORD = "logflow", "logflow-test"


class KafkaServer(Server):
    """A broker on loopback that makes topics of three partitions.

    Attributes:
        secure_port: the same over TLS, for :data:`USER` with :data:`PASSWORD`.
        ca_file: the authority of its certificate.
    """

    start_s = 90.0

    def __init__(self, directory: Path, *, advertised_port: int | None = None) -> None:
        """Make a broker; clients are told ``advertised_port`` if it is given, such as that of a proxy."""
        java = str(find("java"))
        libraries = CACHE / "kafka/lib"
        if not libraries.exists():
            raise Absent("Kafka is not on this machine; python -m tools.servers kafka gets it")
        self.port, self.secure_port, controller = free_ports(3)
        directory.mkdir(parents=True, exist_ok=True)
        certificates = make_certificates(directory)
        self.ca_file = certificates.ca
        keys = directory / "server.keys.pem"
        keys.write_text(certificates.server_key.read_text() + certificates.server.read_text())
        properties = directory / "server.properties"
        properties.write_text(
            "process.roles=broker,controller\nnode.id=1\n"
            f"controller.quorum.voters=1@127.0.0.1:{controller}\ncontroller.listener.names=CONTROLLER\n"
            f"listeners=PLAINTEXT://127.0.0.1:{self.port},CONTROLLER://127.0.0.1:{controller},"
            f"SECURE://127.0.0.1:{self.secure_port}\n"
            f"advertised.listeners=PLAINTEXT://127.0.0.1:{advertised_port or self.port},"
            f"SECURE://127.0.0.1:{self.secure_port}\n"
            "listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,SECURE:SASL_SSL\n"
            "inter.broker.listener.name=PLAINTEXT\n"
            f"listener.name.secure.ssl.keystore.type=PEM\nlistener.name.secure.ssl.keystore.location={keys}\n"
            "listener.name.secure.sasl.enabled.mechanisms=PLAIN\n"
            "listener.name.secure.plain.sasl.jaas.config=org.apache.kafka.common.security.plain."
            f'PlainLoginModule required user_{USER}="{PASSWORD}";\n'
            f"log.dirs={directory / 'data'}\nnum.partitions=3\nauto.create.topics.enable=false\n"
            "offsets.topic.replication.factor=1\ntransaction.state.log.replication.factor=1\n"
            "transaction.state.log.min.isr=1\nshare.coordinator.state.topic.replication.factor=1\n"
            "share.coordinator.state.topic.min.isr=1\ngroup.initial.rebalance.delay.ms=0\n"
            "transaction.state.log.num.partitions=1\noffsets.topic.num.partitions=1\n"
        )
        command = [java, "-Xmx256m", "-Xms128m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]
        command += ["-cp", f"{libraries}/*"]
        cluster = base64.urlsafe_b64encode(os.urandom(16)).decode().rstrip("=")
        subprocess.run(
            [*command, "kafka.tools.StorageTool", "format", "-t", cluster, "-c", str(properties)],
            check=True, capture_output=True, timeout=60,
        )  # fmt: skip
        self.process = Process(
            "kafka", [*command, "kafka.Kafka", str(properties)], log=directory / "kafka.log"
        )

    @property
    def address(self) -> str:
        """Where it listens."""
        return f"127.0.0.1:{self.port}"

    def ready(self) -> bool:
        """Whether it takes connections; it does before it has elected itself, which clients wait for."""
        with socket.socket() as probe:
            probe.settimeout(1)
            return probe.connect_ex(("127.0.0.1", self.port)) == 0
