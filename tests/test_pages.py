"""The examples of docs/outputs and docs/sources can be used as they stand there."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from logflow.config.loader import load

ROOT = Path(__file__).parent.parent
EXAMPLES = [
    (page.name, text)
    for page in sorted(ROOT.glob("docs/outputs/*.md"))
    for text in re.findall(r"^```yaml\n(.*?)^```", page.read_text(), re.DOTALL | re.MULTILINE)
]


@pytest.mark.parametrize(("page", "text"), EXAMPLES, ids=[page for page, _ in EXAMPLES])
def test_an_example_can_be_used(page: str, text: str, tmp_path: Path) -> None:
    """What the example leaves out is added; nothing of it is opened."""
    config: dict[str, Any] = {"data_dir": str(tmp_path), **yaml.safe_load(text)}
    config.setdefault("sources", {"lines": {"type": "stdin", "tag": "app"}})
    config.setdefault("outputs", {"nothing": {"type": "null"}})
    config.setdefault("routes", [{"match": "**", "outputs": list(config["outputs"])}])
    (tmp_path / "example.yaml").write_text(yaml.safe_dump(config))
    secrets = dict.fromkeys(re.findall(r"\$\{(\w+)\}", text), "x")
    assert load([tmp_path / "example.yaml"], secrets).warnings == []
