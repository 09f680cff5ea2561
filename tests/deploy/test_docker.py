"""The Dockerfile and the compose file are sound."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict

from logflow.cli.main import main

ROOT = Path(__file__).parents[2]


def instructions() -> list[tuple[str, str]]:
    """Every instruction of the Dockerfile with its arguments, continued lines joined."""
    text = (ROOT / "deploy" / "Dockerfile").read_text()
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    joined = re.sub(r"\\\n\s*", "", "\n".join(lines)).splitlines()
    return [(name, rest) for name, _, rest in (line.partition(" ") for line in joined)]


def last_stage() -> list[tuple[str, str]]:
    """What the image that runs is made of."""
    found = instructions()
    start = max(place for place, (name, _) in enumerate(found) if name == "FROM")
    return found[start:]


def test_instructions_are_known_and_the_base_images_pinned() -> None:
    known = {
        "FROM", "COPY", "ENV", "RUN", "WORKDIR", "LABEL", "USER", "EXPOSE", "STOPSIGNAL", "HEALTHCHECK",
        "ENTRYPOINT", "CMD",
    }  # fmt: skip
    assert {name for name, _ in instructions()} <= known
    images = [rest.split()[0] for name, rest in instructions() if name == "FROM"]
    assert all(re.fullmatch(r"[a-z]+:\d+\.\d+[a-z.\d-]*", image) for image in images)


def test_the_image_that_runs_holds_no_compiler_and_no_sources() -> None:
    copied = [rest for name, rest in last_stage() if name == "COPY"]
    assert copied == ["--from=builder /opt/logflow /opt/logflow", "config/*.yaml /etc/logflow/"]
    assert not any("pip" in rest or "apt" in rest for name, rest in last_stage() if name == "RUN")


def test_it_does_not_run_as_root_nor_in_a_shell() -> None:
    stage = dict(last_stage())
    assert stage["USER"] == "10001:10001"
    assert json.loads(stage["ENTRYPOINT"]) == ["logflow"]
    _, _, healthcheck = stage["HEALTHCHECK"].partition("CMD ")
    assert json.loads(healthcheck)[0] == "python"
    command = json.loads(stage["CMD"])
    assert (ROOT / "config" / Path(command[-1]).name).exists()


def test_the_health_check_asks_where_every_ready_configuration_serves() -> None:
    stage = dict(last_stage())
    environment = dict(pair.split("=", 1) for pair in shlex.split(stage["ENV"]))
    assert environment["LOGFLOW_ADMIN"] == "127.0.0.1:24220"
    assert "os.environ['LOGFLOW_ADMIN']" in stage["HEALTHCHECK"]
    for config in (ROOT / "config").glob("*.yaml"):
        assert "listen: ${LOGFLOW_ADMIN:-" in config.read_text()


def test_nothing_is_downloaded_into_a_shell() -> None:
    runs = [rest for name, rest in instructions() if name == "RUN"]
    assert not any(re.search(r"curl|wget|\| *(ba)?sh", rest) for rest in runs)


def test_the_rust_version_is_one_that_the_crate_builds_with() -> None:
    crate = (ROOT / "native" / "Cargo.toml").read_text()
    needed = re.search(r'^rust-version = "(\d+)\.(\d+)', crate, re.MULTILINE)
    used = re.search(r"^FROM rust:(\d+)\.(\d+)", (ROOT / "deploy" / "Dockerfile").read_text(), re.MULTILINE)
    assert needed
    assert used
    assert tuple(map(int, used.groups())) >= tuple(map(int, needed.groups()))


class Strict(BaseModel):
    """Unknown keys are errors."""

    model_config = ConfigDict(extra="forbid")


class Build(Strict):
    context: Literal[".."]
    dockerfile: Literal["deploy/Dockerfile"]


class Healthcheck(Strict):
    test: list[str]


class Logging(Strict):
    driver: Literal["local"]
    options: dict[str, str]


class Service(Strict):
    """What we use of the Compose specification."""

    image: Literal["logflow"]
    build: Build
    restart: Literal["unless-stopped"]
    read_only: Literal[True]
    cap_drop: list[Literal["ALL"]]
    cap_add: list[str] = []
    security_opt: list[Literal["no-new-privileges:true"]]
    stop_grace_period: Literal["40s"]
    logging: Logging
    entrypoint: list[str] = []
    command: list[str]
    user: str | None = None
    environment: dict[str, str] = {}
    volumes: list[str]
    depends_on: list[str] = []
    mem_limit: str | None = None
    healthcheck: Healthcheck | None = None


def compose() -> dict[str, Any]:
    return yaml.safe_load((ROOT / "deploy" / "compose.yaml").read_text())


def services() -> dict[str, Service]:
    return {name: Service.model_validate(service) for name, service in compose()["services"].items()}


def test_compose_has_an_agent_two_aggregators_and_a_sink() -> None:
    assert {key for key in compose() if not key.startswith("x-")} == {"name", "services", "volumes"}
    assert set(services()) == {"agent", "aggregator-0", "aggregator-1", "sink"}


def test_only_the_agent_is_root_and_sees_the_host_read_only() -> None:
    for name, service in services().items():
        assert (service.user, service.cap_add) == (
            ("0:0", ["DAC_READ_SEARCH"]) if name == "agent" else (None, [])
        )
        binds = [volume for volume in service.volumes if volume.startswith(("/", "."))]
        assert all(volume.endswith(":ro") for volume in binds)
        assert bool(binds) == (name == "agent")


def test_volumes_are_declared_and_services_named() -> None:
    named = {v.partition(":")[0] for s in services().values() for v in s.volumes if not v.startswith("/")}
    assert named == set(compose()["volumes"])
    for service in services().values():
        assert set(service.depends_on) <= set(services())
        for value in service.environment.values():
            host = re.fullmatch(r"(?:http://)?([a-z][a-z0-9-]*):\d+(?:/.*)?", value)
            assert host is None or host[1] in services()


def test_environment_variables_are_ones_that_the_configuration_reads() -> None:
    for service in services().values():
        if service.command[0] == "run":
            text = (ROOT / "config" / Path(service.command[-1]).name).read_text()
            assert all(f"${{{name}:-" in text for name in service.environment)


def test_what_the_fluentd_driver_sends_is_parsed_and_written(tmp_path: Path) -> None:
    """The configuration inside of the compose file, and a record as Docker makes it."""
    file = yaml.safe_load((ROOT / "deploy" / "compose-fluentd.yaml").read_text())
    service, app = file["services"]["logflow"], file["services"]["app"]
    assert app["logging"]["options"]["fluentd-address"] in service["ports"][0]
    assert service["command"][-1] == service["configs"][0]["target"]
    assert service["cap_drop"] == ["ALL"]
    config = tmp_path / "pipeline.yaml"
    config.write_text(file["configs"]["pipeline"]["content"])
    tests = tmp_path / "tests.yaml"
    record = {"container_name": "/web-1", "source": "stdout", "log": '{"level": "info", "msg": "hello"}'}
    case = {
        "name": "a line",
        "tag": "docker.web-1",
        "records": [record],
        "expect": {"files": [{"level": "info", "msg": "hello", "container_name": "/web-1"}]},
    }
    tests.write_text(yaml.safe_dump({"tests": [case]}))
    assert main(["test", "-c", str(config), str(tests)]) == 0
