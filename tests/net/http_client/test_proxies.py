"""Which proxy a request goes through."""

from __future__ import annotations

import pytest
from yarl import URL

from logflow.net.http_client.proxies import proxy_for


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    return monkeypatch


@pytest.mark.parametrize(
    ("url", "proxy"),
    [
        ("http://logs.example/in", "http://proxy:3128"),
        ("https://logs.example/in", "http://secure:3129"),
        ("https://logs.internal/in", None),
        ("http://127.0.0.1:8080/", None),
        ("http://[::1]:8080/", None),
        ("http://localhost/", None),
    ],
)
def test_the_environment_decides_except_for_this_machine(environment, url, proxy):
    environment.setenv("HTTP_PROXY", "http://proxy:3128")
    environment.setenv("HTTPS_PROXY", "secure:3129")
    environment.setenv("NO_PROXY", ".internal")
    assert proxy_for(URL(url), "environment") == proxy
    assert proxy_for(URL(url), "none") is None
    assert proxy_for(URL(url), "http://mine:1") == "http://mine:1"


def test_without_any_there_is_none():
    assert proxy_for(URL("http://logs.example/"), "environment") is None
