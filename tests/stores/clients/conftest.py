"""Servers whose clients are libraries."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.stores.conftest import running
from tools.servers.kafka import KafkaServer
from tools.servers.nats import NatsServer
from tools.servers.postgres import PostgresServer
from tools.servers.rsyslog import RsyslogServer
from tools.servers.s3 import S3Server


@pytest.fixture(scope="session")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaServer]:
    if not os.environ.get("LOGFLOW_TEST_STORES"):
        pytest.skip("Kafka takes long to start: make test-stores")
    pytest.importorskip("aiokafka")
    yield from running(KafkaServer, tmp_path_factory)


@pytest.fixture(scope="session")
def nats(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NatsServer]:
    pytest.importorskip("nats")
    yield from running(NatsServer, tmp_path_factory)


@pytest.fixture(scope="session")
def rsyslog(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RsyslogServer]:
    yield from running(RsyslogServer, tmp_path_factory)


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    pytest.importorskip("obstore")
    yield from running(S3Server, tmp_path_factory)


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresServer]:
    pytest.importorskip("asyncpg")
    yield from running(PostgresServer, tmp_path_factory)


@pytest.fixture
def s3(s3_server: S3Server, tmp_path: Path) -> S3Server:
    """A server with an empty bucket."""
    s3_server.make_bucket(f"logs-{abs(hash(tmp_path)):x}")
    return s3_server
