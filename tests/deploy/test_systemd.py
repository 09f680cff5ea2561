"""The systemd units parse, start the ready configurations and are hardened."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
UNITS = sorted((ROOT / "deploy" / "systemd").glob("*.service"))


def parse(path: Path) -> dict[str, dict[str, list[str]]]:
    """Section → key → values; a key may stand several times."""
    sections: dict[str, dict[str, list[str]]] = {}
    section: dict[str, list[str]] = {}
    for line in path.read_text().splitlines():
        if not line or line.startswith("#"):
            continue
        if header := re.fullmatch(r"\[(\w+)\]", line):
            assert header[1] not in sections
            section = sections[header[1]] = {}
            continue
        assignment = re.fullmatch(r"([A-Z]\w+)=(.*)", line)
        assert assignment, f"{path.name}: {line}"
        section.setdefault(assignment[1], []).append(assignment[2])
    return sections


@pytest.fixture(params=UNITS, ids=lambda path: path.stem)
def unit(request: pytest.FixtureRequest) -> Path:
    """Each unit in turn."""
    return request.param


def test_there_is_one_for_each_role_on_a_host() -> None:
    assert [path.stem for path in UNITS] == ["logflow-agent", "logflow-aggregator", "logflow-host"]


def test_it_runs_a_ready_configuration_and_reloads_it(unit: Path) -> None:
    service = parse(unit)["Service"]
    name = unit.stem.removeprefix("logflow-")
    assert service["ExecStart"] == [f"/opt/logflow/bin/logflow run -c /etc/logflow/{name}.yaml"]
    assert service["ExecReload"] == ["/bin/kill -HUP $MAINPID"]
    assert (ROOT / "config" / f"{name}.yaml").exists()
    assert service["EnvironmentFile"] == [f"-/etc/logflow/{name}.env"]


def test_environment_variables_are_ones_that_the_configuration_reads(unit: Path) -> None:
    text = (ROOT / "config" / f"{unit.stem.removeprefix('logflow-')}.yaml").read_text()
    for assignment in parse(unit)["Service"]["Environment"]:
        assert f"${{{assignment.partition('=')[0]}:-" in text


def test_it_may_write_to_its_own_directories_only(unit: Path) -> None:
    service = parse(unit)["Service"]
    for key in ("DynamicUser", "NoNewPrivileges", "PrivateDevices", "ProtectHome", "RestrictNamespaces"):
        assert service[key] == ["yes"]
    assert service["ProtectSystem"] == ["strict"]
    assert f"LOGFLOW_DATA_DIR=/var/lib/{service['StateDirectory'][0]}" in service["Environment"]
    assert service["CapabilityBoundingSet"] in ([""], ["CAP_DAC_READ_SEARCH"])
    assert "ReadWritePaths" not in service


def test_it_gets_longer_to_stop_than_logflow_takes(unit: Path) -> None:
    [stop] = parse(unit)["Service"]["TimeoutStopSec"]
    assert int(stop.removesuffix("s")) > 25  # shutdown_timeout


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd-analyze is not installed")
def test_systemd_knows_every_key(unit: Path, tmp_path: Path) -> None:
    copy = tmp_path / unit.name  # with a program that exists here
    copy.write_text(unit.read_text().replace("/opt/logflow/bin/logflow", "/bin/true"))
    command = ["systemd-analyze", "verify", "--man=no", "--recursive-errors=no", str(copy)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert unit.name not in result.stderr, result.stderr
    assert result.returncode == 0


def test_systemd_listens_where_the_aggregator_does(tmp_path: Path) -> None:
    """TCP and UDP, at the address that the unit sets."""
    path = ROOT / "deploy" / "systemd" / "logflow-aggregator.socket"
    listening = parse(path)["Socket"]
    [service] = [unit for unit in UNITS if unit.stem == path.stem]
    environment = parse(service)["Service"]["Environment"]
    assert f"LOGFLOW_LISTEN={listening['ListenStream'][0]}" in environment
    assert listening["ListenStream"] == listening["ListenDatagram"]
    if shutil.which("systemd-analyze"):
        for unit in (path, service):
            text = unit.read_text().replace("/opt/logflow/bin/logflow", "/bin/true")
            (tmp_path / unit.name).write_text(text)
        command = ["systemd-analyze", "verify", "--man=no", "--recursive-errors=no", tmp_path / path.name]
        result = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert path.name not in result.stderr, result.stderr


def test_what_a_directory_lets_a_group_read_files_in_it_do_too(unit: Path) -> None:
    """A mask of 0077 would make archives that the group of a 0750 directory cannot read."""
    service = parse(unit)["Service"]
    mask = int(service["UMask"][0], 8)
    for mode in service.get("LogsDirectoryMode", []):
        assert not int(mode, 8) & 0o040 or not mask & 0o040
    assert mask & 0o007 == 0o007
