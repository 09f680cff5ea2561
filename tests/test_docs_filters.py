"""The examples of docs/filters.md and docs/coming-from.md do what stands beside them."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import NamedTuple

import pytest

from logflow import registry
from logflow.admin.prometheus import render
from logflow.batch import Batch
from logflow.config.loader import load
from logflow.rehearsal.rehearsal import Rehearsal

DOCS = Path(__file__).parent.parent / "docs"
TIME_NS = 1_767_225_600_000_000_000
ARROW = "→"


class Example(NamedTuple):
    """A list of filters, the files that they read, what goes in and out, and lines of ``/metrics``."""

    section: str
    filters: str
    files: dict[str, str]
    given: list[dict]
    expected: list[dict]
    metrics: list[str]


def examples(page: str) -> list[Example]:
    found = []
    for section in re.split(r"\n###? ", (DOCS / page).read_text())[1:]:
        files: dict[str, str] = {}
        blocks = re.findall(r"^```([^\n]*)\n(.*?)^```", section, re.DOTALL | re.MULTILINE)
        for index, (head, text) in enumerate(blocks):
            kind, _, name = head.partition(" ")
            if name:
                files[name] = text
            elif kind == "yaml":
                lines = [line.partition(ARROW) for line in blocks[index + 1][1].splitlines()]
                given = [json.loads(left) for left, _, _ in lines if left.strip()]
                expected = [json.loads(right) for _, _, right in lines if right.strip()]
                after = blocks[index + 2][1] if index + 2 < len(blocks) else ""
                metrics = re.findall(r"^\w+(?:\{.*\})? [0-9.]+$", after, re.MULTILINE)
                found.append(Example(section.split("\n")[0], text, dict(files), given, expected, metrics))
    return found


@pytest.mark.parametrize(
    "example", [*examples("filters.md"), *examples("coming-from.md")], ids=lambda example: example.section
)
async def test_an_example_does_what_stands_beside_it(
    example: Example, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name, text in example.files.items():
        (tmp_path / name).write_text(text)
    steps = "".join(f"      {line}\n" for line in example.filters.splitlines())
    (tmp_path / "a.yaml").write_text(
        f"data_dir: {tmp_path}\n"
        'sources: {in: {type: generate, tag: app}}\nroutes:\n  - match: "**"\n    filters:\n'
        f"{steps}    outputs: [out]\noutputs: {{out: {{type: stdout}}}}\n"
    )
    rehearsal = Rehearsal(load([tmp_path / "a.yaml"], {}).settings, TIME_NS)
    steps_made = rehearsal.pipeline.filters
    for step in steps_made:
        await step.open()
    try:
        for record in example.given:
            await rehearsal.emit(Batch.from_events("app", [(TIME_NS, record)]))
        outcome = await rehearsal.finish()
        scraped = render(rehearsal.pipeline).decode().splitlines()
    finally:
        for step in steps_made:
            await step.close()
        await rehearsal.pipeline.services.close()
    tagged = any("@tag" in record for record in example.expected)
    records = [
        {key: value for key, value in record.items() if key != "@timestamp" and (tagged or key != "@tag")}
        for record in outcome.outputs["out"]
    ]
    assert (records, outcome.failed) == (example.expected, 0)
    assert set(example.metrics) <= set(scraped)


def test_every_section_is_of_a_filter_and_has_an_example() -> None:
    assert {example.section for example in examples("filters.md")} <= set(registry.built_in("filter"))
