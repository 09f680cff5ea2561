"""Fixtures for what talks to the API of Kubernetes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from logflow.kubernetes.access import Access
from logflow.testing.forwarding import Certificates, make_certificates
from tests.kubernetes.apiserver import ApiServer, api_server


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return make_certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture
def token(tmp_path: Path) -> Path:
    path = tmp_path / "token"
    path.write_text("first")
    return path


@pytest.fixture
async def api(certificates: Certificates, token: Path) -> AsyncIterator[ApiServer]:
    async with api_server(certificates, token) as server:
        yield server


@pytest.fixture
def access(api: ApiServer, certificates: Certificates, token: Path) -> Access:
    return Access(api.url, ca=certificates.ca, token=token)
