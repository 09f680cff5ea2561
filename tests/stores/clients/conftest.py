"""Real servers, where they are on this machine; tests without theirs are skipped with the reason."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TypeVar

import pytest

from tools.servers import Absent, Server
from tools.servers.kafka import KafkaServer
from tools.servers.nats import NatsServer
from tools.servers.postgres import PostgresServer
from tools.servers.rsyslog import RsyslogServer
from tools.servers.s3 import S3Server

S = TypeVar("S", bound=Server)


def running(kind: type[S], library: str, directories: pytest.TempPathFactory) -> Iterator[S]:
    """Run a server while tests use it."""
    pytest.importorskip(library)
    try:
        server = kind(directories.mktemp(kind.__name__))
    except Absent as error:
        pytest.skip(str(error))
    try:
        server.start()
        yield server
    finally:
        server.stop()


@pytest.fixture(scope="session")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaServer]:
    if not os.environ.get("LOGFLOW_TEST_STORES"):
        pytest.skip("Kafka takes long to start: make test-stores")
    yield from running(KafkaServer, "aiokafka", tmp_path_factory)


@pytest.fixture(scope="session")
def nats(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NatsServer]:
    yield from running(NatsServer, "nats", tmp_path_factory)


@pytest.fixture(scope="session")
def rsyslog(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RsyslogServer]:
    yield from running(RsyslogServer, "logflow", tmp_path_factory)


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    yield from running(S3Server, "obstore", tmp_path_factory)


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresServer]:
    yield from running(PostgresServer, "asyncpg", tmp_path_factory)


@pytest.fixture
def s3(s3_server: S3Server, tmp_path: Path) -> S3Server:
    """A server with an empty bucket."""
    s3_server.make_bucket(f"logs-{abs(hash(tmp_path)):x}")
    return s3_server
