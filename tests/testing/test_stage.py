"""Processes on a stage end with it, and find what they are told."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from logflow.testing.processes import free_ports
from logflow.testing.stage import ProcessStage, ready_config, start, stop


@pytest.mark.parametrize("name", ["agent", "aggregator", "sidecar", "standalone"])
def test_ready_configurations_come_with_the_package(name: str) -> None:
    assert ready_config(name).is_file()


def test_a_configuration_is_written_with_its_place(tmp_path: Path) -> None:
    with ProcessStage(tmp_path) as stage:
        member = stage.logflow("one", {"sources": {}}, 1234)
    assert yaml.safe_load((tmp_path / "one.yaml").read_text()) == {
        "data_dir": str(tmp_path / "one" / "data"),
        "admin": {"listen": "127.0.0.1:1234"},
        "sources": {},
    }
    assert (member.directory, member.address) == (tmp_path / "one", "127.0.0.1:1234")
    assert not member.process.running


@pytest.mark.slow
def test_a_member_answers_and_ends_with_the_stage(tmp_path: Path) -> None:
    [port] = free_ports(1)
    config = {
        "sources": {"in": {"type": "generate", "tag": "t", "rate": 10}},
        "routes": [{"match": "t", "outputs": ["out"]}],
        "outputs": {"out": {"type": "null"}},
    }
    with ProcessStage(tmp_path) as stage:
        member = stage.logflow("one", config, port)
        assert member.status() is None
        assert member.waiting() == -1
        start(member)
        assert member.waiting() >= 0
        assert member.dropped("filter:grep").total() == 0
        assert stop(member, timeout_s=20.0) == []
        member.process.start()
    assert not member.process.running
