"""The bill of materials: what a logflow of this checkout consists of, as CycloneDX 1.5 in JSON.

``python -m tools.sbom``: the Python packages that it depends on, directly or not, as installed in this
environment, and the crates of the native engine as ``native/Cargo.lock`` pins them.
"""

from __future__ import annotations

import json
import re
import sys
import tomllib
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

import logflow

_ROOT = Path(__file__).parents[1]


def bill() -> dict[str, Any]:
    """Make the document."""
    components = [*_python_packages(), *_crates()]
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {
            "component": {
                "type": "application",
                "name": "logflow-pipeline",
                "version": logflow.__version__,
                "licenses": [{"license": {"id": "Apache-2.0"}}],
            }
        },
        "components": components,
    }


def _python_packages() -> list[dict[str, Any]]:
    project = tomllib.loads((_ROOT / "pyproject.toml").read_text())["project"]
    pending, found = [_name(requirement) for requirement in project["dependencies"]], dict[str, str]()
    while pending:
        name = pending.pop()
        if name in found:
            continue
        try:
            package = distribution(name)
        except PackageNotFoundError:  # for another Python or another system
            continue
        found[name] = package.version
        needed = [each for each in package.requires or () if "extra ==" not in each]
        pending += [_name(requirement) for requirement in needed]
    return [_component("pypi", name, version) for name, version in sorted(found.items())]


def _crates() -> list[dict[str, Any]]:
    lock = tomllib.loads((_ROOT / "native" / "Cargo.lock").read_text())
    return [
        _component("cargo", package["name"], package["version"], package["checksum"])
        for package in lock["package"]
        if "checksum" in package  # our own crate has none
    ]


def _name(requirement: str) -> str:
    return re.split(r"[^\w.-]", requirement)[0].lower().replace("_", "-")


def _component(kind: str, name: str, version: str, checksum: str | None = None) -> dict[str, Any]:
    component: dict[str, Any] = {
        "type": "library",
        "name": name,
        "version": version,
        "purl": f"pkg:{kind}/{name}@{version}",
    }
    if checksum is not None:
        component["hashes"] = [{"alg": "SHA-256", "content": checksum}]
    return component


if __name__ == "__main__":
    json.dump(bill(), sys.stdout, indent=2)
    sys.stdout.write("\n")
