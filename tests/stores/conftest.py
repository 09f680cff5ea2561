"""Real servers, where they are on this machine; tests without theirs are skipped with the reason."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import TypeVar

import pytest

from tools.servers import Absent, Server
from tools.servers.opensearch import OpenSearchServer
from tools.servers.otelcol import OtelcolServer
from tools.servers.victorialogs import VictoriaLogsServer

S = TypeVar("S", bound=Server)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Some take longer than the suite has time for, so they are asked for."""
    if not os.environ.get("LOGFLOW_TEST_STORES"):
        skip = pytest.mark.skip(reason="needs real servers: make test-stores")
        for item in items:
            if "tests/stores/" in str(item.path) and "/clients/" not in str(item.path):
                item.add_marker(skip)


def running(kind: type[S], directories: pytest.TempPathFactory) -> Iterator[S]:
    """Run a server while tests use it."""
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
def opensearch(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    yield from (server.url for server in running(OpenSearchServer, tmp_path_factory))


@pytest.fixture(scope="session")
def victorialogs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    yield from (server.url for server in running(VictoriaLogsServer, tmp_path_factory))


@pytest.fixture(scope="session")
def otelcol(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OtelcolServer]:
    yield from running(OtelcolServer, tmp_path_factory)
