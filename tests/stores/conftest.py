"""Real servers: their tests run where `make test-stores` asks for them; what cannot be had is skipped."""

from __future__ import annotations

import os

import pytest

from tests.stores import servers


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """They take longer than the suite has time for, so they are asked for."""
    if not os.environ.get("LOGFLOW_TEST_STORES"):
        skip = pytest.mark.skip(reason="needs real servers: make test-stores")
        for item in items:
            if "tests/stores/" in str(item.path) and "/clients/" not in str(item.path):
                item.add_marker(skip)


def _server(name):
    @pytest.fixture(scope="session", name=name)
    def fixture(tmp_path_factory):
        try:
            with getattr(servers, name)(tmp_path_factory.mktemp(name)) as url:
                yield url
        except servers.Absent as reason:
            pytest.skip(str(reason))

    return fixture


opensearch = _server("opensearch")
victorialogs = _server("victorialogs")
