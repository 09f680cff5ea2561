"""Where a peer is."""

from __future__ import annotations

import pytest

from logflow.forward.endpoint import ServerEndpoint


@pytest.mark.parametrize(
    ("text", "endpoint", "written"),
    [
        ("aggregator-0:24224", ServerEndpoint("aggregator-0", 24224), "aggregator-0:24224"),
        ("aggregator-0", ServerEndpoint("aggregator-0", 24224), "aggregator-0:24224"),
        ("[::1]:24224", ServerEndpoint("::1", 24224), "[::1]:24224"),
        ("unix:/run/logflow.sock", ServerEndpoint(path="/run/logflow.sock"), "unix:/run/logflow.sock"),
        ("unix:///run/logflow.sock", ServerEndpoint(path="/run/logflow.sock"), "unix:/run/logflow.sock"),
    ],
)
def test_addresses_are_read_and_written(text, endpoint, written):
    assert ServerEndpoint.parse(text) == endpoint
    assert str(endpoint) == written
    assert ServerEndpoint.parse(endpoint) is endpoint


@pytest.mark.parametrize(
    "text", ["", "host:", ":1", "host:port", "host:99999", "unix:", "unix:relative", 7, None]
)
def test_others_are_refused(text):
    with pytest.raises(ValueError):
        ServerEndpoint.parse(text)
