"""What the documents say is true: links lead somewhere, examples run, generated pages are fresh."""

from __future__ import annotations

import asyncio
import re
import tomllib
from importlib import import_module
from pathlib import Path

import pytest

from logflow import registry
from logflow.batch import Batch, Chunk
from logflow.cli.main import COMMANDS
from logflow.config.loader import load
from logflow.config.reference import reference
from logflow.testing import make_context

ROOT = Path(__file__).parent.parent
PAGES = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("deploy/**/*.md")]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_within_the_project_lead_somewhere(page: Path) -> None:
    text = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", text):
        assert ":" in target or (page.parent / target).exists(), target


def test_nothing_is_installed_by_a_name_that_is_not_ours() -> None:
    """What the package index has under the name ``logflow`` is another project."""
    files = [*PAGES, *ROOT.glob("deploy/**/*"), *ROOT.glob("config/*"), ROOT / "Makefile"]
    text = "\n".join(path.read_text() for path in files if path.is_file())
    assert (
        re.findall(
            r"\b(?:pip3?|pipx|uv|uvx) (?:tool )?(?:install|run|add)\b[^\n]* ['\"]?logflow\b(?!-)", text
        )
        == []
    )
    assert tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["name"] == "logflow-pipeline"


ONE_ROUTE = """
sources: {input: {type: stdin, tag: app}}
routes: [{match: "**", outputs: [OUTPUTS]}]
"""


def blocks(page: str, language: str) -> list[str]:
    """The fenced blocks of a page."""
    found = re.findall(
        rf"^( *)```{language}\n(.*?)^ *```", (ROOT / page).read_text(), re.DOTALL | re.MULTILINE
    )
    return [re.sub(rf"^{indent}", "", text, flags=re.MULTILINE) for indent, text in found]


def test_the_configuration_of_the_readme_can_be_used(tmp_path: Path) -> None:
    (text,) = blocks("README.md", "yaml")
    (tmp_path / "agent.yaml").write_text(text)
    assert load([tmp_path / "agent.yaml"], {}).warnings == []


def test_the_configurations_of_the_outputs_pages_can_be_used(tmp_path: Path) -> None:
    """Each page has at least one, with its sources and routes or as an output alone."""
    for page in [ROOT / "docs" / "shippers.md", *sorted((ROOT / "docs" / "outputs").glob("*.md"))]:
        found = blocks(str(page.relative_to(ROOT)), "yaml")
        assert found, page
        for text in found:
            (tmp_path / "secret").write_text("secret")
            whole = text if "routes:" in text else text + ONE_ROUTE
            (tmp_path / "page.yaml").write_text(whole.replace("/run/secrets/", f"{tmp_path}/"))
            names = re.findall(r"^  (\w+):\n    type:", text, re.MULTILINE)
            (tmp_path / "page.yaml").write_text(whole.replace("OUTPUTS", ", ".join(names)))
            assert load([tmp_path / "page.yaml"], {}).warnings == [], page


def test_every_command_is_in_the_readme() -> None:
    text = (ROOT / "README.md").read_text()
    assert all(f"`logflow {command}" in text for command in COMMANDS)


def test_the_reference_is_fresh() -> None:
    """``make docs`` writes it."""
    assert (ROOT / "docs/configuration.md").read_text() == reference()


async def test_the_output_of_contributing_delivers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (code,) = blocks("CONTRIBUTING.md", "python")
    (tmp_path / "contributed_output.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    module = import_module("contributed_output")
    received: list[bytes] = []
    closed = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        received.append(await reader.read())
        writer.close()
        await writer.wait_closed()
        closed.set()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()
    config = module.TcpOutput.Config(type="tcp", address=f"{host}:{port}")
    output = module.TcpOutput(config, make_context(tmp_path))
    batch = Batch.from_events("app", [(0, {"n": 1})])
    async with server:
        await output.write(Chunk(b"0" * 16, "app", (batch.entries,), 1))
        await closed.wait()
    assert received == [b'{"@timestamp":"1970-01-01T00:00:00.000000000Z","@tag":"app","n":1}\n']
    assert "tcp" not in registry.names("output")


def test_the_changelog_names_every_component() -> None:
    text = (ROOT / "CHANGELOG.md").read_text()
    for kind in ("source", "parser", "filter", "output"):
        assert all(f"`{name}`" in text for name in registry._BUILT_IN[kind])
