"""The bill of materials names what is shipped."""

from __future__ import annotations

from tools.sbom import bill


def test_it_names_dependencies_of_dependencies_and_crates() -> None:
    purls = [component["purl"] for component in bill()["components"]]
    assert any(purl.startswith("pkg:pypi/pydantic@") for purl in purls)
    assert any(purl.startswith("pkg:pypi/pydantic-core@") for purl in purls)
    assert any(purl.startswith("pkg:cargo/pyo3@") for purl in purls)
    assert not any("pytest" in purl or "logflow" in purl for purl in purls)
    assert len(purls) == len(set(purls))
