"""Check all of deploy/ with the tools that will read it: ``make check-deploy``.

helm is built from its Go module where it is missing and Go is there. A tool that cannot be had is named at
the end, with what was not checked without it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

ROOT = Path(__file__).parents[1]
CHART = ROOT / "deploy" / "helm" / "logflow"
TOOLS = Path(os.environ.get("LOGFLOW_DEPLOY_TOOLS", Path.home() / ".cache" / "logflow-deploy"))
HELM_MODULE = "helm.sh/helm/v3/cmd/helm@v3.15.4"
_TIMEOUT_S = 900
_MOST_EXPOSED = 2.5
"""What ``systemd-analyze security`` may say of a unit; 10 is the worst."""


def find(name: str) -> str | None:
    """Find a tool in the path, or among those that were built here."""
    return shutil.which(name, path=f"{TOOLS}{os.pathsep}{os.environ.get('PATH', '')}")


def install_helm() -> None:
    """Build helm from its Go module."""
    go = shutil.which("go")
    if find("helm") is None and go is not None:
        print(f"Building helm in {TOOLS} ...", flush=True)
        environment = {**os.environ, "GOBIN": str(TOOLS), "GOTOOLCHAIN": "local"}
        subprocess.run([go, "install", HELM_MODULE], env=environment, timeout=_TIMEOUT_S, check=False)


def run(*command: str | Path, cwd: Path = ROOT) -> str:
    """Run a command and return what it prints.

    Raises:
        subprocess.CalledProcessError: it failed.
    """
    done = subprocess.run(
        command, cwd=cwd, timeout=_TIMEOUT_S, capture_output=True, text=True, check=False,
        env={**os.environ, "LOGFLOW_DEPLOY_TOOLS": str(TOOLS)},
    )  # fmt: skip
    if done.returncode:
        print(done.stdout, done.stderr, sep="\n", file=sys.stderr)
        done.check_returncode()
    return done.stdout + done.stderr


def check_chart(helm: str) -> str:
    """Lint the chart; what it renders is validated by its tests."""
    run(helm, "lint", "--strict", CHART)
    run(sys.executable, "-m", "pytest", "-q", "tests/deploy/test_helm.py")
    return run(helm, "version", "--short").strip()


def check_rules(promtool: str) -> str:
    """Check the alerts, and run their unit tests."""
    run(promtool, "check", "rules", CHART / "files" / "rules.yaml")
    run(promtool, "test", "rules", CHART / "files" / "rules_test.yaml")
    return run(promtool, "--version").splitlines()[0]


def check_units(analyze: str) -> str:
    """Verify the units with the program that they start in place, and how exposed they are."""
    with tempfile.TemporaryDirectory() as directory:
        for unit in sorted((ROOT / "deploy" / "systemd").glob("*.service")):
            text = unit.read_text().replace("/opt/logflow/bin/logflow", "/bin/true")
            copy = Path(directory) / unit.name
            copy.write_text(text)
            run(analyze, "verify", "--man=no", copy)
            run(
                analyze, "security", "--offline=true", f"--threshold={round(_MOST_EXPOSED * 10)}", copy
            )  # fmt: skip
    return run(analyze, "--version").splitlines()[0]


def check_compose(docker: str) -> str:
    """Have the compose client read the compose files."""
    plugin = subprocess.run(
        [docker, "compose", "version"], timeout=_TIMEOUT_S, capture_output=True, check=False
    )
    if plugin.returncode:
        raise LookupError("docker compose")
    for file in sorted((ROOT / "deploy").glob("compose*.yaml")):
        run(docker, "compose", "-f", file, "config", "--quiet")
    return run(docker, "compose", "version").strip()


def check_manifests(kubectl: str) -> str:
    """Build the kustomization; each manifest is validated by its tests."""
    run(kubectl, "kustomize", ROOT / "deploy" / "kubernetes", "--load-restrictor=LoadRestrictionsNone")
    return run(kubectl, "version", "--client").splitlines()[0]


def check_configurations(python: str) -> str:
    """Check every ready configuration, and all manifests against the schemas of Kubernetes."""
    for file in sorted((ROOT / "config").glob("*.yaml")):
        run(python, "-m", "logflow", "check", "-c", file)
    run(python, "-m", "pytest", "-q", "tests/deploy/test_kubernetes.py")
    return run(python, "-m", "logflow", "--version").splitlines()[0]


CHECKS: Sequence[tuple[str, Callable[[str], str]]] = (
    (sys.executable, check_configurations),
    ("helm", check_chart),
    ("promtool", check_rules),
    ("systemd-analyze", check_units),
    ("docker", check_compose),
    ("kubectl", check_manifests),
)


def main() -> int:
    """Run every check whose tool is there."""
    install_helm()
    missing = []
    for name, check in CHECKS:
        tool = name if name == sys.executable else find(name)
        what = (check.__doc__ or "").splitlines()[0]
        try:
            if tool is None:
                raise LookupError(name)
            print(f"fine: {what} ({check(tool)})", flush=True)
        except LookupError as error:
            missing.append(f"left out, as {error.args[0]} is not installed: {what}")
        except subprocess.CalledProcessError as error:
            print(f"wrong: {what} {' '.join(map(str, error.cmd))} gave {error.returncode}")
            return 1
    print("\n".join(missing))
    return 0


if __name__ == "__main__":
    sys.exit(main())
