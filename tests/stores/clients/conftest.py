"""Real servers, where they are on this machine; tests without theirs are skipped with the reason."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tools.servers import Absent
from tools.servers.s3 import S3Server


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    pytest.importorskip("obstore")
    try:
        server = S3Server(tmp_path_factory.mktemp("s3"))
    except Absent as error:
        pytest.skip(str(error))
    server.start()
    yield server
    server.stop()


@pytest.fixture
def s3(s3_server: S3Server, tmp_path: Path) -> S3Server:
    """A server with an empty bucket."""
    s3_server.make_bucket(f"logs-{abs(hash(tmp_path)):x}")
    return s3_server
